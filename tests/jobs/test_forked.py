"""A forked job is what Snakemake would have started; where none can be, Snakemake starts it."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest
import torch
from snakemake.benchmark import BenchmarkRecord, BenchmarkTimer
from snakemake.script import PythonScript

from labelnoise.jobs import fork_server, forked
from labelnoise.jobs.forked import Forks, ForkServer, Job, NoServerError, job_environment

pytestmark = pytest.mark.skipif(not forked.can_fork(), reason="no forks on this system")
PLAIN = PythonScript.execute_script


@pytest.fixture
def forks():
    servers = Forks()
    yield servers
    servers.close()


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Return a function that writes a script which counts as the project's."""
    monkeypatch.setattr(forked, "SCRIPTS", tmp_path)
    monkeypatch.chdir(tmp_path)

    def write_script(body):
        path = tmp_path / "job.py"
        path.write_text("import json, os, signal, sys, time\n" + body)
        return path

    return write_script


class Script(PythonScript):
    """What Snakemake makes of a rule's script, in a job of two threads."""

    def __init__(self, path, **other):
        nothing = dict.fromkeys(
            ("container_img", "conda_env", "env_modules", "shadow_dir", "bench_record", "jobid")
        )
        others = {"conda_base_path": None, "singularity_args": "", "runtime_paths": None}
        resources = {"tmpdir": str(path.parent)}
        given = {"threads": 2, "resources": resources, "is_local": True, "file": path}
        self.__dict__.update(nothing | others | given | other)

    local_path = property(lambda self: str(self.file))


def run_both(script, forks):
    """Run a script by Snakemake and forked; return what each left in said.json, or its status."""
    ends = []
    for execute in (PLAIN, forked.forked(must_not_be_called, forks, BenchmarkTimer)):
        try:
            execute(script, str(script.file))
            ends.append(json.loads(Path("said.json").read_text()))
            Path("said.json").unlink()
        except subprocess.CalledProcessError as error:
            ends.append(error.returncode)
    return ends


def must_not_be_called(*arguments, **options):
    raise AssertionError("the job was not forked")


def test_a_forked_job_finds_what_it_would_have_found(write, forks):
    path = write("""
found = {
    "name": __name__, "file": __file__, "argv": sys.argv, "path": sys.path[:1],
    "folder": os.getcwd(), "environment": {**os.environ}, "umask": os.umask(0), "flags": sys.flags,
    "signals": [str(signal.getsignal(number)) for number in signal.valid_signals()],
    "streams": [os.fstat(number).st_ino for number in range(3)],
    "files": sorted(os.listdir("/proc/self/fd"))[:3], "group": os.getpgrp(), "nice": os.nice(0),
}
for name in ("_", "SHLVL", "OLDPWD", "PWD"):  # of the shell between Snakemake and a script
    found["environment"].pop(name, None)
json.dump(found, open("said.json", "w"))
""")
    plain, other = run_both(Script(path), forks)
    assert other == plain
    assert other["environment"]["OMP_NUM_THREADS"] == "2"


@pytest.mark.parametrize(
    "body",
    [
        "sys.exit(3)",
        "sys.exit('error: one sentence.')",
        "raise ValueError('unforeseen')",
        "import nowhere",
        "os.kill(os.getpid(), signal.SIGKILL)",
        "os.kill(os.getpid(), signal.SIGTERM)",
        "os._exit(7)",
    ],
)
def test_a_forked_job_ends_as_it_would_have_ended(body, write, forks, capfd):
    script = Script(write(body))
    status = []
    said = []
    for execute in (PLAIN, forked.forked(must_not_be_called, forks, BenchmarkTimer)):
        with pytest.raises(subprocess.CalledProcessError) as error:
            execute(script, str(script.file))
        status.append(error.value.returncode)
        said.append(capfd.readouterr().err.splitlines()[-1:])
    assert status[0] == status[1] and status[0]
    assert said[0] == said[1]


def test_jobs_run_beside_each_other_and_share_no_random_numbers(write, forks):
    path = write("""
import random, numpy
print(random.random(), numpy.random.rand(), file=open(f"{os.getpid()}.txt", "w"))
""")
    jobs = [forks.start(path, job_environment(1, None)) for _ in range(3)]
    assert [job.run() for job in jobs] == [0, 0, 0]
    drawn = [path.read_text().split() for path in Path().glob("*.txt")]
    assert len({row[0] for row in drawn}) == len({row[1] for row in drawn}) == 3
    assert len(forks.started) == 1


def test_the_row_of_a_benchmark_is_that_of_the_job(write, forks, caplog):
    busy = "start = time.process_time()\nwhile time.process_time() - start < 0.8: pass\n"
    record = BenchmarkRecord()
    script = Script(write(busy), bench_record=record)
    forked.forked(must_not_be_called, forks, BenchmarkTimer)(script, str(script.file))
    assert record.running_time >= 0.8
    # All of it: the last sample was at 0.75 s.
    assert record.data_collected and 0.8 <= record.cpu_time <= record.running_time
    assert record.max_rss > 0 and record.cpu_usage == 100 * record.cpu_time
    # Too short for a sample.
    record = BenchmarkRecord()
    script = Script(write(""), bench_record=record)
    forked.forked(must_not_be_called, forks, BenchmarkTimer)(script, str(script.file))
    assert record.running_time > 0
    assert record.get_benchmarks()[2] == "NA" and not caplog.records


def test_a_benchmark_that_cannot_be_measured_leaves_the_job_alone(write, forks):
    def broken(pid, record):
        raise AttributeError("another version of Snakemake")

    record = BenchmarkRecord()
    script = Script(write("open('said.json', 'w').close()"), bench_record=record)
    forked.forked(must_not_be_called, forks, broken)(script, str(script.file))
    assert Path("said.json").exists() and record.running_time > 0


def test_the_end_of_a_job_is_understood_if_a_server_of_before_tells_of_it():
    """Code may change while a study runs, also back to what it was."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    process = subprocess.Popen(["true"])
    job = Job(process.pid, os.pidfd_open(process.pid), ours)
    fork_server.send(theirs, {"status": 3})
    assert job.run() == 3 and job.cpu_seconds is None
    process.wait()
    theirs.close()


def test_what_a_job_leaves_for_its_end_is_done(write, forks):
    path = write("""
import atexit, tempfile, weakref
class Held: pass
held, folder = Held(), tempfile.TemporaryDirectory(dir=os.getcwd())
weakref.finalize(held, lambda: open("finalized", "w").close())
atexit.register(lambda: open("registered", "w").close())
open("said.json", "w").write(json.dumps(os.path.exists(folder.name)))
""")
    assert forks.start(path, job_environment(1, None)).run() == 0
    assert {each.name for each in Path().iterdir()} == {
        *("job.py", "finalized", "registered", "said.json")
    }
    assert json.loads(Path("said.json").read_text())


def test_jobs_of_another_environment_have_another_server(write, forks):
    path = write("")
    for threads in (1, 2, 1):
        assert forks.start(path, job_environment(threads, None)).run() == 0
    assert len(forks.started) == 2


def test_a_killed_server_takes_no_job_with_it_and_is_replaced(write, forks):
    path = write("""
open("begun", "w").close()
while not os.path.exists("go"): time.sleep(0.01)
sys.exit(5)
""")
    job = forks.start(path, job_environment(1, None))
    os.kill(forks.started[0].pid, signal.SIGKILL)
    Path("go").touch()
    assert job.run() == 5
    assert forks.start(path, job_environment(1, None)).run() == 5
    assert len(forks.started) == 2


def test_a_job_killed_after_its_server_counts_as_killed(write, forks, monkeypatch):
    monkeypatch.setattr(forked, "LAST_WORD", 0.1)
    job = forks.start(write("time.sleep(600)"), job_environment(1, None))
    psutil.Process(forks.started[0].pid).kill()
    psutil.Process(job.pid).kill()
    assert job.run() == -signal.SIGKILL


def test_a_job_that_nobody_lets_go_never_begins(write, forks):
    job = forks.start(write("open('begun', 'w').close()"), job_environment(1, None))
    job._reply.close()
    forks.close()
    assert not psutil.pid_exists(job.pid)
    assert not Path("begun").exists()


def test_what_an_import_made_for_all_jobs_ends_with_the_server(write, forks, monkeypatch, capfd):
    monkeypatch.setenv("MPLCONFIGDIR", "/dev/null/cache")
    path = write("""
import matplotlib
open("cache", "w").write(matplotlib.get_cachedir())
sys.exit(not os.path.exists(matplotlib.get_cachedir()))
""")
    assert [forks.start(path, job_environment(1, None)).run() for _ in range(2)] == [0, 0]
    forks.close()
    assert not Path(Path("cache").read_text()).exists()
    assert "Traceback" not in capfd.readouterr().err


def test_nothing_is_forked_where_an_import_has_started_cuda(write, tmp_path):
    if not hasattr(torch._C, "_cuda_getDeviceCount"):
        pytest.skip("torch without CUDA")
    (tmp_path / "starts_cuda.py").write_text("import torch\ntorch.cuda.is_available()\n")
    environment = job_environment(1, None) | {"PYTHONPATH": str(tmp_path)}
    server = ForkServer(environment)
    assert server.start(write("import torch")).run() == 0
    with pytest.raises(NoServerError, match="CUDA"):
        server.start(write("import starts_cuda"))
    server.close()
    server.end()


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Return the folder of a package whose fork server is ours, and that may be changed."""
    copy = tmp_path / "elsewhere" / "labelnoise"
    (copy / "jobs").mkdir(parents=True)
    shutil.copy(fork_server.__file__, copy / "jobs")
    monkeypatch.setattr(fork_server, "__file__", str(copy / "jobs" / "fork_server.py"))
    return copy


def test_changed_code_is_what_the_next_job_runs(write, forks, package):
    module = package / "answer.py"
    path = write("from labelnoise.answer import ANSWER\nsys.exit(ANSWER)\n")
    # Of equal length and, by utime, of equal whole second.
    for answer in (11, 12, 12):
        if not module.exists() or module.read_text() != f"ANSWER = {answer}\n":
            module.write_text(f"ANSWER = {answer}\n")
            shutil.rmtree(package / "__pycache__", ignore_errors=True)
        assert forks.start(path, job_environment(1, None)).run() == answer
    assert len(forks.started) == 2


@pytest.mark.parametrize("server", ["import sys; sys.exit(1)", "import nowhere", "sys = 1/0"])
def test_where_no_server_lives_snakemake_runs_the_script(server, write, forks, package):
    Path(fork_server.__file__).write_text(server)
    called = []
    execute = forked.forked(
        lambda *arguments, **options: called.append(arguments), forks, BenchmarkTimer
    )
    script = Script(write(""))
    execute(script, str(script.file))
    assert called == [(script, str(script.file))]


def test_servers_are_not_started_for_ever(write, forks, package):
    Path(fork_server.__file__).write_text("raise SystemExit")
    for _ in range(forked.MOST_SERVERS + 2):
        with pytest.raises(NoServerError):
            forks.start(write(""), job_environment(1, None))
    assert len(forks.started) == forked.MOST_SERVERS


@pytest.mark.parametrize(
    "other",
    [
        {"container_img": "image.sif"},
        {"conda_env": "env"},
        {"is_local": False},
        {"file": Path("/elsewhere/job.py")},
    ],
)
def test_scripts_that_need_more_than_this_python_are_not_forked(other, write, forks):
    called = []
    execute = forked.forked(
        lambda *arguments, **options: called.append(arguments), forks, BenchmarkTimer
    )
    execute(Script(write(""), **other), "job.py")
    assert called and not forks.started


# Stands for Snakemake: starts a job, says who it is, and waits for it.
STARTER = """
import sys
from labelnoise.jobs.forked import Forks, job_environment
forks = Forks()
job = forks.start(sys.argv[1], job_environment(1, None))
print(forks.started[0].pid, job.pid, flush=True)
job.run()
"""


def test_the_server_ends_with_snakemake_and_the_job_as_it_would_have(write):
    path = write("""
open("begun", "w").close()
while not os.path.exists("go"): time.sleep(0.01)
open("ended", "w").close()
""")
    starter = subprocess.Popen(
        [sys.executable, "-c", STARTER, path],
        env=os.environ | {"PYTHONPATH": str(Path(fork_server.PACKAGE).parent)},
        stdout=subprocess.PIPE,
        text=True,
    )
    server, job = map(psutil.Process, map(int, starter.stdout.readline().split()))
    wait_for(Path("begun"))
    starter.kill()
    starter.wait()  # not for its output, which the job has as well
    assert job.is_running()
    Path("go").touch()
    _, alive = psutil.wait_procs([server, job], timeout=60)
    assert not alive
    assert Path("ended").exists()


def wait_for(path):
    deadline = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, -15), (signal.SIGHUP, -1)]
)
def test_a_signal_to_all_processes_is_for_the_job_and_spares_the_server(
    number, status, write, forks
):
    path = write("""
try:
    open("begun", "w").close()
    time.sleep(600)
except KeyboardInterrupt:
    sys.exit(130)
""")
    # As in a terminal, whatever those who started the tests ignore.
    as_new = {2: signal.default_int_handler, 15: signal.SIG_DFL, 1: signal.SIG_DFL}
    before = {each: signal.signal(each, handler) for each, handler in as_new.items()}
    try:
        job = forks.start(path, job_environment(1, None))
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
    ends = []
    thread = threading.Thread(target=lambda: ends.append(job.run()))
    thread.start()
    wait_for(Path("begun"))
    for pid in (job.pid, forks.started[0].pid):
        os.kill(pid, number)
    thread.join()
    assert ends == [status]
    assert forks.start(write(""), job_environment(1, None)).run() == 0
    assert len(forks.started) == 1
