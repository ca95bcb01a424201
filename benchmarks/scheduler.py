"""Measure how fast Snakemake starts jobs while many are ready, with each of its two schedulers.

    .venv/bin/python benchmarks/scheduler.py [--ready 300 3000] [--seconds 60]

The jobs are independent and only create a file; each requests a GPU and two threads, as trainings
do, and four run at once. Prints the jobs started, the seconds that passed, and the seconds per job,
which a slot waits for its next run.
"""

import argparse
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from time import perf_counter

SNAKEFILE = """
rule all:
    input: expand("made/{job}", job=range(config["ready"]))
rule make:
    output: "made/{job}"
    threads: 2
    resources:
        gpu=1,
        mem_mb=8000,
    shell: "touch {output}"
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ready", type=int, nargs="+", default=[300, 3000], help="jobs")
    parser.add_argument("--seconds", type=float, default=60, help="before it is stopped")
    options = parser.parse_args()
    print(f"{'ready':>6} {'scheduler':9} {'started':>7} {'seconds':>8} {'s / job':>8}")
    for ready in options.ready:
        for scheduler in ("ilp", "greedy"):
            started, seconds = measure(ready, scheduler, options.seconds)
            print(
                f"{ready:6} {scheduler:9} {started:7} {seconds:8.1f} {seconds / started:8.3f}",
                flush=True,
            )


def measure(ready, scheduler, limit):
    """Return the jobs done, and seconds from the first start until all are done or the limit."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "Snakefile").write_text(SNAKEFILE)
        command = [
            *(sys.executable, "-m", "snakemake", "--quiet", "all", "--scheduler", scheduler),
            *("--cores", "8", "--resources", "gpu=4", "--config", f"ready={ready}"),
        ]
        with open(folder / "log", "w") as log:
            process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
            while not (folder / "made").exists() and process.poll() is None:
                wait(process, 0.05)
            start = perf_counter()
            wait(process, limit)
            seconds = perf_counter() - start
            started = len(list(folder.glob("made/*")))
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
            process.wait()
        if not started:
            sys.exit((folder / "log").read_text())
    return started, seconds


def wait(process, seconds):
    """Wait for a process, for at most this many seconds."""
    with suppress(subprocess.TimeoutExpired):
        process.wait(seconds)


if __name__ == "__main__":
    main()
