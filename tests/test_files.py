"""Files appear whole or not at all; streams of random numbers derive from names."""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from labelnoise.errors import InputError
from labelnoise.files import (
    check_writable,
    scratch_folder,
    whole_file,
    whole_folder,
    write_csv,
    write_rows,
    write_text,
)
from labelnoise.seeds import derive, label_seed, training_seed


def test_a_file_appears_only_when_it_is_whole(tmp_path):
    path = tmp_path / "new" / "table.csv"
    with whole_file(path) as temporary:
        temporary.write_text("whole")
        assert not path.exists()
        assert temporary.suffix == ".csv"
    assert path.read_text() == "whole"
    assert list(path.parent.iterdir()) == [path]


def test_rows_are_written_as_their_table_is(tmp_path):
    rng = np.random.default_rng(0)
    numbers = [0.1, 1.0, 1e-7, 123456789.123, 1 / 3, float("nan"), *rng.lognormal(0, 20, 50)]
    rows = [{"epoch": epoch, "loss": float(x), "name": "a,b"} for epoch, x in enumerate(numbers)]
    write_csv(tmp_path / "table.csv", pd.DataFrame(rows))
    write_rows(tmp_path / "rows.csv", rows)
    assert (tmp_path / "rows.csv").read_bytes() == (tmp_path / "table.csv").read_bytes()


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("old")
    with pytest.raises(RuntimeError), whole_file(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_text_is_written_whole_and_as_utf_8(tmp_path):
    write_text(tmp_path / "tables" / "a.md", "±\n")
    assert (tmp_path / "tables" / "a.md").read_bytes() == b"\xc2\xb1\n"
    assert len(list((tmp_path / "tables").iterdir())) == 1


def test_a_folder_replaces_the_old_one_only_when_it_is_whole(tmp_path):
    path = tmp_path / "checkpoints"
    path.mkdir()
    (path / "old.pt").write_text("old")
    with pytest.raises(RuntimeError), whole_folder(path) as temporary:
        (temporary / "new.pt").write_text("half")
        raise RuntimeError
    assert [file.name for file in path.iterdir()] == ["old.pt"]
    with whole_folder(path) as temporary:
        (temporary / "new.pt").write_text("whole")
    assert [file.name for file in path.iterdir()] == ["new.pt"]
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    check_writable(tmp_path / "not" / "there" / "yet")
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match=r"file is a file; move it away"):
        check_writable(tmp_path / "file" / "below")
    # A permission that even the administrator lacks cannot be made here, so it is pretended.
    monkeypatch.setattr("os.access", lambda path, mode: False)
    with pytest.raises(InputError, match="is not permitted; correct its permissions"):
        check_writable(tmp_path / "results")


def test_seeds_stay_what_they_were():
    # Another number here would make every published result of the study unrepeatable.
    assert derive(2018, "labels", "phantom", "natural-0.90", 3) == 7116641015779186181
    assert derive(0) == derive(0)


def test_names_do_not_run_into_each_other():
    assert derive(1, "ab", "c") != derive(1, "a", "bc")
    assert derive(1, "a") != derive(2, "a")


def test_repeats_pair_up_over_perturbations_and_labels_over_networks():
    assert training_seed(1, "unet", 0) != training_seed(1, "unet", 1)
    assert training_seed(1, "unet", 0) != training_seed(1, "segnet", 0)
    different = {
        label_seed(1, dataset, perturbation, repeat)
        for dataset in ("lis", "psd")
        for perturbation in ("natural-0.95", "natural-0.90")
        for repeat in range(2)
    }
    assert len(different) == 8


@pytest.mark.parametrize("whole", [whole_file, whole_folder])
def test_what_a_killed_process_left_is_swept_away_and_what_a_living_one_writes_is_not(
    tmp_path, whole
):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    suffix = ".csv" if whole is whole_file else ""
    names = {process: f".a.part-{process}{suffix}" for process in (dead.pid, os.getppid())}
    for name in [*names.values(), f".b.part-{dead.pid}{suffix}"]:
        if suffix:
            (tmp_path / name).write_text("half")
        else:
            (tmp_path / name).mkdir()
    with whole(tmp_path / f"a{suffix}") as temporary:
        if suffix:
            temporary.write_text("whole")
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {f"a{suffix}", names[os.getppid()], f".b.part-{dead.pid}{suffix}"}


def test_a_scratch_folder_is_gone_at_the_end_and_so_are_those_of_killed_processes(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    with pytest.raises(RuntimeError), scratch_folder("try") as folder:
        assert folder.parent == tmp_path and folder.stat().st_mode & 0o77 == 0
        (folder / "file").write_text("x")
        stem = folder.name.removesuffix(str(os.getpid()))
        for process in (dead.pid, os.getppid()):
            (tmp_path / f"{stem}{process}").mkdir()
        raise RuntimeError
    assert not folder.exists()
    with scratch_folder("try") as folder:
        left = {path.name for path in tmp_path.iterdir()}
        assert left == {folder.name, f"{stem}{os.getppid()}"}


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="no /proc")
def test_what_a_process_left_that_nobody_waited_for_is_swept(tmp_path):
    """Its number is taken until its parent asks, as after a kill of a whole study."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    stat = Path(f"/proc/{process.pid}/stat")
    while ") Z" not in stat.read_text():
        time.sleep(0.01)
    left = tmp_path / f".table.part-{process.pid}.csv"
    left.write_text("half")
    write_text(tmp_path / "table.csv", "whole")
    process.wait()
    assert [path.name for path in tmp_path.iterdir()] == ["table.csv"]
