"""Which slices are seen, in which order, with which labels."""

from collections import Counter
from functools import partial

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from labelnoise.data.intensity import Intensity
from labelnoise.data.storage import Dataset, LabelFile, write_dataset
from labelnoise.errors import InputError
from labelnoise.jobs.script import explain
from labelnoise.labels.perturbations import draw_labels
from labelnoise.training import batches as training_data
from labelnoise.training.augmentation import CHANGES, Augmentation
from labelnoise.training.batches import (
    CycledBatches,
    Index,
    Slices,
    as_inputs,
    batches_in_order,
    room_for_slices,
    training_batches,
)
from own_modules import SHAVE, use
from tiny import SPLITS, make_recipe, write_discs, write_error


@pytest.fixture
def dataset(tmp_path):
    return write_discs(tmp_path / "discs.h5")


def cycled(slices, seed=1, done=0, **recipe):
    return CycledBatches(slices, make_recipe(keep=1, **recipe), seed, done)


def positions(batches):
    return [position for batch in batches for position, *_ in batch]


def test_every_slice_comes_once_before_any_comes_again():
    seen = positions(cycled(10, batch_size=4, steps_per_epoch=5, epochs=3))
    assert len(seen) == 60
    for lap in range(6):
        assert sorted(seen[lap * 10 : lap * 10 + 10]) == list(range(10))
    assert seen[:10] != seen[10:20]


def test_a_batch_may_be_larger_than_the_set():
    batches = list(cycled(3, batch_size=7, steps_per_epoch=1, epochs=1))
    assert sorted(Counter(positions(batches)).values()) == [2, 2, 3]


def test_the_order_depends_on_the_seed_alone():
    def order(seed, epochs):
        return list(cycled(10, seed, batch_size=4, steps_per_epoch=5, epochs=epochs))

    assert order(1, 2) == order(1, 3)[:10]
    assert order(1, 2) != order(2, 2)


@pytest.mark.parametrize("done", [1, 2, 3])
def test_the_order_goes_on_after_any_epoch(done):
    recipe = {"batch_size": 4, "steps_per_epoch": 5, "epochs": 3}
    whole, rest = list(cycled(10, **recipe)), cycled(10, done=done, **recipe)
    assert list(rest) == whole[5 * done :]
    assert len(rest) == len(whole) - 5 * done


def test_an_index_carries_its_epoch():
    batches = list(cycled(10, batch_size=4, steps_per_epoch=2, epochs=3))
    assert [{index.epoch for index in batch} for batch in batches] == [{0}, {0}, {1}, {1}, {2}, {2}]


def test_images_and_reference_labels_are_those_of_the_rows(dataset):
    data = Dataset(dataset)
    rows = data.rows("train")
    images_BKHW, labels_BHW = data.read(rows[[3, 1]])
    stored = Slices(data, rows).__getitems__([Index(3), Index(1)])
    assert [part.dtype for part in stored] == [torch.float16, torch.uint8]
    images, labels = as_inputs(stored)
    assert images.dtype == torch.float32 and labels.dtype == torch.int64
    np.testing.assert_array_equal(images, images_BKHW)
    np.testing.assert_array_equal(labels, labels_BHW)


@pytest.mark.parametrize("in_memory", [True, False])
@pytest.mark.parametrize("draws", [1, 2, "per_epoch"])
def test_the_epoch_decides_the_draw(dataset, tmp_path, draws, in_memory):
    data = Dataset(dataset)
    labels = LabelFile(write_error(tmp_path / "labels.h5", dataset, severity=2.0, draws=draws))
    rows = data.rows("train")
    slices = Slices(data, rows, labels, room=None if in_memory else 0)
    assert slices.in_memory == in_memory
    reference = data.read(rows)[1]
    for epoch in (0, 1, 2, 5):
        draw = epoch if draws == "per_epoch" else epoch % draws
        expected = draw_labels(reference, "choppy", {1: 2.0}, {}, seed=7, draw=draw, rows=rows)
        found = slices.__getitems__([Index(position, epoch) for position in range(len(rows))])[1]
        np.testing.assert_array_equal(found, expected)


def test_workers_change_nothing(dataset, tmp_path):
    labels = LabelFile(write_error(tmp_path / "labels.h5", dataset, draws="per_epoch"))
    data = Dataset(dataset)
    slices = Slices(data, data.rows("train"), labels)
    recipe = make_recipe(steps_per_epoch=5, epochs=3)
    alone = list(training_batches(slices, recipe, seed=3))
    helped = list(training_batches(slices, recipe, seed=3, workers=2))
    assert len(alone) == 15
    for one, other in zip(alone, helped, strict=True):
        assert all(map(torch.equal, one, other))


ALL_CHANGES = make_recipe(
    augmentation={name: {"probability": 0.8} for name in CHANGES}
).augmentation


def test_every_slice_of_a_training_has_a_number_of_its_own():
    batches = list(cycled(3, batch_size=4, steps_per_epoch=2, epochs=2, done=1))
    assert [index.sample for batch in batches for index in batch] == list(range(8, 16))


@pytest.mark.parametrize("draws", [1, "per_epoch"])
def test_neither_workers_nor_threads_nor_an_interruption_change_an_augmentation(
    dataset, tmp_path, draws
):
    labels = LabelFile(write_error(tmp_path / "labels.h5", dataset, draws=draws))
    data = Dataset(dataset)
    slices = Slices(data, data.rows("train"), labels, Augmentation(ALL_CHANGES, 5))
    recipe = make_recipe(steps_per_epoch=5, epochs=3)
    alone = list(training_batches(slices, recipe, seed=3))
    helped = list(training_batches(slices, recipe, seed=3, workers=2))
    torch.set_num_threads(2)
    try:
        threaded = list(training_batches(slices, recipe, seed=3))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)
    rest = list(training_batches(slices, recipe, seed=3, done=2))
    plain = list(training_batches(Slices(data, data.rows("train"), labels), recipe, seed=3))
    for one, *others, bare in zip(alone, helped, threaded, plain, strict=True):
        for other in others:
            assert all(map(torch.equal, one, other))
        assert not torch.equal(one[0], bare[0])
    for one, other in zip(alone[10:], rest, strict=True):
        assert all(map(torch.equal, one, other))


@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_processes_that_load_slices_know_the_users_kind(
    dataset, tmp_path, monkeypatch, no_own_code, context
):
    """However they are started: a process that is no fork of this one imports all anew."""
    monkeypatch.setattr(
        training_data, "DataLoader", partial(DataLoader, multiprocessing_context=context)
    )
    code = use(tmp_path, "mykinds", SHAVE)
    error = {"kind": "mykinds.shave", "draws": "per_epoch", "code": code}
    labels = LabelFile(write_error(tmp_path / "labels.h5", dataset, **error))
    assert labels.code == code
    data = Dataset(dataset)
    slices, recipe = Slices(data, data.rows("train"), labels), make_recipe(epochs=1, keep=1)
    helped = [*training_batches(slices, recipe, seed=3, workers=1)]
    monkeypatch.undo()
    use(tmp_path, "mykinds", SHAVE)
    for one, other in zip(training_batches(slices, recipe, seed=3), helped, strict=True):
        assert all(map(torch.equal, one, other))


def test_a_failure_in_a_process_that_loads_slices_is_one_sentence(dataset, tmp_path, no_own_code):
    text = "def x(mask, severity, rng):\n    return mask"
    code = use(tmp_path, "mine", text)
    error = {"kind": "mine.x", "draws": "per_epoch", "code": code}
    labels = LabelFile(write_error(tmp_path / "labels.h5", dataset, **error))
    labels.code = use(tmp_path, "mine", text + "[undefined]")
    data = Dataset(dataset)
    batches = training_batches(
        Slices(data, data.rows("train"), labels), make_recipe(), seed=3, workers=1
    )
    with pytest.raises(InputError) as raised:
        next(iter(batches))
    said = explain(raised.value)
    assert said.startswith(f"{tmp_path / 'mine.py'}, line 2, in x: NameError: ")
    assert "\n" not in said


def test_the_label_error_comes_before_the_augmentation(dataset, tmp_path):
    labels = LabelFile(
        write_error(tmp_path / "labels.h5", dataset, severity=2.0, draws="per_epoch")
    )
    data = Dataset(dataset)
    rows = data.rows("train")
    always = {"flip_vertical": {"probability": 1}}
    indices = [Index(position, 3, position) for position in range(len(rows))]
    plain, flipped = (
        Slices(data, rows, labels, augmentation).__getitems__(indices)
        for augmentation in (None, Augmentation(always, 0))
    )
    for one, other in zip(as_inputs(plain), flipped, strict=True):
        assert torch.equal(one.flip(-2), other)


def test_slices_in_order_come_once(dataset):
    data = Dataset(dataset)
    slices = Slices(data, data.rows("train"))
    batches = list(batches_in_order(slices, 4))
    assert [len(labels) for _, labels in batches] == [4, 4, 2]
    np.testing.assert_array_equal(
        torch.cat([labels for _, labels in batches]), data.read(data.rows("train"))[1]
    )


def write_colours(path):
    """Write 9 slices, whose channels are 0, 1 and 2 of a row's own tenth."""
    channels = dict.fromkeys(("red", "green", "blue"), Intensity.of_window(0, 1))
    about = {"name": "discs", "class_names": ["background", "disc"], "provenance": {}}
    with write_dataset(path, intensities=channels, **about) as writer:
        for case, split in enumerate(SPLITS):
            images = np.full((1, 3, 8, 8), case / 16) + np.arange(3)[:, None, None]
            writer.append(f"case{case}", split, [0], images, np.ones((1, 8, 8), np.uint8))
    return path


@pytest.mark.parametrize(("room", "held"), [(5 * 64 * 7, True), (5 * 64 * 7 - 1, False)])
def test_batches_have_all_channels_and_memory_counts_them(tmp_path, room, held):
    # Three halves and a label, 7 bytes, for each of 64 pixels of 5 slices.
    data = Dataset(write_colours(tmp_path / "x.h5"))
    slices = Slices(data, data.rows("train"), room=room)
    assert slices.in_memory == held
    images, labels = as_inputs(slices.__getitems__([Index(2), Index(4)]))
    assert images.shape == (2, 3, 8, 8) and labels.shape == (2, 8, 8)
    expected = np.array([2, 4])[:, None] / 16 + np.arange(3)
    np.testing.assert_array_equal(images[:, :, 0, 0], expected)


def test_a_job_takes_its_part_of_free_memory_less_what_it_needs_itself(monkeypatch):
    monkeypatch.setattr(training_data, "cores", lambda: 8)
    monkeypatch.setattr(training_data, "free_memory", lambda: 1000)
    assert room_for_slices() == 125
    assert room_for_slices(needed=50, threads=2) == 200
    assert room_for_slices(needed=300, threads=2) == 0
    assert room_for_slices(needed=300, threads=16) == 700
    monkeypatch.setattr(training_data, "free_memory", lambda: None)
    assert room_for_slices() == training_data.USUAL_ROOM


@pytest.mark.parametrize("draws", [1, 2, "per_epoch"])
def test_batches_are_the_same_from_memory_and_from_the_file(dataset, tmp_path, draws):
    labels = LabelFile(write_error(tmp_path / "labels.h5", dataset, draws=draws))
    data = Dataset(dataset)
    recipe = make_recipe(steps_per_epoch=5, epochs=3)
    held, read = (
        training_batches(Slices(data, data.rows("train"), labels, room=room), recipe, 3, workers)
        for room, workers in ((None, 0), (0, 2))
    )
    assert read.num_workers == 2
    for one, other in zip(held, read, strict=True):
        assert all(map(torch.equal, one, other))
