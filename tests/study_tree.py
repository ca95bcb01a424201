"""A study whose runs are put into known states by hand, for the tests of status and estimates."""

import json
from dataclasses import replace
from datetime import UTC, datetime

import yaml

from labelnoise.jobs.eta import measure
from labelnoise.jobs.study_status import Progress, RunStatus, look_at
from labelnoise.study import Results, Run, RunFolder, read_study
from workflow_runs import ROOT, TINY, changed

NOW = datetime(2026, 11, 22, 21, 30, tzinfo=UTC)
HOLDER = {
    "pid": 123,
    "host": "node7",
    "device": "NVIDIA H100 GPU-0123abcd-4567-89ab-cdef-0123456789ab",
    "started": "2026-11-22T21:00:00+00:00",
}
SENTENCE = "the loss became nan in epoch 3, step 2; lower the learning_rate (0.01)."
SETTING = ("tiny", "small", "short")


class Tree:
    """A results folder of the tiny study, or of one like it, whose runs are put into states."""

    def __init__(self, folder, **matrix):
        overlay = folder / "study.yaml"
        study = changed(matrix=matrix, recipes={"short": {**TINY["recipes"]["short"], "epochs": 2}})
        overlay.write_text(yaml.safe_dump(study))
        self.results = Results(folder / "results")
        self.study = replace(read_study(ROOT / "config.yaml", overlay), results=self.results)
        self.runs = self.study.runs

    def status(self):
        return look_at(self.study)

    def states(self):
        return {each.run: each.state for each in self.status().runs}

    def measure(self):
        return measure(self.status().runs, self.results)

    def folder(self, run) -> RunFolder:
        return self.results.run_folder(run)

    def log(self, rule, name, *lines):
        path = self.results.root / "logs" / rule / f"{name}.log"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"2026-11-22 21:00:00 {line}\n" for line in lines))
        return path

    def fail(self, rule, name, sentence=SENTENCE):
        trace = "Traceback (most recent call last):\n  File 'x', line 1\nInputError: it"
        return self.log(rule, name, "INFO device: CPU", f"ERROR {sentence}\n{trace}")

    def begin(self, run, epoch, seconds=0.0, epochs=2):
        """Leave what a training leaves that goes on from an epoch."""
        folder = self.folder(run)
        folder.state.mkdir(parents=True, exist_ok=True)
        folder.lock.write_text(json.dumps(HOLDER))
        said = {"epoch": epoch, "epochs": epochs, "seconds": seconds}
        folder.progress.write_text(json.dumps(said))

    def train(self, run, seconds=10.0, job=None, code="4d5e6f", **recipe):
        """Leave what a training leaves; `job`: seconds that Snakemake measured."""
        definitions = {
            "model": self.study.models[run.model].as_dict(),
            "recipe": self.study.recipes[run.recipe].as_dict() | recipe,
        }
        folder = self.folder(run)
        folder.path.mkdir(parents=True, exist_ok=True)
        record = {"seconds": seconds, "definitions": definitions, "code": code}
        folder.record.write_text(json.dumps(record))
        self.benchmark("train_model", run, job)

    def test(self, run, job=None):
        folder = self.folder(run)
        for path in folder.tested:
            path.write_text("x")
        self.benchmark("test_model", run, job)

    def benchmark(self, rule, run, seconds):
        if seconds is not None:
            path = self.results.root / "benchmarks" / rule / f"{run.name}.jsonl"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps({"s": seconds, "h:m:s": "0"}) + "\n")


def make_runs(state, number, setting=("d", "m", "r"), epoch=None, **details):
    """Runs of 10 epochs in a state."""
    progress = None if epoch is None else Progress(epoch, 10, 2.0 * epoch)
    runs = [Run(*setting, "control", index) for index in range(number)]
    return [RunStatus(run, state, 10, progress, **details) for run in runs]
