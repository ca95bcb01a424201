"""Locks of files: exclusive, named, and gone with the process."""

import errno
import fcntl
import json
import multiprocessing
import os
import platform
import signal
import time

import pytest

from labelnoise.errors import InputError
from labelnoise.jobs import locks
from labelnoise.jobs.locks import (
    end_holder,
    hold,
    hold_study,
    lock_holders,
    take_over,
    try_lock,
    unlock,
)

FORK = multiprocessing.get_context("fork")


@pytest.fixture
def holding(tmp_path):
    """Start a process that holds a file; it ends at SIGTERM unless it is stubborn."""
    processes = []

    def start(seconds=60, stubborn=False):
        ready = FORK.Event()

        def work():
            if stubborn:
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
            file = hold(tmp_path / "lock", "the file")
            ready.set()
            time.sleep(seconds)
            file.close()

        process = FORK.Process(target=work)
        process.start()
        processes.append(process)
        assert ready.wait(30)
        return process

    yield start
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
    process = holding()
    with pytest.raises(InputError, match=rf"the file is in use by process {process.pid} on"):
        hold(tmp_path / "lock", "the file")
    process.kill()
    process.join()
    with hold(tmp_path / "lock", "the file", device="cpu"):
        note = json.loads((tmp_path / "lock").read_text())
    assert (note["pid"], note["host"], note["device"]) == (os.getpid(), platform.node(), "cpu")


@pytest.mark.parametrize("stubborn", [False, True])
def test_a_holder_that_nobody_waits_for_is_ended(tmp_path, holding, stubborn):
    process = holding(stubborn=stubborn)
    end_holder(tmp_path / "lock", patience=0.2 if stubborn else 30)
    process.join(30)
    assert process.exitcode == (-signal.SIGKILL if stubborn else -signal.SIGTERM)
    # Nobody: nothing to do, nothing to fail.
    end_holder(tmp_path / "lock")
    end_holder(tmp_path / "none")


def test_a_holder_on_another_host_is_waited_for(tmp_path, holding, monkeypatch):
    process = holding(seconds=0.5)
    monkeypatch.setattr(platform, "node", lambda: "elsewhere")
    end_holder(tmp_path / "lock", patience_elsewhere=0)
    assert process.is_alive()
    end_holder(tmp_path / "lock", patience_elsewhere=30)
    process.join()
    assert process.exitcode == 0


def test_a_file_system_without_locks_keeps_nobody_off(tmp_path, monkeypatch, caplog):
    def refuse(*arguments):
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "lockf", refuse)
    monkeypatch.setattr(fcntl, "fcntl", refuse)
    with hold(tmp_path / "lock", "the file") as file:
        assert "file system without locks" in caplog.text
        assert lock_holders(file) == []


@pytest.fixture
def study(tmp_path, monkeypatch):
    """Results folder of a study that this process has."""
    monkeypatch.setattr(locks, "_studies", [])
    monkeypatch.setenv(locks.STUDY_WORD, "")
    hold_study(tmp_path / "results")
    yield tmp_path / "results"
    for file in locks._studies:
        file.close()


def test_the_jobs_of_a_study_end_those_that_were_left_behind(tmp_path, study, holding):
    process = holding()
    take_over(tmp_path / "lock", study)
    process.join(30)
    assert process.exitcode == -signal.SIGTERM


def test_a_job_that_was_left_behind_ends_nobody(tmp_path, study, holding, monkeypatch):
    process = holding()
    monkeypatch.setenv(locks.STUDY_WORD, "of an earlier one")
    with pytest.raises(InputError, match=r"has ended, and another one has .*results; this job"):
        take_over(tmp_path / "lock", study)
    # By hand, without a Snakemake: nobody is ended either.
    monkeypatch.delenv(locks.STUDY_WORD)
    take_over(tmp_path / "lock", study)
    assert process.is_alive()
