"""Jobs that are forked from a process with torch imported, in place of a new Python for each.

A job of Snakemake's is a script that it writes and runs: torch and the rest take seconds to import,
more than a small network needs for an epoch. After `fork_scripts` a script of this project is run
by a fork server instead, see `fork_server`: the same script in the same environment, folder and
streams, with the exit status, log, benchmark row and signals that it would have had.

Whatever is in the way, the script is run as Snakemake does: another system than Linux, a container,
a conda environment, a server that died or refuses. Nothing is lost by that but time.
"""

import atexit
import json
import logging
import os
import select
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

from labelnoise.config import PROJECT
from labelnoise.jobs import fork_server
from labelnoise.jobs.devices import THREADS

log = logging.getLogger(__name__)

# From the number of a process and a record: what has a method `work`, which takes a sample.
Timer = Callable[[int, Any], Any]

SCRIPTS = PROJECT / "scripts"
# Servers that one Snakemake starts, those included that replace others: a study needs one for each
# number of threads, and where it loses them again and again, starting more would gain nothing.
MOST_SERVERS = 12
# Seconds for the first imports, on a slow file system, and for a status after a job has ended.
PATIENCE, LAST_WORD = 300.0, 5.0
# Seconds to the first sample of a benchmark; to each further one twice as many, up to the latter.
FIRST_SAMPLE, MOST_WAIT = 0.25, 30.0


class NoServerError(Exception):
    """The job was not started; it may be started in another way."""


class ForkServer:
    """The process that forks jobs of one environment."""

    def __init__(self, environment: Mapping[str, str]):
        """Start it; it is ready at once, since it imports when it is asked for a job."""
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, fork_server.__file__, str(theirs.fileno())],
                env=dict(environment),
                pass_fds=[theirs.fileno()],
            )

    @property
    def pid(self) -> int:
        """The number of the process."""
        return self._process.pid

    def start(self, script: Path | str, folder: Path | str | None = None) -> "Job":
        """Start a script in a process of its own.

        Args:
            script: the file.
            folder: its working folder; None takes that of this process.

        Raises:
            NoServerError: it was not started.
        """
        request = {"script": os.path.abspath(script), "folder": str(folder or os.getcwd())}
        reply, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            with theirs:
                message = json.dumps(request).encode()
                socket.send_fds(self._control, [message], [theirs.fileno()])
            deadline = time.monotonic() + PATIENCE
            answered = select.poll()
            answered.register(reply, select.POLLIN)
            while not answered.poll(500):
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise NoServerError("it died or stands still")
            content, descriptors, _, _ = socket.recv_fds(reply, fork_server.LONGEST, 1)
            answer = json.loads(content) if content else {"refused": "it died"}
            if "refused" in answer:
                raise NoServerError(answer["refused"])
            return Job(int(answer["pid"]), descriptors[0], reply)
        except OSError as error:
            reply.close()
            raise NoServerError(str(error)) from error
        except NoServerError:
            reply.close()
            raise

    def close(self) -> None:
        """Let it end as soon as its jobs have; they go on."""
        self._control.close()

    def end(self) -> None:
        """See that it has ended, after `close`."""
        try:
            self._process.wait(LAST_WORD)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class Job:
    """A process that a fork server started, and that waits for `run`.

    Attributes:
        pid: its number.
        cpu_seconds: of it and the processes that it waited for, once it has ended; None if unknown.
    """

    def __init__(self, pid: int, descriptor: int, reply: socket.socket):
        self.pid, self._descriptor, self._reply = pid, descriptor, reply
        self.cpu_seconds: float | None = None

    def run(self) -> int:
        """Let it go; return its exit code, or minus the signal that ended it."""
        with suppress(OSError):  # it was killed meanwhile
            fork_server.send(self._reply, {"go": True})
        # The process, not the socket: its data loaders have that, too.
        ended = select.poll()
        ended.register(self._descriptor, select.POLLIN)
        ended.poll()
        os.close(self._descriptor)
        with self._reply:
            self._reply.settimeout(LAST_WORD)
            try:
                said = json.loads(self._reply.recv(fork_server.LONGEST))
                self.cpu_seconds = said.get("cpu_seconds")
                return int(said["status"])
            except (OSError, ValueError):
                # Ended by a signal that only the server, which is gone as well, could name.
                return -signal.SIGKILL


class Forks:
    """Fork servers, each started when the first job of its environment comes.

    Attributes:
        started: all of them, those that have ended included.
    """

    def __init__(self) -> None:
        self.started: list[ForkServer] = []
        self._servers: dict[frozenset[tuple[str, str]], ForkServer] = {}
        self._lock = threading.Lock()

    def start(self, script: Path | str, environment: Mapping[str, str]) -> Job:
        """Start a script in this environment; see `ForkServer.start`.

        A server that refuses or has died is replaced by a new one, once.
        """
        key = frozenset(environment.items())
        with self._lock:
            if server := self._servers.get(key):
                try:
                    return server.start(script)
                except NoServerError as error:
                    log.debug("fork server %d: %s", server.pid, error)
                    self._servers.pop(key).close()
            if len(self.started) == MOST_SERVERS:
                raise NoServerError(f"{MOST_SERVERS} were started already")
            self._servers[key] = server = ForkServer(environment)
            self.started.append(server)
            try:
                return server.start(script)
            except NoServerError:
                self._servers.pop(key).close()
                raise

    def close(self) -> None:
        """End all servers."""
        with self._lock:
            for server in self.started:
                server.close()
            for server in self.started:
                server.end()
            self._servers.clear()


def can_fork() -> bool:
    """Return whether this system has what a fork server needs."""
    # macOS has no pidfd_open, and its frameworks do not survive a fork.
    return sys.platform == "linux" and hasattr(os, "pidfd_open")


def fork_scripts(scripts: Any, timer: Timer) -> None:
    """Let Snakemake, in this process, run the scripts of this project by fork servers.

    Args:
        scripts: its class of Python scripts.
        timer: its class that samples a process for a benchmark, see `measured`.
    """
    forks = Forks()
    atexit.register(forks.close)
    scripts.execute_script = forked(scripts.execute_script, forks, timer)


def forked(plain: Callable[..., None], forks: Forks, timer: Timer) -> Callable[..., None]:
    """Return what takes the place of Snakemake's `PythonScript.execute_script`.

    Args:
        plain: that method, which is called where a script cannot be forked.
        forks: the servers.
        timer: see `fork_scripts`.
    """

    def execute_script(self: Any, fname: str, edit: bool = False) -> None:
        try:
            if edit or not _is_ours(self):
                raise NoServerError("it needs more than this Python")
            job = forks.start(fname, job_environment(self.threads, self.resources.get("tmpdir")))
        except Exception as error:
            log.debug("%s is run by a Python of its own: %s", fname, error)
            plain(self, fname, edit=edit)
            return
        # The row of the rule's `benchmark`, if it has one.
        record = self.bench_record
        with measured(job, record, timer) if record else nullcontext():
            status = job.run()
        if status:
            command = shlex.join([sys.executable, fname])
            raise subprocess.CalledProcessError(status, command)

    return execute_script


@contextmanager
def measured(job: Job, record: Any, timer: Timer) -> Iterator[None]:
    """Measure a job while it runs, as Snakemake's `benchmarked` does, but more rarely.

    Each sample has the system look at every page of a job, 15 ms for a training's, and Snakemake
    takes one before the job goes, when a fork holds nothing of its own, and two a second for half a
    minute. CPU seconds are those of the whole job, not of the last sample.

    Args:
        job: the job, not yet run.
        record: Snakemake's record of what is found.
        timer: see `fork_scripts`.
    """
    ended = threading.Event()

    def sample() -> None:
        wait = FIRST_SAMPLE
        # The job has no part in it, whatever goes wrong.
        with suppress(Exception):
            samples = timer(job.pid, record)
            while not ended.wait(wait):
                samples.work()
                wait = min(2 * wait, MOST_WAIT)

    started = time.time()
    sampling = threading.Thread(target=sample, daemon=True)
    sampling.start()
    try:
        yield
    finally:
        ended.set()
        sampling.join()
        record.running_time = time.time() - started
        if not record.data_collected:
            # Ended before a sample, which is no reason to warn.
            record.process_gone = True
        if job.cpu_seconds is not None:
            record.cpu_time, record.cpu_usage = job.cpu_seconds, 100 * job.cpu_seconds


def _is_ours(script: Any) -> bool:
    """Return whether a script of Snakemake's is this project's, to be run by this Python."""
    special = (script.container_img, script.conda_env, script.env_modules, script.shadow_dir)
    if any(special) or script.resources.get("shell_exec") or not script.is_local:
        return False
    return Path(script.local_path).resolve().parent == SCRIPTS.resolve()


def job_environment(threads: int, tmpdir: str | None) -> dict[str, str]:
    """Return the environment that Snakemake gives a job.

    Args:
        threads: of the job.
        tmpdir: its resource of that name.
    """
    names = ("TMPDIR", "TMP", "TEMPDIR", "TEMP") if tmpdir else ()
    changes = dict.fromkeys(THREADS, str(threads)) | dict.fromkeys(names, str(tmpdir))
    return {**os.environ, **changes}
