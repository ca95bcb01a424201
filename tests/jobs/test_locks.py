"""Locks of files: exclusive, named, and gone with the process."""

import errno
import fcntl
import json
import multiprocessing
import os
import platform
import shutil
import signal
import subprocess
import sys
import time

import pytest

from labelnoise.errors import InputError
from labelnoise.jobs import locks
from labelnoise.jobs.locks import (
    Holder,
    hold,
    hold_run,
    hold_study,
    holder_of,
    is_abandoned,
    lock_holders,
    try_lock,
    unlock,
)
from labelnoise.study import Results, RunFolder
from workflow_runs import ROOT

FORK = multiprocessing.get_context("fork")
# A Snakemake that holds a study and starts a job, which answers whether it is abandoned: at first,
# and whenever its input gets a line. Between them stands a shell, as bash before 5.1 stays.
SNAKEMAKE = """
import subprocess, sys
from pathlib import Path
from labelnoise.jobs.locks import hold_study, is_abandoned
from labelnoise.study import Results
hold_study(Results(Path(sys.argv[1])))
assert not is_abandoned()
subprocess.run(["bash", "-c", '"$0" -c "$1"; true', sys.executable, sys.argv[2]])
"""
JOB = """
import sys
from labelnoise.jobs.locks import is_abandoned
print(is_abandoned(), flush=True)
for line in sys.stdin:
    print(is_abandoned(), flush=True)
"""


def start(program, *arguments):
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "scripts")}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    command = [sys.executable, "-c", program, *map(str, arguments)]
    return subprocess.Popen(command, env=environment, **pipes)


@pytest.fixture
def holding():
    """Start a process that holds a file, for good or until it deletes the folder."""
    processes = []

    def begin(path, seconds=None):
        ready = FORK.Event()

        def work():
            lock = hold(path, "the file", device="cpu")
            ready.set()
            time.sleep(60 if seconds is None else seconds)
            shutil.rmtree(path.parent)
            lock.release()

        process = FORK.Process(target=work)
        process.start()
        processes.append(process)
        assert ready.wait(30)
        return process

    yield begin
    for process in processes:
        process.kill()
        process.join()


def test_parts_of_a_file_are_held_and_asked_for_one_by_one(tmp_path):
    path, ready, finish = tmp_path / "lock", FORK.Event(), FORK.Event()

    def work():
        with open(path, "a+") as file:
            assert try_lock(file, 0, 10) and try_lock(file, 20, 10)
            ready.set()
            finish.wait(30)

    process = FORK.Process(target=work)
    process.start()
    assert ready.wait(30)
    with open(path, "a+") as file:
        assert lock_holders(file) == lock_holders(file, 5, 20) == [process.pid]
        assert lock_holders(file, 10, 10) == [] == lock_holders(file, 30)
        assert try_lock(file, 10, 10) and not try_lock(file, 5, 10)
        unlock(file, 10, 10)
        finish.set()
        process.join()
        assert lock_holders(file) == []


def test_a_file_has_one_holder_who_is_named(tmp_path, holding):
    path = tmp_path / "folder" / "lock"
    process = holding(path)
    with pytest.raises(
        InputError, match=rf"^the file is in use by process {process.pid} on .*; wa"
    ):
        hold(path, "the file")
    process.kill()
    process.join()
    lock = hold(path, "the file")
    lock.add(device="cuda")
    note = json.loads(path.read_text())
    assert (note["pid"], note["host"], note["device"]) == (os.getpid(), platform.node(), "cuda")
    lock.release()
    holding(path)


def test_a_file_is_waited_for_and_the_holder_is_named_once(tmp_path, holding, caplog):
    """Its folder is deleted before it is released, so the file waited for is another one then."""
    path = tmp_path / "folder" / "lock"
    process = holding(path, seconds=0.5)
    lock = hold(path, "the file", patience=30)
    assert path.exists() and json.loads(path.read_text())["pid"] == os.getpid()
    assert caplog.text.count(f"waiting for process {process.pid} on ") == 1
    lock.release()
    process.join()
    assert process.exitcode == 0


def test_a_file_that_was_deleted_since_it_was_opened_is_not_the_one(tmp_path, monkeypatch):
    """Else its next holder and the one of the file made anew would both have the run."""
    path = tmp_path / "lock"
    deleted = []

    def lock_and_delete(file):
        if not deleted:
            deleted.append(file.name)
            path.unlink()
        return try_lock(file)

    monkeypatch.setattr(locks, "try_lock", lock_and_delete)
    lock = hold(path, "the file", patience=30)
    assert deleted and json.loads(path.read_text())["pid"] == os.getpid()
    lock.release()


def test_asking_for_the_holder_leaves_the_lock_as_it_is(tmp_path, holding):
    path = tmp_path / "folder" / "lock"
    assert holder_of(path) is None
    process = holding(path)
    for _ in range(2):
        holder = holder_of(path)
        assert (holder.pid, holder.host, holder.device) == (process.pid, platform.node(), "cpu")
        assert holder.started.tzinfo is not None
    with open(path, "a") as file:
        assert not try_lock(file)
    process.kill()
    process.join()
    assert path.exists() and holder_of(path) is None
    assert holder_of(path / "none") is None


@pytest.mark.parametrize(
    "content",
    ["", "process 12 on vm\n", "[]", "{}", '{"pid": 1', '{"pid": {}, "host": "a", "started": 3}'],
)
def test_a_holder_who_says_nothing_known_is_unknown(tmp_path, content):
    path = tmp_path / "lock"
    path.write_text(content)
    with open(path) as file:
        assert locks.read_holder(file) == Holder()


def test_a_file_system_without_locks_keeps_nobody_off(tmp_path, monkeypatch, caplog):
    def refuse(*arguments):
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "lockf", refuse)
    monkeypatch.setattr(fcntl, "fcntl", refuse)
    hold(tmp_path / "lock", "the file").release()
    assert "file system without locks" in caplog.text
    assert holder_of(tmp_path / "lock") is None
    # Nobody seems to hold the study there, which is no reason to leave.
    (tmp_path / "study").write_text(json.dumps({"word": "a", "host": platform.node()}))
    monkeypatch.setenv(locks.STUDY, f"a {tmp_path / 'study'}")
    assert not is_abandoned()


def test_a_run_is_held_inside_the_block(tmp_path):
    folder = RunFolder(tmp_path / "rep0")
    with pytest.raises(RuntimeError), hold_run(folder):
        assert json.loads(folder.lock.read_text())["pid"] == os.getpid()
        raise RuntimeError
    with open(folder.lock, "a") as file:
        assert try_lock(file)


def test_a_run_that_nobody_releases_is_given_up(tmp_path, holding):
    folder = RunFolder(tmp_path / "rep0")
    process = holding(folder.lock)
    with (
        pytest.raises(
            InputError, match=rf"the training of .*rep0 is in use by process {process.pid}"
        ),
        hold_run(folder, patience=0.2),
    ):
        pass
    assert process.is_alive()


@pytest.fixture
def snakemake(tmp_path):
    """A Snakemake that holds a study, with a job whose answers are read from its output."""
    process = start(SNAKEMAKE, tmp_path, JOB)
    yield process
    process.kill()
    process.stdin.close()  # which ends the job
    process.stdout.close()
    process.wait()


def test_a_study_has_one_snakemake(tmp_path, snakemake):
    assert snakemake.stdout.readline() == "False\n"
    with pytest.raises(InputError, match=rf"results folder .* by process {snakemake.pid} on"):
        hold_study(Results(tmp_path))


def test_a_snakemake_inside_a_job_is_part_of_the_one_that_has_the_study(
    tmp_path, snakemake, monkeypatch
):
    assert snakemake.stdout.readline() == "False\n"
    results = Results(tmp_path)
    word = json.loads(results.lock.read_text())["word"]
    monkeypatch.setenv(locks.STUDY, f"{word} {results.lock.absolute()}")
    hold_study(results)
    # Of one that is gone, or of another study.
    for other in (f"other {results.lock.absolute()}", f"{word} {tmp_path / 'other'}"):
        monkeypatch.setenv(locks.STUDY, other)
        with pytest.raises(InputError):
            hold_study(results)


def test_a_job_sees_that_its_snakemake_was_killed(snakemake):
    assert snakemake.stdout.readline() == "False\n"
    snakemake.stdin.write("\n")
    snakemake.stdin.flush()
    assert snakemake.stdout.readline() == "False\n"
    os.kill(snakemake.pid, signal.SIGKILL)
    snakemake.wait()
    snakemake.stdin.write("\n")
    snakemake.stdin.flush()
    assert snakemake.stdout.readline() == "True\n"


def test_a_job_sees_that_another_snakemake_has_its_study(tmp_path, monkeypatch):
    """As on another host, where it cannot see who holds the study's lock."""
    path = tmp_path / "lock"
    monkeypatch.setenv(locks.STUDY, f"first {path}")
    path.write_text(json.dumps({"word": "first", "host": "elsewhere"}))
    assert not is_abandoned()
    path.write_text(json.dumps({"word": "second", "host": "elsewhere"}))
    assert is_abandoned()
    # While a holder writes.
    path.write_text("")
    assert not is_abandoned()
    path.unlink()
    assert is_abandoned()


def test_a_process_that_no_snakemake_started_is_not_abandoned(monkeypatch):
    monkeypatch.delenv(locks.STUDY, raising=False)
    assert not is_abandoned()
