"""`make verify`: a finished run trained once more, which comes out equal or is refused."""

import os
import signal
import subprocess
import sys
import time
from unittest import mock

import pytest
import torch
import yaml

from labelnoise.config import load_config, study_files
from labelnoise.errors import InputError
from labelnoise.files import read_json, write_record
from labelnoise.study import RunFolder
from verify_run import verify
from workflow_runs import ROOT, changed

NAME = "tiny/small/short/control/rep0"
LABELS = "results/labels/tiny/control/rep0.h5"


def start(study, temporary, *arguments):
    temporary.mkdir(exist_ok=True)
    return subprocess.Popen(
        [sys.executable, ROOT / "scripts/verify_run.py", "--configfile", "study.yaml", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=study,
        env={**os.environ, "TMPDIR": str(temporary)},
    )


def left_in(temporary):
    """Return what is ours there: torch keeps a cache of its own."""
    return list(temporary.glob("labelnoise-*"))


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_finished_run_comes_out_equal_and_stays_as_it_is(study_copy, tmp_path):
    before = contents(study_copy)
    process = start(study_copy, tmp_path / "temporary")
    said, errors = process.communicate()
    assert process.returncode == 0, errors
    lines = said.splitlines()
    name = lines[0].split()[0]
    assert name.startswith("tiny/small/short/") and "on cpu, threads: 1" in lines[0]
    files = [
        "history.csv",
        "test.csv",
        "surfaces.csv",
        "checkpoints/top1.pt",
        "checkpoints/top2.pt",
    ]
    assert [line.split()[:2] for line in lines[1:-1]] == [["equal", file] for file in files]
    assert lines[-1].startswith(f"{name}: equal, trained again in ")
    assert contents(study_copy) == before
    assert not left_in(tmp_path / "temporary")


def test_what_was_changed_by_hand_is_found(study_copy, tmp_path):
    folder = RunFolder(study_copy / "results/runs" / NAME)
    lines = folder.history.read_text().splitlines()
    lines[5] = lines[5].replace("5,", "5,9", 1)
    folder.history.write_text("\n".join(lines) + "\n")
    checkpoint = torch.load(folder.checkpoint(2), weights_only=True)
    next(iter(checkpoint["state"].values())).flatten()[0] += 1
    torch.save(checkpoint, folder.checkpoint(2))
    process = start(study_copy, tmp_path / "temporary", "--run", NAME)
    said, errors = process.communicate()
    assert process.returncode == 1, errors
    assert [line.split()[0] for line in said.splitlines()[1:-1]] == [
        *("differs", "equal", "equal", "equal", "differs")
    ]
    assert "row 5 (epoch 5): train_loss 9" in said and "rows that differ: 1 of 48" in said
    assert "tensors that differ: 1 of" in said
    assert said.splitlines()[-1].startswith(f"{NAME}: not equal")
    assert not left_in(tmp_path / "temporary")


def test_a_verification_that_is_stopped_leaves_nothing(study_copy, tmp_path):
    process = start(study_copy, tmp_path / "temporary", "--run", NAME)
    while process.poll() is None and not left_in(tmp_path / "temporary"):
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    process.communicate()
    assert process.returncode == 128 + signal.SIGTERM
    assert not left_in(tmp_path / "temporary")


def refusal(study, monkeypatch, name=NAME):
    """Return the sentence that a verification ends in, and check that nothing was trained."""
    monkeypatch.chdir(study)
    config = load_config(*study_files(["study.yaml"]))
    with (
        mock.patch.dict(os.environ),
        mock.patch("labelnoise.evaluation.verify.make_again", side_effect=AssertionError),
        pytest.raises(InputError) as error,
    ):
        verify(config, name)
    return str(error.value)


def record_of(study):
    return RunFolder(study / "results/runs" / NAME).record


def rewrite(study, **changes):
    """Change a record as if it had been written so, before the test of the run."""
    path = record_of(study)
    written = path.stat()
    write_record(path, {**read_json(path), **changes})
    os.utime(path, ns=(written.st_atime_ns, written.st_mtime_ns))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"host": "node7"}, "host node7 in the record, "),
        ({"interruptions": [{"host": "node7"}]}, "host node7+"),
        ({"threads": 2}, "threads 2 in the record, 1 here"),
        ({"threads": 4096}, "threads 4096 in the record, "),
        ({"python": "3.9.1"}, "python 3.9.1 in the record, "),
        ({"packages": {"torch": "1.0.0"}}, "torch 1.0.0 in the record, "),
        ({"code": "1a2b+3c4d"}, "code 1a2b+3c4d in the record, "),
        ({"gpu": {"name": "Pretended"}}, "device Pretended in the record, "),
        ({"training_seed": 7}, "training_seed 7 instead of "),
        ({"digests": {"dataset": "1a2b"}}, "datasets/tiny.h5 is not the file that"),
    ],
)
def test_a_run_that_was_made_otherwise_is_refused(study_copy, monkeypatch, changes, said):
    rewrite(study_copy, **changes)
    assert said in refusal(study_copy, monkeypatch)


def test_other_labels_are_refused(study_copy, monkeypatch):
    other = study_copy / LABELS.replace("rep0", "rep1")
    written = (study_copy / LABELS).stat()
    (study_copy / LABELS).write_bytes(other.read_bytes())
    assert "rep0.h5 is newer than the run" in refusal(study_copy, monkeypatch)
    os.utime(study_copy / LABELS, ns=(written.st_atime_ns, written.st_mtime_ns))
    said = refusal(study_copy, monkeypatch)
    assert said.startswith(f"{LABELS} is not the file that {NAME} was trained on: SHA-256 ")


def test_another_definition_is_refused(study_copy, monkeypatch):
    study = changed(models={"small": {"network": "unet", "width": 3, "depth": 2}})
    (study_copy / "study.yaml").write_text(yaml.safe_dump(study))
    said = refusal(study_copy, monkeypatch)
    assert "as it is now: model.width 2 instead of 3 in the config" in said


def test_a_mistake_is_one_sentence(study_copy, tmp_path):
    process = start(study_copy, tmp_path / "temporary", "--run", NAME.replace("rep0", "rep9"))
    said, errors = process.communicate()
    assert (process.returncode, said) == (2, "")
    assert errors.startswith("error: the study has no run") and errors.count("\n") == 1
