"""Measure what a GPU does with trainings, in minutes, on a card that may be gone afterwards.

    python benchmarks/gpu.py --folder results/gpu --output docs/speed/gpu.csv

Every part leaves a small JSON file in the folder when it is done, and is not done again by the next
call, which goes on from there: parity of losses and scores between CPU and GPU; steps of `fit`
against a bare loop, as they are and with each setting for speed; several trainings on one card, as
processes and as streams of one process; peak memory. What time is left goes into trainings of
studies/paper-size.yaml, in its own results, which go on from their last whole epoch.

It needs torch and what reads a study, but no Snakemake. `--device cpu --quick` tries it without a
card.
"""

import argparse
import json
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from threading import Timer
from time import monotonic, perf_counter
from typing import Any
from unittest.mock import patch

import torch

import training
from rows import Rows, add_output
from training import SETTINGS, STEPS, Trial, images_per_second, make_task, wall_of_gpu

ROOT = Path(__file__).resolve().parents[1]

from labelnoise.files import read_json, write_json  # noqa: E402
from labelnoise.jobs.devices import Device  # noqa: E402
from labelnoise.jobs.locks import hold_run  # noqa: E402
from labelnoise.study import Perturbation, Study, read_study  # noqa: E402
from labelnoise.training.batches import as_inputs  # noqa: E402
from labelnoise.training.loop import evaluate  # noqa: E402
from labelnoise.training.run import Extras, make_repeatable, train_run  # noqa: E402

PAPER = ROOT / "studies" / "paper-size.yaml"
# The paper's size first, then a small one.
SIZES, MODELS = (512, 128), ("unet", "segnet", "fcn32")
SHARES, FEW_SHARES = (1, 2, 4, 8), (1, 4)
# Seconds that are measured for one number, and that a part may take at most before it is begun.
LONG, MOST = 2.5, 60
# Steps of a turn: at its end the card has nothing to do for a moment.
GPU_STEPS = 16
PARITY_STEPS = 10
# The error that takes the longest to draw, anew in each epoch, and processes that draw it.
FRESH = Perturbation("natural", severity=4, draws="per_epoch")
DRAWERS = (0, 1, 3, 7)


class Bench:
    """The parts, their folder, and the time that is left."""

    def __init__(self, folder: Path, device: str, seconds: float, quick: bool):
        self.folder, self.device, self.quick = folder, device, quick
        self.end = monotonic() + seconds
        self.scratch = folder / "slices"
        self.sizes = (32,) if quick else SIZES
        self.models = ("unet",) if quick else MODELS
        self.long = 0.0 if quick else LONG
        self.turn = STEPS if quick else GPU_STEPS
        self.clock = wall_of_gpu if device == "cuda" else perf_counter
        self._plain: dict[int, Trial] = {}
        self._workers: list[subprocess.Popen] = []

    def left(self) -> float:
        """Return the seconds that are left."""
        return self.end - monotonic()

    def parts(self) -> dict[str, Callable[[], dict[str, Any]]]:
        """Return every part by the name of its file, the most wanted first."""
        found: dict[str, Callable[[], dict[str, Any]]] = {}
        for size in self.sizes:
            found[f"steps-{size}"] = partial(self.steps, size)
            for share in (1,) if self.quick else SHARES:
                found[f"processes-{size}-{share}"] = partial(self.processes, size, share)
        for workers in DRAWERS[:1] if self.quick else DRAWERS:
            found[f"fresh-{workers}"] = partial(self.fresh, workers)
        found["parity"] = self.parity
        for model in self.models:
            for precision in ("32", "bf16"):
                name = f"memory-{model}-{precision}"
                found[name] = partial(self.memory, model, precision)
        for size in self.sizes:
            for share in (1,) if self.quick else FEW_SHARES:
                found[f"streams-{size}-{share}"] = partial(self.streams, size, share)
        # Compiling takes the longest.
        for setting in () if self.quick else SETTINGS:
            for size in self.sizes:
                found[self.name_of(size, setting)] = partial(self.setting, size, setting)
        return found

    def name_of(self, size: int, setting: str) -> str:
        """Return the name of the part of a setting for speed."""
        return f"setting-{size}-{setting.replace(': ', '-').replace(' ', '-')}"

    def run(self) -> None:
        """Do the parts that are not done, as long as there is time; a failure stops no other."""
        for name, part in self.parts().items():
            path = self.folder / f"{name}.json"
            if path.exists() or self.left() < (0 if self.quick else MOST):
                continue
            started = perf_counter()
            try:
                content = part()
            except Exception as error:
                print(f"{name}: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
                continue
            finally:
                if self.device == "cuda":
                    torch.cuda.empty_cache()
            write_json(path, {**content, "seconds": round(perf_counter() - started, 1)})
            print(f"{name}: {json.dumps(content)}", flush=True)

    def trial(self, size: int, device: str | None = None, **recipe: Any) -> Trial:
        """Return a trial on the device."""
        if self.quick:
            recipe = {"batch_size": 2, **recipe}
        return Trial(self.scratch, size, device or self.device, **recipe)

    def plain(self, size: int) -> Trial:
        """Return the trial of a size as it is, which several parts compare with."""
        if size not in self._plain:
            self._plain = {size: self.trial(size)}
        return self._plain[size]

    def compare(self, turns: dict[str, Callable[[int], int]]) -> dict[str, float]:
        """Return images per second of functions that take a number of steps."""
        ready = {name: partial(turn, self.turn) for name, turn in turns.items()}
        return images_per_second(ready, 2 if self.quick else 50, self.clock, self.long)

    def parity(self) -> dict[str, Any]:
        """Train alike on both devices, from the same weights, on the same batches.

        By default torch lets a GPU's convolutions round their inputs to TF32.
        """
        steps, size = 3 if self.quick else PARITY_STEPS, self.sizes[-1]
        found: dict[str, Any] = {"size": size, "steps": steps}
        for name, device, tf32 in (
            ("cpu", "cpu", True),
            ("gpu", self.device, True),
            ("gpu without TF32", self.device, False),
        ):
            torch.backends.cudnn.allow_tf32 = tf32
            trial, losses = self.trial(size, device), []
            for batch in islice(trial.batches, steps):
                images_NKHW, labels_NHW = as_inputs(batch, device)
                trial.optimiser.zero_grad()
                value = trial.setup.loss(trial.setup.network.train()(images_NKHW), labels_NHW)
                value.backward()
                trial.optimiser.step()
                losses.append(value.item())
            found[name] = {"losses": losses, **evaluate(trial.setup)}
        torch.backends.cudnn.allow_tf32 = True
        return found

    def steps(self, size: int) -> dict[str, Any]:
        """Compare steps of `fit` with bare loops, of the fastest kernels and of deterministic ones.

        And `fit` with `fit` where torch fills new memory first, see `make_repeatable`.
        """
        trial = self.plain(size)
        turns = {
            "bare": trial.bare_steps,
            "deterministic": partial(trial.bare_steps, deterministic=True),
            "fit": trial.steps,
        }
        found = self.compare(turns)
        with patch.object(training, "make_repeatable", repeatable_and_filled):
            found |= self.compare({"filled": trial.steps})
        return {"size": size, **found}

    def setting(self, size: int, name: str) -> dict[str, Any]:
        """Compare steps of `fit` with those with a setting for speed."""
        turns = {"plain": self.plain(size).steps, "fit": self.trial(size, **SETTINGS[name]).steps}
        return {"size": size, "setting": name, **self.compare(turns)}

    def fresh(self, workers: int) -> dict[str, Any]:
        """Compare steps of `fit` on fixed labels with those on labels drawn on the way."""
        size = self.sizes[0]
        drawn = self.trial(size, error=FRESH, workers=workers)
        turns = {"fixed": self.plain(size).steps, "fresh": drawn.steps}
        return {"size": size, "workers": workers, **self.compare(turns)}

    def processes(self, size: int, share: int) -> dict[str, Any]:
        """Train in several processes at a time; add up what they do after all have begun."""
        self.plain(size)
        if not self._workers:
            number = share if self.quick else max(SHARES)
            self._workers = [self.start_worker() for _ in range(number)]
        workers = self._workers[:share]
        watch = Timer(MOST, lambda: [worker.kill() for worker in workers])
        watch.start()
        try:
            for task in (f"ready {size}", "go"):
                for worker in workers:
                    print(task, file=worker.stdin, flush=True)
                found = [json.loads(worker.stdout.readline()) for worker in workers]
        except Exception:
            # What the others still say would be taken for their answers of the next part.
            self.close()
            raise
        finally:
            watch.cancel()
        rates = [each["rate"] for each in found]
        return {"size": size, "share": share, "rates": rates, "peak_gib": found[0]["peak_gib"]}

    def start_worker(self) -> subprocess.Popen:
        """Start one of several processes, see `work`."""
        command = [sys.executable, __file__, "--folder", str(self.folder), "--device", self.device]
        command += ["--worker"] + (["--quick"] if self.quick else [])
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def work(self) -> None:
        """Be one of several processes: make ready a size, or train on it for a while, as told."""
        for line in sys.stdin:
            if line != "go\n":
                self.plain(int(line.split()[1])).steps()
                print("{}", flush=True)
                continue
            (trial,) = self._plain.values()
            slices, started = 0, self.clock()
            while slices == 0 or self.clock() - started < self.long:
                slices += trial.steps(self.turn)
            rate = slices / (self.clock() - started)
            print(json.dumps({"rate": rate, "peak_gib": self.peak()}), flush=True)

    def close(self) -> None:
        """End the processes that train beside each other."""
        for worker in self._workers:
            worker.kill()
            worker.communicate()
        self._workers = []

    def streams(self, size: int, share: int) -> dict[str, Any]:
        """Train in several streams of this process, a step of each in turn."""
        trials = [self.trial(size) for _ in range(share)]
        streams = [torch.cuda.Stream() if self.device == "cuda" else None for _ in trials]

        def turn(number):
            slices = 0
            for _ in range(-(-number // share)):
                for trial, stream in zip(trials, streams, strict=True):
                    with torch.cuda.stream(stream):
                        slices += trial.bare_steps(1, deterministic=True)
            return slices

        return {"size": size, "share": share, "rate": self.compare({"all": turn})["all"]}

    def memory(self, model: str, precision: str) -> dict[str, Any]:
        """Take two steps of a network and look at the most memory that was in use."""
        self._plain.clear()
        trial = self.trial(self.sizes[0], model=model, precision=precision)
        if self.device == "cuda":
            torch.cuda.reset_peak_memory_stats()
        trial.steps(2)
        return {"size": self.sizes[0], "model": model, "precision": precision, "gib": self.peak()}

    def peak(self) -> float:
        """Return the most memory of the card that this process had in use, in GiB; 0 on a CPU."""
        return torch.cuda.max_memory_allocated() / 2**30 if self.device == "cuda" else 0.0


def repeatable_and_filled(seed: int) -> None:
    """Ask for deterministic kernels as torch itself does, with all new memory filled."""
    make_repeatable(seed)
    torch.utils.deterministic.fill_uninitialized_memory = True


def train_paper(bench: Bench, study: Study) -> None:
    """Train runs of a study one after the other until the time is gone; they go on another time."""
    runs = sorted(study.runs, key=lambda run: (run.repeat, run.perturbation != "control"))
    for run in runs:
        folder = study.results.run_folder(run)
        if folder.record.exists():
            continue
        if bench.left() < (0 if bench.quick else MOST):
            return
        task = make_task(study, run)
        seconds = max(1e-3, bench.left() - (0 if bench.quick else 5))
        signal.signal(signal.SIGALRM, out_of_time)
        # Again and again, since it may come where Python lets no exception out.
        signal.setitimer(signal.ITIMER_REAL, seconds, 1)
        try:
            with hold_run(folder):
                label = torch.cuda.get_device_name() if bench.device == "cuda" else "CPU"
                train_run(task, folder, Device(bench.device, label), Extras())
        except SystemExit:
            print(f"out of time in {run.name}", flush=True)
            return
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
        print(f"trained {run.name}", flush=True)


def out_of_time(*_):
    """End a training as when a scheduler ends it: its last whole epoch is on the disk."""
    raise SystemExit(1)


def rows_of(bench: Bench, gpu: str) -> Rows:
    """Return the rows of all parts that are done."""
    paths = {name: bench.folder / f"{name}.json" for name in bench.parts()}
    found = {name: read_json(path) for name, path in paths.items() if path.exists()}
    rows = Rows(gpu)
    for name, part in found.items():
        kind, what = name.partition("-")[0], f"{part['size']} px"
        if kind == "parity":
            for other in ("gpu", "gpu without TF32"):
                for step, when in ((0, "first"), (-1, "last")):
                    ratio = part[other]["losses"][step] / part["cpu"]["losses"][step]
                    name = f"loss of the {when} step, {what}: {other} / cpu - 1"
                    rows.add(name, after=abs(ratio - 1), unit="")
                name = f"validation Dice after {part['steps']} steps, {what}: cpu, {other}"
                rows.add(name, before=part["cpu"]["dice"], after=part[other]["dice"], unit="Dice")
        elif kind == "steps":
            for name, before, after in (
                ("steps of a bare loop, deterministic", "bare", "deterministic"),
                ("steps of fit, against a bare loop, deterministic", "deterministic", "fit"),
                ("steps of fit, without filling new memory first", "filled", "fit"),
            ):
                rows.add(f"{name}, {what}", before=part[before], after=part[after], unit="images/s")
        elif kind == "setting":
            name = f"steps of fit, {part['setting']}, {what}"
            rows.add(name, before=part["plain"], after=part["fit"], unit="images/s")
        elif kind == "fresh":
            name = f"steps of fit on fresh labels, {part['workers']} processes to draw, {what}"
            rows.add(name, before=part["fixed"], after=part["fresh"], unit="images/s")
        elif kind in ("processes", "streams"):
            rate = part["rate"] if kind == "streams" else sum(part["rates"])
            alone = found.get(f"{kind}-{part['size']}-1", {})
            one = alone.get("rate") or (alone.get("rates") or [None])[0]
            name = f"trainings as {kind}, {part['share']} against 1, {what}"
            rows.add(name, before=one, after=rate, unit="images/s")
        else:
            name = f"peak memory, {part['model']}, precision {part['precision']}, {what}"
            rows.add(name, after=part["gib"], unit="GiB")
    return rows


def quick_study(study: Study, folder: Path) -> Study:
    """Return a study as small as it can be, with results in a folder."""
    phantom = {**study.datasets["phantom"], "cases": 6, "slices": 2, "size": 32}
    recipes = {
        name: replace(recipe, batch_size=2, steps_per_epoch=1, epochs=2, keep=1)
        for name, recipe in study.recipes.items()
    }
    matrix = {**study.matrix, "recipe": ("plain",), "perturbation": ("control",)}
    results = replace(study.results, root=folder / "results")
    datasets = {"phantom": phantom}
    return replace(
        study, datasets=datasets, recipes=recipes, matrix=matrix, repeats=1, results=results
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=ROOT / "results" / "gpu")
    parser.add_argument("--seconds", type=float, default=520, help="that all of it may take")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--quick", action="store_true", help="a try on tiny slices")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    add_output(parser)
    arguments = parser.parse_args()
    if arguments.device == "cuda" and not torch.cuda.is_available():
        sys.exit("error: torch finds no GPU here; try --device cpu --quick, or a machine with one.")
    torch.set_num_threads(1)
    make_repeatable(1)
    bench = Bench(arguments.folder, arguments.device, arguments.seconds, arguments.quick)
    if arguments.worker:
        bench.work()
        return
    try:
        bench.run()
    finally:
        bench.close()
    study = read_study(ROOT / "config.yaml", PAPER)
    with suppress(KeyboardInterrupt):
        train_paper(bench, quick_study(study, bench.folder) if arguments.quick else study)
    gpu = torch.cuda.get_device_name() if arguments.device == "cuda" else ""
    rows_of(bench, gpu).write(arguments.output)


if __name__ == "__main__":
    main()
