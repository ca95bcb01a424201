"""Which slices are seen, in which order, with which labels."""

from collections import Counter

import numpy as np
import pytest
import torch

from labelnoise.data.storage import Dataset, LabelFile
from labelnoise.labels.perturbations import draw_labels
from labelnoise.training import batches as training_data
from labelnoise.training.batches import CycledBatches, Slices, batches_in_order, training_batches
from tiny import make_recipe, write_discs, write_error


@pytest.fixture
def dataset(tmp_path):
    return write_discs(tmp_path / "discs.h5")


def cycled(slices, seed=1, done=0, **recipe):
    return CycledBatches(slices, make_recipe(keep=1, **recipe), seed, done)


def positions(batches):
    return [position for batch in batches for position, _ in batch]


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
    assert [{epoch for _, epoch in batch} for batch in batches] == [{0}, {0}, {1}, {1}, {2}, {2}]


def test_images_and_reference_labels_are_those_of_the_rows(dataset):
    data = Dataset(dataset)
    rows = data.rows("train")
    images_BHW, labels_BHW = data.read(rows[[3, 1]])
    images, labels = Slices(data, rows).__getitems__([(3, 0), (1, 0)])
    assert images.dtype == torch.float32 and labels.dtype == torch.int64
    np.testing.assert_array_equal(images[:, 0], images_BHW)
    np.testing.assert_array_equal(labels, labels_BHW)


@pytest.mark.parametrize("in_memory", [True, False])
@pytest.mark.parametrize("draws", [1, 2, "per_epoch"])
def test_the_epoch_decides_the_draw(dataset, tmp_path, monkeypatch, draws, in_memory):
    if not in_memory:
        monkeypatch.setattr(training_data, "IN_MEMORY_BYTES", 0)
    data = Dataset(dataset)
    labels = LabelFile(write_error(tmp_path / "labels.h5", dataset, severity=2.0, draws=draws))
    rows = data.rows("train")
    slices = Slices(data, rows, labels)
    assert slices.in_memory == in_memory
    reference = data.read(rows)[1]
    for epoch in (0, 1, 2, 5):
        draw = epoch if draws == "per_epoch" else epoch % draws
        expected = draw_labels(reference, "choppy", {1: 2.0}, {}, seed=7, draw=draw, rows=rows)
        found = slices.__getitems__([(position, epoch) for position in range(len(rows))])[1]
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


def test_slices_in_order_come_once(dataset):
    data = Dataset(dataset)
    slices = Slices(data, data.rows("train"))
    batches = list(batches_in_order(slices, 4))
    assert [len(labels) for _, labels in batches] == [4, 4, 2]
    np.testing.assert_array_equal(
        torch.cat([labels for _, labels in batches]), data.read(data.rows("train"))[1]
    )
