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
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from time import monotonic, perf_counter, sleep
from typing import Any

import torch

from rows import Rows, add_output
from training import SETTINGS, Trial, images_per_second, wall_of_gpu

ROOT = Path(__file__).resolve().parents[1]

from labelnoise.data.prepare import prepare_dataset  # noqa: E402
from labelnoise.files import read_json, write_json  # noqa: E402
from labelnoise.jobs.devices import Device  # noqa: E402
from labelnoise.jobs.free_memory import cores  # noqa: E402
from labelnoise.jobs.locks import hold_run  # noqa: E402
from labelnoise.labels.dataset import calibrate_dataset, perturb_dataset  # noqa: E402
from labelnoise.study import Run, Study, Task, read_study  # noqa: E402
from labelnoise.training.batches import as_inputs  # noqa: E402
from labelnoise.training.loop import evaluate  # noqa: E402
from labelnoise.training.run import Extras, make_repeatable, train_run  # noqa: E402

PAPER = ROOT / "studies" / "paper-size.yaml"
# The paper's size first, then a small one, of which less is asked.
SIZES, MODELS = (512, 128), ("unet", "segnet", "fcn32")
SHARES, FEW_SHARES = (1, 2, 3, 4, 6, 8), (1, 4, 8)
LAST = ("compile: true", "all three")
# Seconds that are measured for one number, and that a part may take at most before it is begun.
LONG, MOST = 6.0, 60
PARITY_STEPS = 20


class Bench:
    """The parts, their folder, and the time that is left."""

    def __init__(self, folder: Path, device: str, seconds: float, quick: bool):
        self.folder, self.device, self.quick = folder, device, quick
        self.end = monotonic() + seconds
        self.scratch = folder / "slices"
        self.sizes = (32,) if quick else SIZES
        self.models = ("unet",) if quick else MODELS
        self.long = 0.0 if quick else LONG
        self.clock = wall_of_gpu if device == "cuda" else perf_counter

    def left(self) -> float:
        """Return the seconds that are left."""
        return self.end - monotonic()

    def parts(self) -> dict[str, Callable[[], dict[str, Any]]]:
        """Return every part by the name of its file, the most wanted first."""
        large, *small = self.sizes
        found: dict[str, Callable[[], dict[str, Any]]] = {"parity": self.parity}
        early = () if self.quick else tuple(name for name in SETTINGS if name not in LAST)
        found |= self.of_size(large, early, (1,) if self.quick else SHARES)
        for model in self.models:
            for precision in ("32", "bf16"):
                name = f"memory-{model}-{precision}"
                found[name] = partial(self.memory, model, precision)
        if not self.quick:
            found |= self.of_size(large, LAST, ())
        for size in small:
            found |= self.of_size(size, ("precision: bf16",), FEW_SHARES)
        return found

    def of_size(self, size: int, settings: Sequence[str], shares: Sequence[int]) -> dict[str, Any]:
        """Return parts of one size: with settings, and with so many trainings at a time."""
        found: dict[str, Any] = {}
        for name in ("as it is", *settings):
            key = name.replace(": ", "-").replace(" ", "-")
            found[f"steps-{size}-{key}"] = partial(self.steps, size, name, SETTINGS.get(name, {}))
        found[f"filling-{size}"] = partial(self.filling, size)
        for share in shares:
            found[f"processes-{size}-{share}"] = partial(self.processes, size, share)
        for share in shares:
            found[f"streams-{size}-{share}"] = partial(self.streams, size, share)
        return found

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

    def parity(self) -> dict[str, Any]:
        """Train alike on both devices, from the same weights, on the same batches."""
        steps = 3 if self.quick else PARITY_STEPS
        losses, scores = [], []
        for device in ("cpu", self.device):
            trial = self.trial(self.sizes[-1], device)
            batches, found = iter(trial._batches), []
            for _ in range(steps):
                images_NKHW, labels_NHW = as_inputs(next(batches), device)
                trial.optimiser.zero_grad()
                value = trial.setup.loss(trial.setup.network.train()(images_NKHW), labels_NHW)
                value.backward()
                trial.optimiser.step()
                found.append(value.item())
            losses.append(found)
            scores.append(evaluate(trial.setup))
        pairs = list(zip(*losses, strict=True))
        return {
            "size": self.sizes[-1],
            "losses": losses,
            "scores": scores,
            "first_difference": abs(pairs[0][1] / pairs[0][0] - 1),
            "last_difference": abs(pairs[-1][1] / pairs[-1][0] - 1),
        }

    def steps(self, size: int, name: str, setting: dict[str, Any]) -> dict[str, Any]:
        """Compare steps of `fit` with a setting with those of bare loops, with and without it."""
        plain, trial = self.trial(size), self.trial(size, **setting)
        turns = {"plain": plain.bare_steps, "fit": trial.steps}
        # A bare loop would have kernels compiled anew, as its own need not be deterministic.
        if setting and not trial.recipe.compile:
            turns["bare"] = trial.bare_steps
        found = images_per_second(turns, 2 if self.quick else 50, self.clock, 2 * self.long)
        return {"size": size, "setting": name, **found}

    def filling(self, size: int) -> dict[str, Any]:
        """Compare steps with those that leave new memory as it was, which torch fills by default.

        It does where it is asked for deterministic kernels, see `make_repeatable`.
        """
        trial = self.trial(size)

        def unfilled():
            torch.utils.deterministic.fill_uninitialized_memory = False
            try:
                return trial.steps()
            finally:
                torch.utils.deterministic.fill_uninitialized_memory = True

        turns = {"filled": trial.steps, "unfilled": unfilled}
        found = images_per_second(turns, 2 if self.quick else 50, self.clock, 2 * self.long)
        return {"size": size, **found}

    def processes(self, size: int, share: int) -> dict[str, Any]:
        """Train in several processes at a time; add up what they do after all have begun."""
        self.trial(size)
        gate = self.scratch / "gate"
        gate.unlink(missing_ok=True)
        command = [sys.executable, __file__, "--folder", str(self.folder), "--device", self.device]
        command += ["--worker", str(size)] + (["--quick"] if self.quick else [])
        workers = [
            subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(share)
        ]
        try:
            ready = [worker.stdout.readline() for worker in workers]
            gate.touch()
            found = [json.loads(worker.communicate(timeout=MOST)[0]) for worker in workers]
        finally:
            for worker in workers:
                worker.kill()
                worker.wait()
        assert ready == ["ready\n"] * share
        rates = [each["rate"] for each in found]
        return {"size": size, "share": share, "rates": rates, "peak_gib": found[0]["peak_gib"]}

    def work(self, size: int) -> None:
        """Be one of several processes: get ready, wait for the others, train for a while."""
        trial = self.trial(size)
        trial.steps()
        print("ready", flush=True)
        while not (self.scratch / "gate").exists():
            sleep(0.01)
        slices, started = 0, self.clock()
        while slices == 0 or self.clock() - started < self.long:
            slices += trial.steps()
        print(json.dumps({"rate": slices / (self.clock() - started), "peak_gib": self.peak()}))

    def streams(self, size: int, share: int) -> dict[str, Any]:
        """Train in several streams of this process, a step of each in turn."""
        trials = [self.trial(size) for _ in range(share)]
        streams = [torch.cuda.Stream() if self.device == "cuda" else None for _ in trials]

        def turn():
            slices = 0
            for _ in range(4):
                for trial, stream in zip(trials, streams, strict=True):
                    with torch.cuda.stream(stream):
                        slices += trial.bare_steps(1)
            return slices

        found = images_per_second({"all": turn}, 2 if self.quick else 50, self.clock, self.long)
        return {"size": size, "share": share, "rate": found["all"]}

    def memory(self, model: str, precision: str) -> dict[str, Any]:
        """Take two steps of a network and look at the most memory that was in use."""
        trial = self.trial(self.sizes[0], model=model, precision=precision)
        if self.device == "cuda":
            torch.cuda.reset_peak_memory_stats()
        trial.steps(2)
        return {"size": self.sizes[0], "model": model, "precision": precision, "gib": self.peak()}

    def peak(self) -> float:
        """Return the most memory of the card that this process had in use, in GiB; 0 on a CPU."""
        return torch.cuda.max_memory_allocated() / 2**30 if self.device == "cuda" else 0.0


def train_paper(bench: Bench, study: Study) -> None:
    """Train runs of a study one after the other until the time is gone; they go on another time."""
    runs = sorted(study.runs, key=lambda run: (run.repeat, run.perturbation != "control"))
    for run in runs:
        folder = study.results.run_folder(run)
        if folder.record.exists():
            continue
        dataset, labels = make_inputs(study, run)
        task = Task(
            run, study.models[run.model], study.recipes[run.recipe], study.seed, dataset, labels
        )
        seconds = bench.left() - (0 if bench.quick else 5)
        if seconds <= 0:
            return
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


def make_inputs(study: Study, run: Run) -> tuple[Path, Path]:
    """Make the dataset and the labels of a run where they are not there; return their files."""
    paths = study.results
    dataset, calibration, labels, measured = (
        paths.fill(path, run)
        for path in (paths.dataset, paths.calibration, paths.labels, paths.measured)
    )
    error, seed = study.perturbations[run.perturbation], study.seed
    if not dataset.exists():
        settings = study.datasets[run.dataset]
        prepare_dataset(run.dataset, settings, seed=seed, path=dataset, workers=cores())
    if not calibration.exists():
        calibrate_dataset(dataset, run.perturbation, error, seed, calibration)
    if not measured.exists():
        perturb_dataset(dataset, calibration, error, run.repeat, seed, labels, measured)
    return dataset, labels


def rows_of(bench: Bench, gpu: str) -> Rows:
    """Return the rows of all parts that are done."""
    paths = {name: bench.folder / f"{name}.json" for name in bench.parts()}
    found = {name: read_json(path) for name, path in paths.items() if path.exists()}
    rows = Rows(gpu)
    for name, part in found.items():
        kind, what = name.partition("-")[0], f"{part['size']} px"
        if kind == "parity":
            for when in ("first", "last"):
                name = f"loss of the {when} step, {what}: GPU / CPU - 1"
                rows.add(name, after=part[f"{when}_difference"], unit="")
            dices = [scores["dice"] for scores in part["scores"]]
            name = f"validation Dice after {len(part['losses'][0])} steps, {what}: CPU, GPU"
            rows.add(name, before=dices[0], after=dices[1], unit="Dice")
        elif kind == "steps":
            setting, bare = part["setting"], part.get("bare", part["plain"])
            unequal = " without it" if "bare" not in part and setting != "as it is" else ""
            name = f"steps of fit, {setting}, against a bare loop{unequal}, {what}"
            rows.add(name, before=bare, after=part["fit"], unit="images/s")
            if "bare" in part:
                name = f"steps of a bare loop, {setting}, {what}"
                rows.add(name, before=part["plain"], after=bare, unit="images/s")
        elif kind == "filling":
            name = f"steps of fit, without filling new memory first, {what}"
            rows.add(name, before=part["filled"], after=part["unfilled"], unit="images/s")
        elif kind in ("processes", "streams"):
            rate = part["rate"] if kind == "streams" else sum(part["rates"])
            alone = found.get(f"{kind}-{part['size']}-1", {})
            one = alone.get("rate") or (alone.get("rates") or [None])[0]
            name = f"{part['share']} trainings as {kind}, {what}, against one"
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
    parser.add_argument("--worker", type=int, help=argparse.SUPPRESS)
    add_output(parser)
    arguments = parser.parse_args()
    if arguments.device == "cuda" and not torch.cuda.is_available():
        sys.exit("error: torch finds no GPU here; try --device cpu --quick, or a machine with one.")
    torch.set_num_threads(1)
    make_repeatable(1)
    bench = Bench(arguments.folder, arguments.device, arguments.seconds, arguments.quick)
    if arguments.worker:
        bench.work(arguments.worker)
        return
    bench.run()
    study = read_study(ROOT / "config.yaml", PAPER)
    with suppress(KeyboardInterrupt):
        train_paper(bench, quick_study(study, bench.folder) if arguments.quick else study)
    gpu = torch.cuda.get_device_name() if arguments.device == "cuda" else ""
    rows_of(bench, gpu).write(arguments.output)


if __name__ == "__main__":
    main()
