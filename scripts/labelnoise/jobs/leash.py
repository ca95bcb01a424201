"""Runs a program that ends when the process that asked for it does, however that ends.

    python -P leash.py LOCK PROGRAM [ARGUMENT ...]

It is a process between the two, since a process that is killed cannot end what it has started: this
one waits for the program and for the end of its own standard input, which the system closes. It
holds LOCK meanwhile, so that a program that is still ending and the next one never run at once.
"""

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import threading

# Seconds that a program may take to end in good order.
GRACE = 10


def main() -> None:
    lock, *command = sys.argv[1:]
    with open(lock, "a") as file:
        # Not every file system has locks.
        with contextlib.suppress(OSError):
            fcntl.lockf(file, fcntl.LOCK_EX)
        try:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, process_group=0)
        except OSError as error:
            sys.exit(f"{command[0]} cannot be started: {error.strerror}")
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda *_: _end(process))
        threading.Thread(target=_end_at_end_of_input, args=[process], daemon=True).start()
        code = process.wait()
        # What it started and left behind.
        _signal(process, signal.SIGKILL)
    sys.exit(code if code >= 0 else 128 - code)


def _end_at_end_of_input(process: subprocess.Popen) -> None:
    while os.read(0, 1):
        pass
    _end(process)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(GRACE)
    _signal(process, signal.SIGKILL)


def _end(process: subprocess.Popen) -> None:
    _signal(process, signal.SIGTERM)


def _signal(process: subprocess.Popen, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


if __name__ == "__main__":
    main()
