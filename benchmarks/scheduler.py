"""Measure how fast Snakemake starts jobs while many are ready, with each of its two schedulers.

    .venv/bin/python benchmarks/scheduler.py [--ready 300 3000] [--seconds 60] [--sleep 1]

The jobs are independent, sleep and create a file; each requests a GPU and two threads, as trainings
do, and four run at once. Prints the seconds from a start to the next, which a slot waits for its
next run, and the CPU seconds of Snakemake and all jobs for each job: before, with Snakemake's
scheduler as it is, and after, with one next look at the ready jobs instead of many.
"""

import argparse
import resource
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from time import perf_counter

from rows import ROOT, Rows, add_output

SNAKEFILE = """
import sys
sys.path.append(config["scripts"])
from labelnoise.jobs.workflow import look_less_often
onstart:
    if config["less_often"]:
        look_less_often(workflow.scheduler)
rule all:
    input: expand("made/{job}", job=range(config["ready"]))
rule make:
    output: "made/{job}"
    threads: 2
    resources:
        gpu=1,
        mem_mb=8000,
    shell: "sleep {config[sleep]}; touch {output}"
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ready", type=int, nargs="+", default=[300, 3000], help="jobs")
    parser.add_argument("--seconds", type=float, default=60, help="before it is stopped")
    parser.add_argument("--sleep", type=float, default=0, help="seconds of a job")
    add_output(parser)
    options = parser.parse_args()
    rows = Rows()
    for ready in options.ready:
        for scheduler in ("ilp", "greedy"):
            before, after = (
                measure(ready, scheduler, options, less_often) for less_often in (0, 1)
            )
            for what in after:
                name = f"{ready} ready jobs, {scheduler}: {what}"
                rows.add(name, before=before[what], after=after[what], unit="s a job")
    rows.write(options.output)


def measure(ready, scheduler, options, less_often):
    """Return {what: seconds a job}, from the first start until all are done or the limit."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "Snakefile").write_text(SNAKEFILE)
        command = [
            *(sys.executable, "-m", "snakemake", "--quiet", "all", "--scheduler", scheduler),
            *("--cores", "8", "--resources", "gpu=4", "--config", f"ready={ready}"),
            *(f"less_often={less_often}", f"sleep={options.sleep}", f"scripts={ROOT / 'scripts'}"),
        ]
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        with open(folder / "log", "w") as log:
            process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
            while not (folder / "made").exists() and process.poll() is None:
                wait(process, 0.05)
            start = perf_counter()
            wait(process, options.seconds)
            seconds = perf_counter() - start
            started = len(list(folder.glob("made/*")))
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
            process.wait()
        if not started:
            sys.exit((folder / "log").read_text())
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"wall": seconds / started, "CPU": cpu / started}


def wait(process, seconds):
    """Wait for a process, for at most this many seconds."""
    with suppress(subprocess.TimeoutExpired):
        process.wait(seconds)


if __name__ == "__main__":
    main()
