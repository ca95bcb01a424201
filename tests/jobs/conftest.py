"""Processes that hold locks, for the tests of jobs."""

import subprocess
import sys

import pytest

# A process that locks a file as a training does, until its input ends.
HOLD = """
import fcntl, sys
handle = open(sys.argv[1], "a+")
fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
handle.truncate(0)
handle.write(sys.argv[2])
handle.flush()
print("locked", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def holding():
    """Give a function that has a process lock a file; the processes end with the test."""
    started = []

    def hold(path, content):
        path.parent.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-c", HOLD, path, content]
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        started.append(process)
        assert process.stdout.readline() == "locked\n"
        return process

    yield hold
    for process in started:
        process.stdin.close()
        process.stdout.close()
        process.wait()
