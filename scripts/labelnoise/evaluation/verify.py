"""A finished run, trained and tested once more, and compared with what the first time left."""

import csv
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch

from labelnoise.consistency import UNKNOWN
from labelnoise.data.storage import Dataset, LabelFile
from labelnoise.errors import InputError
from labelnoise.evaluation.score import score_run
from labelnoise.jobs.devices import Device
from labelnoise.jobs.locks import hold_run
from labelnoise.seeds import training_seed
from labelnoise.study import Run, RunFolder, Task
from labelnoise.training.checkpoints import load
from labelnoise.training.provenance import begin_sitting, provenance
from labelnoise.training.run import Extras, train_run
from labelnoise.training.trainers.predictions import Predictions

# The columns that name a row, in the tables that have several.
ROW_NAMES = ("epoch", "rank", "case", "slice", "structure")
# It starts the jobs and computes nothing.
IRRELEVANT_PACKAGES = ("snakemake",)


@dataclass(frozen=True)
class Comparison:
    """How one file of a run compares with that of the same run made again.

    Attributes:
        file: its path in the run folder.
        size: how much was compared, such as "48 rows".
        difference: the first place that differs, with both values; None where all is equal.
    """

    file: str
    size: str
    difference: str | None = None


def check_inputs(task: Task, record: Mapping[str, Any]) -> None:
    """Refuse a run whose seed, dataset or labels are no longer those that it was trained with.

    Args:
        task: the training, by the config as it is now.
        record: the run's run.json.

    Raises:
        InputError: one of them differs, or a file cannot be read.
    """
    seed = training_seed(task.seed, task.run.model, task.run.repeat)
    if record.get("training_seed") != seed:
        raise InputError(
            f"{task.run.name} was trained with another seed: training_seed "
            f"{record.get('training_seed', UNKNOWN)} in its record, {seed} by the config; restore "
            "the config key 'seed', or let snakemake train the run again."
        )
    with Dataset(task.dataset) as data, LabelFile(task.labels) as labels:
        for what, file in (("dataset", data), ("labels", labels)):
            recorded, found = record.get("digests", {}).get(what, UNKNOWN), file.digest()
            if found != recorded:
                raise InputError(
                    f"{file.path} is not the file that {task.run.name} was trained on: SHA-256 "
                    f"{recorded[:12]} in its record, {found[:12]} now; restore the file, or let "
                    "snakemake train the run again."
                )


def check_surroundings(run: Run, record: Mapping[str, Any]) -> None:
    """Refuse a run whose numbers need not come out the same here, to the last digit.

    Args:
        run: the run.
        record: its run.json.

    Raises:
        InputError: host, threads, code or a version differ; the message names all that do.
    """
    recorded, here = _surroundings(record), _surroundings(provenance([begin_sitting(0)]))
    cores = os.cpu_count() or 1
    threads = record.get("threads")
    if isinstance(threads, int) and threads > cores:
        here["threads"] = f"{cores} cores"
    different = [
        f"{name} {recorded.get(name, UNKNOWN)} in the record, {value} here"
        for name, value in here.items()
        if recorded.get(name) != value
    ]
    if different:
        raise InputError(
            f"verifying {run.name} would not be byte for byte: {'; '.join(different)}; verify it "
            "where it was made, or another run."
        )


def _surroundings(record: Mapping[str, Any]) -> dict[str, str]:
    """Return what, beside its inputs and the kind of device, the numbers of a run depend on."""
    sittings = record.get("interruptions", [])
    hosts = [*(sitting["host"] for sitting in sittings), record.get("host", UNKNOWN)]
    facts = {
        "host": "+".join(dict.fromkeys(hosts)),
        "threads": record.get("threads", UNKNOWN),
        "python": record.get("python", UNKNOWN),
        **record.get("packages", {}),
        "code": record.get("code", UNKNOWN),
    }
    return {name: str(fact) for name, fact in facts.items() if name not in IRRELEVANT_PACKAGES}


def make_again(
    task: Task, folder: RunFolder, device: Device, tolerances: Mapping[str, float]
) -> tuple[float, float]:
    """Train and test a run as the rules do.

    Args:
        task: the training.
        folder: an empty folder, which takes the place of the run's own.
        device: where to compute.
        tolerances: see `score_run`.

    Returns:
        Seconds that the training took, and the test.

    Raises:
        InputError: see `train_run` and `score_run`.
    """
    started = perf_counter()
    with hold_run(folder):
        train_run(task, folder, device, Extras(workers=torch.get_num_threads() - 1))
    trained = perf_counter()
    score_run(task.dataset, task.labels, folder, device, tolerances)
    return trained - started, perf_counter() - trained


def compare_runs(recorded: RunFolder, again: RunFolder) -> list[Comparison]:
    """Compare metrics, counts and weights of a run with those of the same run made again.

    Tables are compared byte by byte, weights bit by bit. Nothing else in a checkpoint is compared,
    nor the file's own bytes.

    Raises:
        InputError: a file of the recorded run is missing or cannot be read.
    """
    names = ("history", "counts", "surfaces")
    pairs = [(getattr(recorded, name), getattr(again, name)) for name in names]
    compared = [compare_tables(*pair) for pair in pairs]
    if recorded.predictions.exists():
        compared.append(compare_predictions(recorded.predictions, again.predictions))
    ranks = sorted({*recorded.kept_checkpoints(), *again.kept_checkpoints()})
    for rank in ranks:
        compared.append(compare_weights(recorded.checkpoint(rank), again.checkpoint(rank)))
    return compared


def compare_tables(recorded: Path, again: Path) -> Comparison:
    """Compare two CSV files byte by byte, and find the first cell that differs.

    Raises:
        InputError: the recorded file is missing or is no text.
    """
    try:
        bytes_of_both = recorded.read_bytes(), again.read_bytes()
        header, *rows = csv.reader(bytes_of_both[0].decode("utf-8").splitlines())
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(
            f"{recorded} cannot be read ({error}); nothing is left to compare."
        ) from None
    size = f"{len(rows)} rows"
    if bytes_of_both[0] == bytes_of_both[1]:
        return Comparison(recorded.name, size)
    new_header, *new_rows = csv.reader(bytes_of_both[1].decode("utf-8").splitlines())
    if header != new_header:
        difference = f"columns: {','.join(header)} recorded, {','.join(new_header)} again"
    elif rows == new_rows:
        difference = "bytes that are no part of a cell, such as ends of lines"
    else:
        difference = _first_cell(header, rows, new_rows)
    return Comparison(recorded.name, size, difference)


def _first_cell(header: list[str], rows: list[list[str]], new_rows: list[list[str]]) -> str:
    """Return where two tables of equal columns differ first, and in how many rows."""
    places = [
        place for place, pair in enumerate(zip(rows, new_rows, strict=False)) if pair[0] != pair[1]
    ]
    lengths = f"{len(rows)} rows recorded, {len(new_rows)} again"
    if not places:
        return lengths
    row, new_row = rows[places[0]], new_rows[places[0]]
    named = zip(header, row, strict=False)
    name = ", ".join(f"{column} {value}" for column, value in named if column in ROW_NAMES)
    where = f"row {places[0] + 1}" + (f" ({name})" if name else "")
    column = next(
        (place for place, pair in enumerate(zip(row, new_row, strict=False)) if pair[0] != pair[1]),
        None,
    )
    if column is None:
        what = f"{len(row)} cells recorded, {len(new_row)} again"
    else:
        what = f"{header[column]} {row[column]} recorded, {new_row[column]} again"
    rest = f"rows that differ: {len(places)} of {len(rows)}"
    return "; ".join([f"{where}: {what}", rest] + [lengths] * (len(rows) != len(new_rows)))


def compare_predictions(recorded: Path, again: Path) -> Comparison:
    """Compare what a trainer predicted bit by bit, and find the first slice that differs.

    Raises:
        InputError: a file cannot be read.
    """
    file = "/".join(recorded.parts[-2:])
    if not again.exists():
        return Comparison(file, "", "not kept again")
    first, second = Predictions(recorded), Predictions(again)
    size = f"{len(first.rows)} slices"
    if first.rows.tolist() != second.rows.tolist() or first.classes != second.classes:
        return Comparison(file, size, "of other slices or classes")
    for row in first.rows:
        found, again_found = (each.read([row])[0] for each in (first, second))
        if found.shape != again_found.shape:
            return Comparison(file, size, f"row {row}: shape {found.shape}, {again_found.shape}")
        if (found != again_found).any():
            most = float(np.abs(found - again_found).max())
            return Comparison(file, size, f"row {row}: probabilities differ by up to {most:.3g}")
    return Comparison(file, size)


def compare_weights(recorded: Path, again: Path) -> Comparison:
    """Compare the weights in two checkpoints bit by bit, and find the first that differs.

    Raises:
        InputError: a checkpoint cannot be read.
    """
    file = "/".join(recorded.parts[-2:])
    for path, difference in ((recorded, "not kept in the record"), (again, "not kept again")):
        if not path.exists():
            return Comparison(file, "", difference)
    first, second = load(recorded), load(again)
    epochs = [trained.description["epoch"] for trained in (first, second)]
    states = [trained.network.state_dict() for trained in (first, second)]
    size = f"{len(states[0])} tensors"
    if epochs[0] != epochs[1]:
        return Comparison(file, size, f"epoch {epochs[0]} recorded, {epochs[1]} again")
    if states[0].keys() != states[1].keys():
        return Comparison(file, size, "the names of its tensors")
    places = {name: _first_bits(states[0][name], states[1][name]) for name in states[0]}
    different = [name for name, place in places.items() if place is not None]
    if not different:
        return Comparison(file, size)
    name = different[0]
    if states[0][name].shape != states[1][name].shape:
        what = "shape " + " recorded, ".join(str(list(state[name].shape)) for state in states)
    else:
        place = places[name]
        index = torch.unravel_index(torch.tensor(place), states[0][name].shape)
        where = f"[{', '.join(str(int(axis)) for axis in index)}]" if index else ""
        values = [f"{state[name].flatten()[place].item():.9g}" for state in states]
        what = f"{name}{where} {values[0]} recorded, {values[1]}"
    return Comparison(
        file, size, f"{what} again; tensors that differ: {len(different)} of {len(states[0])}"
    )


def _first_bits(first: torch.Tensor, second: torch.Tensor) -> int | None:
    """Return the place of the first value whose bits differ; None where there is none."""
    if first.shape != second.shape or first.dtype != second.dtype:
        return 0
    bits = [tensor.flatten().view(torch.uint8) for tensor in (first, second)]
    different = (bits[0] != bits[1]).nonzero()
    return int(different[0]) // first.element_size() if len(different) else None


def describe_comparisons(compared: Sequence[Comparison], record: Mapping[str, Any]) -> str:
    """Return what a comparison came to as lines of text, with what may explain a difference.

    Args:
        compared: what `compare_runs` returns.
        record: the run's run.json.
    """
    width = max(len(each.file) for each in compared)
    lines = [
        f"{'differs' if each.difference else 'equal  '}  {each.file:{width}}  "
        f"{each.difference or each.size}"
        for each in compared
    ]
    different = [each.file for each in compared if each.difference]
    if different == ["test.csv"]:
        lines.append(
            "Only the test differs: on which device and with how many threads it ran first is not "
            "recorded."
        )
    if different and record["gpu"]:
        lines.append("Some of torch's kernels for GPUs are not deterministic; it warns of them.")
    if different and record["interruptions"]:
        lines.append(
            f"The run was made in {len(record['interruptions']) + 1} sittings, and threads and "
            "versions are recorded of the last alone."
        )
    return "\n".join(lines)
