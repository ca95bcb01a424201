"""A training that is killed at any moment goes on as if nothing had happened, or starts anew."""

import json
import multiprocessing
import os
import random
import resource
import shutil
import signal
import sys
import time
from dataclasses import replace

import pandas as pd
import pytest
import torch

import own_modules
import tiny
from damage import damage
from labelnoise.data.storage import Dataset, LabelFile
from labelnoise.jobs.script import explain
from labelnoise.study import Run, RunFolder, Task
from labelnoise.training import loop, state
from labelnoise.training import run as run_module
from labelnoise.training.batches import batches_in_order
from labelnoise.training.checkpoints import TopNSaver
from labelnoise.training.run import choose_slices
from labelnoise.training.state import FORMAT, StateKeeper, TrainingState
from tiny import MODEL, write_error, write_files

# Dropout, sampled pixels and fresh labels: every random stream that a training has.
DROPOUT = {"network": "fcn32", "width": 2, "head_width": 16, "dropout": 0.5}
SAMPLED = {"loss": "class_sampled_cross_entropy", "epochs": 8}
# What Snakemake deletes before it starts the job again.
DECLARED = ("checkpoints", "history.csv", "timing.csv", "run.json")
FORK = multiprocessing.get_context("fork")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return write_files(tmp_path_factory.mktemp("data"), draws="per_epoch")


def train(path, files, recipe=None, model=DROPOUT, **extras):
    return tiny.train(path, files, SAMPLED | (recipe or {}), model, **extras)


def read_state(folder):
    return TrainingState.load(folder.state / "state.pt")


@pytest.fixture(scope="module")
def twin(files, tmp_path_factory):
    return train(tmp_path_factory.mktemp("twin") / "rep0", files)


def assert_same(folder, twin):
    assert folder.history.read_bytes() == twin.history.read_bytes()
    names = sorted(path.name for path in twin.checkpoints.iterdir())
    assert sorted(path.name for path in folder.checkpoints.iterdir()) == names
    for name in names:
        one, other = (
            torch.load(each.checkpoints / name, weights_only=True) for each in (folder, twin)
        )
        tensors = one.pop("state"), other.pop("state")
        assert one == other
        assert tensors[0].keys() == tensors[1].keys()
        assert all(torch.equal(tensors[0][key], tensors[1][key]) for key in tensors[0])


def kill():
    os.kill(os.getpid(), signal.SIGKILL)


def killed(where, name, call, after):
    """Make the nth call of a function the last thing that the process does."""
    function, calls = getattr(where, name), []

    def wrapped(*arguments, **options):
        calls.append(name)
        if len(calls) == call and not after:
            kill()
        result = function(*arguments, **options)
        if len(calls) == call:
            kill()
        return result

    setattr(where, name, wrapped)


def half_written():
    save = torch.save

    def write_half(content, file):
        if content["format"] != FORMAT:
            return save(content, file)
        file.write(b"PK\x03\x04 and no more")
        file.flush()
        kill()

    torch.save = write_half


MOMENTS = {
    "in the first epoch": lambda: killed(loop, "evaluate", 1, False),
    "before the second state": lambda: killed(TopNSaver, "add", 2, True),
    "while a state is written": half_written,
    "after a state, before the sweep": lambda: killed(StateKeeper, "write", 2, True),
    "in the middle": lambda: killed(loop, "train_epoch", 2, True),
    "before a sweep": lambda: killed(TopNSaver, "sweep", 1, False),
    "at the end": lambda: killed(TopNSaver, "finish", 1, True),
    "between the files": lambda: killed(run_module, "write_rows", 1, True),
    "before the state is removed": lambda: killed(StateKeeper, "remove", 1, False),
}


def test_a_training_killed_at_many_moments_equals_one_that_was_not(files, twin, tmp_path):
    path = tmp_path / "rep0"
    for number, prepare in enumerate(MOMENTS.values()):

        def killed_training(prepare=prepare):
            prepare()
            train(path, files)

        process = FORK.Process(target=killed_training)
        process.start()
        process.join()
        assert process.exitcode == -signal.SIGKILL, list(MOMENTS)[number]
        for name in DECLARED if number % 2 else ():
            shutil.rmtree(path / name, ignore_errors=True)
            (path / name).unlink(missing_ok=True)
    folder = train(path, files)
    assert_same(folder, twin)
    record = json.loads(folder.record.read_text())
    assert [sitting["after_epoch"] for sitting in record["interruptions"]] == [1, 3, 4, 5, 8]
    timing = pd.read_csv(folder.timing)
    assert timing["sitting"].tolist() == [1, 2, 2, 3, 4, 5, 5, 5]
    # Of epochs that were the last before an interruption it is not known.
    assert (timing["state"] > 0).tolist() == [False, True, False, False, False, True, True, False]
    # Of a killed process nothing is left that is not asked for.
    assert {path.name for path in folder.path.iterdir()} == {*DECLARED, "tensorboard"}


def wait_for_state(folder, process, older_than=0):
    path = folder.state / "state.pt"
    while process.is_alive():
        if path.exists() and path.stat().st_mtime_ns > older_than:
            return path.stat().st_mtime_ns
        time.sleep(0.001)
    raise AssertionError("the training ended before it was interrupted")


def test_signals_from_outside_cost_at_most_an_epoch(files, twin, tmp_path):
    folder, stamp, chance = RunFolder(tmp_path / "rep0"), 0, random.Random(3)
    for number, code in ((signal.SIGTERM, 143), (signal.SIGKILL, -9)):
        process = FORK.Process(target=train, args=(folder.path, files))
        process.start()
        stamp = wait_for_state(folder, process, stamp)
        time.sleep(chance.uniform(0, 0.02))
        os.kill(process.pid, number)
        process.join()
        assert process.exitcode == code
        assert 1 <= read_state(folder).epoch < 8
        if number == signal.SIGTERM:
            assert not list(folder.path.rglob(".*.part-*"))
    assert_same(train(folder.path, files), twin)


@pytest.mark.parametrize("workers", [0, 1])
def test_an_orphan_leaves_after_its_epoch_and_loaders_change_nothing(
    files, twin, tmp_path, monkeypatch, workers
):
    folder = RunFolder(tmp_path / "rep0")
    with monkeypatch.context() as patch:
        patch.setattr(state, "is_abandoned", lambda: read_state(folder).epoch == 2)
        with pytest.raises(SystemExit) as raised:
            train(folder.path, files, workers=workers)
    assert raised.value.code == 1 and read_state(folder).epoch == 2
    torch.rand(7)
    assert_same(train(folder.path, files, workers=workers), twin)


VARIED = {
    "schedule": {"kind": "poly", "warmup": 2},
    "augmentation": {
        "rotation": {"probability": 0.9},
        "elastic": {"probability": 0.9},
        "flip_vertical": {},
        "noise": {"probability": 0.9},
        "contrast": {"probability": 0.9},
    },
    "validation_labels": "perturbed",
}


@pytest.fixture(scope="module")
def varied_twin(files, tmp_path_factory):
    return train(tmp_path_factory.mktemp("varied") / "rep0", files, VARIED, MODEL)


@pytest.mark.parametrize("workers", [0, 1])
def test_schedule_and_augmentation_go_on_as_if_nothing_had_happened(
    files, varied_twin, tmp_path, monkeypatch, workers
):
    """Abandoned in the middle of the warmup, then killed where the schedule has begun."""
    folder = RunFolder(tmp_path / "rep0")
    with monkeypatch.context() as patch:
        patch.setattr(state, "is_abandoned", lambda: read_state(folder).epoch == 1)
        with pytest.raises(SystemExit):
            train(folder.path, files, VARIED, MODEL, workers=workers)

    def killed_training():
        killed(loop, "train_epoch", 3, True)
        train(folder.path, files, VARIED, MODEL, workers=workers)

    process = FORK.Process(target=killed_training)
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL and read_state(folder).epoch == 3
    assert_same(train(folder.path, files, VARIED, MODEL, workers=workers), varied_twin)


def test_a_history_has_the_learning_rate_where_it_changes(varied_twin, twin):
    rates = pd.read_csv(varied_twin.history)["learning_rate"]
    assert rates.tolist() == pytest.approx(
        [0.01 / 3, 0.02 / 3, *(0.01 * (1 - e / 6) ** 0.9 for e in range(6))]
    )
    assert "learning_rate" not in pd.read_csv(twin.history).columns
    record = json.loads(twin.record.read_text())
    assert not {"schedule", "augmentation"} & record["definitions"]["recipe"].keys()


@pytest.mark.parametrize("validation_labels", ["clean", "perturbed"])
def test_validation_is_never_augmented(files, validation_labels):
    changes = {"brightness": {"probability": 1}, "flip_vertical": {"probability": 1}}
    with Dataset(files["dataset"]) as data, LabelFile(files["labels"]) as labels:
        plain, changed = (
            choose_slices(
                data,
                labels,
                tiny.make_recipe(augmentation=given, validation_labels=validation_labels),
                seed=0,
                rows=data.rows("train"),
            )
            for given in (None, changes)
        )
        for part, is_changed in (("train", True), ("validation", False)):
            pairs = zip(
                *(next(batches_in_order(each[part], 2)) for each in (plain, changed)), strict=True
            )
            assert all(torch.equal(*pair) is not is_changed for pair in pairs), part


def test_progress_tells_epochs_and_seconds_until_the_run_is_complete(files, tmp_path, monkeypatch):
    folder, seen, train_epoch = RunFolder(tmp_path / "rep0"), [], loop.train_epoch

    def watched(*arguments):
        seen.append(json.loads(folder.progress.read_text()))
        return train_epoch(*arguments)

    monkeypatch.setattr(loop, "train_epoch", watched)
    train(folder.path, files, {"epochs": 3}, MODEL)
    assert [(each["epoch"], each["epochs"]) for each in seen] == [(0, 3), (1, 3), (2, 3)]
    spent = pd.read_csv(folder.timing)[["train", "validation"]].sum(axis=1).cumsum()
    assert [each["seconds"] for each in seen] == pytest.approx([0, *spent[:2]], abs=1e-3)
    assert not folder.state.exists()


@pytest.fixture(scope="module")
def two_epochs(files, tmp_path_factory):
    """A finished run of two epochs that kept its state."""
    path = tmp_path_factory.mktemp("two-epochs") / "rep0"
    return train(path, files, {"epochs": 2}, keep_state=True)


@pytest.fixture
def interrupted(two_epochs, tmp_path):
    """A copy of that run."""
    return RunFolder(shutil.copytree(two_epochs.path, tmp_path / "rep0"))


def test_a_finished_training_may_go_on(files, twin, interrupted):
    assert json.loads(interrupted.progress.read_text())["epoch"] == 2
    assert_same(train(interrupted.path, files), twin)
    assert not interrupted.state.exists()


@pytest.mark.parametrize(
    "setting",
    [{"optimiser_settings": {"fused": True}}, {"precision": "bf16"}, {"compile": True}],
    ids=lambda setting: next(iter(setting)),
)
def test_a_training_with_a_setting_for_speed_goes_on_as_well(files, tmp_path, monkeypatch, setting):
    monkeypatch.setattr(torch.nn.Module, "compile", traced)
    monkeypatch.setattr(loop.shutil, "which", lambda name: name)
    # The last batch of validation is smaller than the others.
    recipe, small = {"batch_size": 3, "epochs": 3, **setting}, MODEL | {"depth": 1}
    twin = train(tmp_path / "twin", files, recipe, small)
    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(loop, "leave_if_abandoned", sys.exit)
        train(tmp_path / "rep0", files, recipe, small)
    folder = train(tmp_path / "rep0", files, recipe, small)
    assert len(json.loads(folder.record.read_text())["interruptions"]) == 1
    assert_same(folder, twin)


@pytest.mark.parametrize("accumulation", [1, 2])
def test_what_a_loss_learns_goes_on(files, tmp_path, monkeypatch, accumulation):
    recipe = {"loss": "t_loss", "epochs": 3, "accumulation": accumulation}
    twin = train(tmp_path / "twin", files, recipe, MODEL)
    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(loop, "leave_if_abandoned", sys.exit)
        train(tmp_path / "rep0", files, recipe, MODEL)
    (learned,) = read_state(RunFolder(tmp_path / "rep0")).loss.values()
    assert learned.item() != 1
    again = train(tmp_path / "rep0", files, recipe, MODEL)
    assert again.history.read_bytes() == twin.history.read_bytes()


def traced(network, **settings):
    """Compile as far as it goes without a compiler of C++, which takes half a minute."""
    assert settings["dynamic"] is False
    network._compiled_call_impl = torch.compile(
        network._call_impl, backend="aot_eager", dynamic=False
    )


def other_version(folder, files):
    path = folder.state / "state.pt"
    content = torch.load(path, weights_only=True)
    torch.save(content | {"format_version": 0}, path)


def not_a_state(folder, files):
    (folder.state / "state.pt").write_bytes(b"nothing")


def test_edited_code_of_ones_own_is_another_training(files, tmp_path, caplog, no_own_code):
    def own_net():
        return {"network": "mynets.Net", "settings": {}}

    def train_own(text, epochs):
        digest = own_modules.use(tmp_path, "mynets", text)
        study = tiny.make_study(SAMPLED | {"epochs": epochs}, own_net())
        model = replace(study.models["mynets.Net"], settings={"settings": {}, "code": digest})
        run = Run("discs", "mynets.Net", "plain", "choppy-x", 0)
        task = Task(run, model, study.recipes["plain"], study.seed, **files)
        folder = RunFolder(tmp_path / "rep0")
        run_module.train_run(task, folder, tiny.CPU, run_module.Extras(keep_state=True))
        record = json.loads(folder.record.read_text())
        assert record["definitions"]["model"]["code"] == digest
        return len(record["interruptions"])

    assert train_own(own_modules.NET, 2) == 0
    assert train_own(own_modules.NET, 3) == 1
    assert "set aside" not in caplog.text
    assert train_own(own_modules.NET + "\n", 4) == 0
    assert "is of another model" in caplog.text


def test_a_record_says_whose_code_drew_the_labels(tmp_path, no_own_code):
    digest = own_modules.use(tmp_path, "mykinds", own_modules.SHAVE)
    own = write_files(tmp_path, kind="mykinds.shave", code=digest, draws="per_epoch")
    folder = tiny.train(tmp_path / "rep0", own, {"epochs": 2})
    record = json.loads(folder.record.read_text())
    assert record["label_kind"] == {"kind": "mykinds.shave", "code": digest}


def later_epoch(folder, files):
    path = folder.state / "state.pt"
    content = torch.load(path, weights_only=True)
    torch.save(content | {"epoch": 9}, path)


def trained(folder, files, recipe=None, model=DROPOUT):
    """Leave the state of another training in the folder."""
    shutil.rmtree(folder.state)
    train(folder.path, files, {"epochs": 2} | (recipe or {}), model, keep_state=True)


def other_labels(folder, files):
    labels = folder.path / "labels.h5"
    write_error(labels, files["dataset"], draws="per_epoch", seed=8)
    trained(folder, files | {"labels": labels})


def other_recipe(folder, files):
    trained(folder, files, {"learning_rate": 0.02})


def other_accumulation(folder, files):
    trained(folder, files, {"accumulation": 2})


def other_model(folder, files):
    trained(folder, files, model=DROPOUT | {"head_width": 8})


@pytest.mark.parametrize(
    ("schedule", "goes_on"),
    [({"kind": "step", "every": 2}, True), ({"kind": "poly"}, False), ({"kind": "cosine"}, False)],
)
def test_only_a_schedule_without_an_end_goes_on_beyond_its_epochs(
    files, tmp_path, caplog, schedule, goes_on
):
    whole = train(tmp_path / "whole", files, {"epochs": 4, "schedule": schedule}, MODEL)
    parts = tmp_path / "parts"
    train(parts, files, {"epochs": 2, "schedule": schedule}, MODEL, keep_state=True)
    again = train(parts, files, {"epochs": 4, "schedule": schedule}, MODEL)
    assert again.history.read_bytes() == whole.history.read_bytes()
    assert ("is of another recipe" in caplog.text) is not goes_on


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (other_version, "is of version 0, expected 3"),
        (not_a_state, "cannot be read as training state"),
        (later_epoch, "is past epoch 8"),
        (other_labels, "is of another label file"),
        (other_recipe, "is of another recipe"),
        (other_accumulation, "is of another recipe"),
        (other_model, "is of another model"),
    ],
)
def test_the_state_of_another_training_is_set_aside(files, twin, interrupted, caplog, change, says):
    change(interrupted, files)
    folder = train(interrupted.path, files)
    assert_same(folder, twin)
    assert says in caplog.text and ".state-aside" in caplog.text
    assert (folder.path / ".state-aside" / "state.pt").exists()
    assert json.loads(folder.record.read_text())["interruptions"] == []


def test_tensorboard_shows_every_epoch_once(files, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder = train(tmp_path / "rep0", files, {"epochs": 2}, model=MODEL, keep_state=True)
    train(folder.path, files, {"epochs": 4}, model=MODEL)
    events = EventAccumulator(str(folder.tensorboard)).Reload()
    assert [event.step for event in events.Scalars("loss/train")] == [1, 2, 3, 4]


def test_a_full_disk_is_said_and_costs_at_most_an_epoch(files, twin, tmp_path):
    """A file may not grow beyond a limit, which a process meets as it meets a full disk."""
    train(tmp_path / "rep0", files, {"epochs": 2}, keep_state=True)
    said = FORK.SimpleQueue()

    def limited():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
        try:
            train(tmp_path / "rep0", files)
        except Exception as error:
            said.put(explain(error))

    process = FORK.Process(target=limited)
    process.start()
    process.join()
    assert "may not grow further" in said.get()
    assert_same(train(tmp_path / "rep0", files), twin)


def test_a_damaged_byte_is_a_sentence_or_changes_nothing(interrupted):
    def read(path):
        return plain(vars(TrainingState.load(path)))

    # Its mend is that `StateKeeper` sets it aside.
    found = damage(interrupted.saved_state, read, mend="training state")
    assert not found["other"] and found["sentence"] > 80


def plain(value):
    if isinstance(value, torch.Tensor):
        return str(value.dtype), value.numpy().tobytes()
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    return [plain(each) for each in value] if isinstance(value, list | tuple) else repr(value)
