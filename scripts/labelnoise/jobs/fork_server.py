"""A process that has imported what jobs need, and forks one process for each job.

`labelnoise.jobs.forked` starts this file as a program, one for each environment of jobs, and talks
to it over a socket. It only ever imports: it computes nothing, opens no file of a study and starts
no CUDA, so that what it forks is a process that has just finished its imports. It ends with the
process that started it, however that ends; the jobs that run then go on.

Messages are JSON, one a packet. A request {"script": path, "folder": working folder} comes with a
socket of its own. Its answer is {"pid": number} with a descriptor of the process, or {"refused":
why}. The process waits for {"go": true}, and ends if nobody is left to say so. In the end the
socket says {"status": s, "cpu_seconds": c}: the exit code, or minus the signal that ended it.
"""

import ast
import atexit
import gc
import importlib
import json
import os
import resource
import select
import signal
import socket
import sys
import threading
import traceback
import warnings
import weakref
from collections.abc import Iterable, Iterator
from contextlib import suppress
from types import CodeType, ModuleType
from typing import Any, NoReturn

# Bytes of the longest message; paths are shorter.
LONGEST = 1 << 16
FOR_JOBS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# What a library that is in use imports only when it is called. The first takes a second of every
# training, in `use_deterministic_algorithms`; the second a third of one of every figure.
LATE = {
    "torch._inductor.config": "torch",
    "matplotlib.backends.backend_pdf": "matplotlib",
    "snakemake.io": "snakemake",
}
# What imports register for the end of a Python, and no job's end is: the removal of a cache that is
# there for all jobs (matplotlib's, where HOME cannot be written), a report that takes 10 ms.
NOT_FOR_JOBS = {"shutil": "rmtree", "torch._dynamo.utils": "dump_compile_times"}
PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


class Server:
    """Forks jobs that are asked for over a socket.

    Attributes:
        control: the socket to the process that started this one.
        jobs: {descriptor of the process: its number, the socket of its request}.
        tried: names that it has imported, or found to be none of a module.
        version: `version_on_disk` from before the first import.
        mask: the signals that a new process blocks.
    """

    def __init__(self, control: socket.socket):
        self.control = control
        self.jobs: dict[int, tuple[int, socket.socket]] = {}
        self.tried: set[str] = set()
        self.version = version_on_disk()
        # What reaches a whole group of processes is for who started this one and for the jobs. They
        # get it also where it comes before they are ready.
        self.mask = signal.pthread_sigmask(signal.SIG_BLOCK, FOR_JOBS)
        self.poll = select.poll()
        self.poll.register(control, select.POLLIN)

    def serve(self) -> NoReturn:
        """Fork jobs until the other side is gone and all have ended."""
        is_asked = True
        while is_asked or self.jobs:
            for descriptor, _ in self.poll.poll():
                if descriptor in self.jobs:
                    self._reap(descriptor)
                else:
                    is_asked = self._answer()
        atexit._run_exitfuncs()
        os._exit(0)

    def _answer(self) -> bool:
        """Start the job of one request; return whether the other side is still there."""
        content, descriptors, _, _ = socket.recv_fds(self.control, LONGEST, 1)
        if not content:
            self.poll.unregister(self.control)
            return False
        request = json.loads(content)
        reply = socket.socket(fileno=descriptors[0])
        reply.set_inheritable(False)
        try:
            code = self._prepare(request["script"])
        except Exception as error:
            send(reply, {"refused": f"{type(error).__name__}: {error}"})
            reply.close()
            return True
        pid = fork()
        if pid == 0:
            self._become(code, request, reply)
        descriptor = os.pidfd_open(pid)
        self.jobs[descriptor] = (pid, reply)
        self.poll.register(descriptor, select.POLLIN)
        with suppress(OSError):
            message = json.dumps({"pid": pid}).encode()
            socket.send_fds(reply, [message], [descriptor])
        return True

    def _prepare(self, script: str) -> CodeType:
        """Import what a script imports, wherever in it, and return its code."""
        with open(script, encoding="utf-8") as file:
            tree = ast.parse(file.read(), script)
        if self._import(imports_of(tree)):
            self._import(name for name, library in LATE.items() if library in sys.modules)
            if cuda_has_started():
                raise RuntimeError("an import has started CUDA")
            # A job's garbage collector shall not write to the pages of what stays.
            gc.collect()
            gc.freeze()
        if version_on_disk() != self.version:
            raise RuntimeError("the code or a library has changed")
        return compile(tree, script, "exec")

    def _import(self, names: Iterable[str]) -> bool:
        """Import those that were not tried yet, and return whether there were any."""
        missing = [name for name in names if name not in self.tried]
        for name in missing:
            # What cannot be imported is the job's to report.
            with suppress(Exception):
                importlib.import_module(name)
        self.tried.update(missing)
        return bool(missing)

    def _become(self, code: CodeType, request: dict[str, Any], reply: socket.socket) -> NoReturn:
        """Be the process of a job from here on."""
        self.control.close()
        for descriptor, (_, other) in self.jobs.items():
            os.close(descriptor)
            other.close()
        for module, function in NOT_FOR_JOBS.items():
            if handler := getattr(sys.modules.get(module), function, None):
                atexit.unregister(handler)
        # Those of what is imported: torch has hundreds, which take 20 ms.
        for finalizer in list(weakref.finalize._registry):  # type: ignore[attr-defined]
            finalizer.atexit = False
        os.chdir(request["folder"])
        script = request["script"]
        sys.argv, sys.path[0] = [script], os.path.dirname(script)
        if not reply.recv(LONGEST):
            os._exit(1)
        if "numpy" in sys.modules:
            # As Python does with `random`: no two jobs share unseeded numbers.
            sys.modules["numpy"].random.seed()
        status = run_main(code, script, self.mask)
        # Said here too, in case that nobody is left who could wait for this process.
        own, others = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        with suppress(OSError):
            send(reply, {"status": status, "cpu_seconds": cpu_seconds(own) + cpu_seconds(others)})
        os._exit(status)

    def _reap(self, descriptor: int) -> None:
        """Say how a process ended."""
        pid, reply = self.jobs.pop(descriptor)
        self.poll.unregister(descriptor)
        _, ended, used = os.wait4(pid, 0)
        status = os.waitstatus_to_exitcode(ended)
        with suppress(OSError):
            send(reply, {"status": status, "cpu_seconds": cpu_seconds(used)})
        os.close(descriptor)
        reply.close()


def cpu_seconds(used: resource.struct_rusage) -> float:
    """Return the processor time in what was used."""
    return used.ru_utime + used.ru_stime


def fork() -> int:
    """Return what `os.fork` does, without a word about other threads."""
    with warnings.catch_warnings():
        # They are those of OpenBLAS, which knows about forks.
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


def cuda_has_started() -> bool:
    """Return whether this process has called CUDA, which no fork of it can then use."""
    if "torch" not in sys.modules:
        return False
    # torch tells forks only.
    pid = fork()
    if pid == 0:
        os._exit(sys.modules["torch"].cuda._is_in_bad_fork())
    return os.waitpid(pid, 0)[1] != 0


def run_main(code: CodeType, path: str, mask: Iterable[int] = ()) -> int:
    """Run code as Python runs a program, to the end of the process but for that; return its status.

    Args:
        code: the compiled program.
        path: its file.
        mask: the signals that it blocks.
    """
    main = ModuleType("__main__")
    main.__dict__.update({"__file__": path, "__builtins__": __builtins__})
    sys.modules["__main__"] = main
    try:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        exec(code, main.__dict__)
        status = 0
    except SystemExit as ended:
        status = exit_status(ended.code)
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
        status = 130  # where the signal is blocked
    except BaseException:
        traceback.print_exc()
        status = 1
    with suppress(Exception):
        threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    return status


def exit_status(code: Any) -> int:
    """Return the status of a process that ends by SystemExit with this code."""
    if code is None:
        return 0
    if isinstance(code, int):
        return code & 0xFF
    print(code, file=sys.stderr)
    return 1


def imports_of(tree: ast.Module) -> Iterator[str]:
    """Yield the names that a script imports, wherever in it; not all are names of modules."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{name.name}" for name in node.names)


def version_on_disk() -> list[tuple[str, int, int]]:
    """Return what changes when the package's code does, or when a library is installed.

    Returns:
        Path, modification time in nanoseconds and size in bytes of every file of the package, and
        of the folders that Python imports from.
    """
    found = []
    for folder, folders, files in os.walk(PACKAGE):
        folders[:] = [name for name in folders if name != "__pycache__"]
        found += [os.path.join(folder, name) for name in files]
    found += [path for path in sys.path[1:] if os.path.exists(path)]
    seen = {path: os.stat(path) for path in found}
    return sorted((path, state.st_mtime_ns, state.st_size) for path, state in seen.items())


def send(sock: socket.socket, message: dict[str, Any]) -> None:
    """Send one message."""
    sock.send(json.dumps(message).encode(), socket.MSG_NOSIGNAL)


def main() -> NoReturn:
    """Serve on the socket whose descriptor is the argument."""
    # As in a job: the folder of the script comes first, this package behind all that is installed.
    sys.path[0] = os.path.abspath(os.path.join(".snakemake", "scripts"))
    sys.path.append(os.path.dirname(PACKAGE))
    Server(socket.socket(fileno=int(sys.argv[1]))).serve()


if __name__ == "__main__":
    main()
