"""Counts of right and wrong pixels on clean test labels, and histograms of the scores.

Shape legend: N slices, G cases, C classes, S structures (classes but the background), H height,
W width, B bins; an axis of 2 is negative, positive.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import numpy as np
import torch

from labelnoise.counts import COUNTS, dice
from labelnoise.data.storage import Dataset, LabelFile
from labelnoise.errors import InputError
from labelnoise.evaluation.histograms import BINS, SCALE, RunScores, counts_above, write_scores
from labelnoise.evaluation.surfaces import surface_table
from labelnoise.files import read_json, sha256_of, write_rows
from labelnoise.jobs.devices import Device
from labelnoise.labels.drawing import CalibratedError, Drawer
from labelnoise.networks.output import count_pixels, log_odds, predict
from labelnoise.study import Recipe, Run, RunFolder
from labelnoise.training.batches import Slices, as_inputs, batches_in_order
from labelnoise.training.checkpoints import load
from labelnoise.training.decision import background_share, decision_odds
from labelnoise.training.memory import describe, is_out_of_memory, release
from labelnoise.training.trainers.predictions import Predictions

log = logging.getLogger(__name__)

BATCH_SIZE = 16
Found = TypeVar("Found")
# A network, or what one has predicted elsewhere.
Network: TypeAlias = torch.nn.Module | Predictions
# Of a table, as mappings: every test job would pay for the import of pandas.
Rows = list[dict[str, Any]]


@dataclass(frozen=True, eq=False)
class Scan:
    """What a network says of some slices.

    Attributes:
        counts_NC4: tp, fp, fn, tn of each slice and class, integers on the CPU.
        predicted_NCHW: bool, where each class's probability is over 0.5.
        clean, perturbed: {case: histograms (S, 2, B)} against the clean labels and against wrong
            ones, of which some slices may have none.
    """

    counts_NC4: torch.Tensor
    predicted_NCHW: np.ndarray
    clean: dict[str, np.ndarray]
    perturbed: dict[str, np.ndarray]


def score_run(
    dataset: Path,
    labels: Path,
    folder: RunFolder,
    device: Device,
    tolerances: Mapping[str, float],
) -> Rows:
    """Write the counts of a run's kept checkpoints, and scores and surfaces of the chosen one.

    Args:
        dataset: the dataset file; its test split is used, with reference labels.
        labels: the run's label file, which says how wrong its labels are: test and validation
            slices are scored against labels as wrong, too.
        folder: the run's folder, whose record says which checkpoint was chosen.
        device: where to compute.
        tolerances: see `surfaces.surface_table`.

    Returns:
        The counts, one row per checkpoint, slice and structure: rank, epoch, case, slice,
        class_index, structure, tp, fp, fn, tn. A pixel is predicted to be of a class where its
        probability is over 0.5.

    Raises:
        InputError: a file cannot be read, or there is no checkpoint.
    """
    device.limit_memory()
    data, error = Dataset(dataset), LabelFile(labels)
    record = read_json(folder.record, ("chosen_rank", "definitions"))
    test = Slices(data, data.rows("test"))
    counted: Rows = []
    scores = None
    for rank, epoch, network in networks_of(folder, record, device.kind):
        if rank == record["chosen_rank"]:
            found = within_memory(partial(scan_slices, network, test, error, device.kind), device)
            validation = Slices(data, data.rows("validation"))
            beside = within_memory(
                partial(scan_slices, network, validation, error, device.kind), device
            )
            recipe = Recipe(**record["definitions"]["recipe"])
            scores = gather(data, rank, found, beside, loss_threshold(recipe, data))
            surfaces = surface_table(data, test.rows, found.predicted_NCHW, tolerances)
            counted_NC4 = found.counts_NC4
        else:
            counted_NC4 = within_memory(partial(count_slices, network, test, device.kind), device)
        of_checkpoint = {"rank": rank, "epoch": epoch}
        counted += [of_checkpoint | row for row in tabulate(counted_NC4, data, test.rows)]
        log.info("tested rank %d of %s on %d slices", rank, folder.checkpoints, len(test))
    if scores is None:
        raise InputError(
            f"{folder.record} chose checkpoint {record['chosen_rank']}, which "
            f"{folder.checkpoints} lacks; delete it and run snakemake again."
        )
    write_rows(folder.counts, counted)
    write_rows(folder.surfaces, surfaces)
    digests = {path.name: sha256_of(path) for path in (folder.counts, folder.surfaces)}
    write_scores(folder.scores, replace(scores, digests=digests))
    return counted


def networks_of(
    folder: RunFolder, record: Mapping[str, Any], device: str
) -> Iterator[tuple[int, int, Network]]:
    """Yield rank, epoch and network of each kept checkpoint of a run, or what a trainer predicted.

    It is one network, which takes the weights of one checkpoint after the other.

    Args:
        folder: the run's folder.
        record: its run.json.
        device: where the network shall be.

    Raises:
        InputError: there is none, or one cannot be read.
    """
    if folder.predictions.exists():
        yield 1, record["checkpoints"][0]["epoch"], Predictions(folder.predictions)
        return
    kept = folder.kept_checkpoints()
    if not kept:
        raise InputError(
            f"{folder.checkpoints} holds no checkpoint; delete it and run snakemake again."
        )
    network = None
    for rank, checkpoint in kept.items():
        trained = load(checkpoint, network=network)
        network = trained.network.to(device)
        yield rank, trained.description["epoch"], network


def describe_score(counted: Rows, folder: RunFolder) -> str:
    """Return the test Dice of a run's chosen checkpoint, as one line for the terminal.

    Args:
        counted: what `score_run` returns.
        folder: the run's folder, whose record says which checkpoint was chosen.
    """
    record = read_json(folder.record)
    pooled: dict[str, np.ndarray] = {}
    for row in counted:
        if row["rank"] == record["chosen_rank"]:
            counts_4 = np.array([row[name] for name in COUNTS])
            pooled[row["structure"]] = pooled.get(row["structure"], 0) + counts_4
    scores = (f"{name} {dice(counts_4):.4f}" for name, counts_4 in pooled.items())
    return f"tested {Run.of(record).name}: test Dice {', '.join(scores)}"


def loss_threshold(recipe: Recipe, data: Dataset) -> float:
    """Return the log-odds at the optimum of a recipe's loss where foreground is as likely as not.

    Where a share q of the background is kept, the optimum's log-odds are log(1 / q) above the
    true ones; deciding there instead of at 0 takes it back, without looking at any label. With
    several structures it is exact where the others are far: then the rest is background.

    Returns:
        The log-odds, 0 for plain cross-entropy; NaN where the loss's optimum is unknown, or labels
        are left out or mended.
    """
    odds = decision_odds(recipe.deciding_loss, background_share(recipe.background_share, data))
    return np.nan if odds is None else float(-np.log(odds))


def gather(
    data: Dataset, rank: int, test: Scan, validation: Scan, loss_threshold: float
) -> RunScores:
    """Return the scores of a run's chosen checkpoint from what it says of both splits."""

    def of_cases(found: Mapping[str, np.ndarray]) -> np.ndarray:
        return np.stack(list(found.values()), axis=1)

    return RunScores(
        rank=rank,
        structures=list(data.class_names[1:]),
        cases=list(test.clean),
        test_SC2B=of_cases(test.clean),
        apparent_SC4=counts_above(of_cases(test.perturbed), BINS // 2),
        validation_S2B={
            "clean": of_cases(validation.clean).sum(axis=1),
            "perturbed": of_cases(validation.perturbed).sum(axis=1),
        },
        loss_threshold=loss_threshold,
    )


def within_memory(
    score: Callable[[int], Found], device: Device, batch_size: int = BATCH_SIZE
) -> Found:
    """Call a function of the batch size, which is halved until a batch fits into memory.

    The batch size changes nothing but speed.

    Raises:
        InputError: a single slice does not fit.
    """
    while True:
        try:
            return score(batch_size)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            said = describe(error, batch_size, device)
        if batch_size == 1:
            raise InputError(f"{said}; lower runs_per_gpu or use a GPU with more memory.")
        batch_size //= 2
        log.warning("%s; going on with %d", said, batch_size)
        release(device)


def count_slices(network: Network, slices: Slices, device: str, batch_size: int) -> torch.Tensor:
    """Return tp, fp, fn, tn of each slice and class, (N, C, 4) integers on the CPU."""
    return torch.cat(
        [
            count_pixels(predict(logits_NCHW), labels_NHW).cpu()
            for _, logits_NCHW, labels_NHW in _predictions(network, slices, device, batch_size)
        ]
    )


def scan_slices(
    network: Network, slices: Slices, error: LabelFile, device: str, batch_size: int
) -> Scan:
    """Count the pixels of each slice, and gather the scores of each case.

    Args:
        network: on the device, or predictions of these slices.
        slices: with reference labels.
        error: says how the wrong labels are drawn: as the first draw of the run's own.
        device: "cpu" or "cuda".
        batch_size: slices at a time.
    """
    data, rows = slices.dataset, slices.rows
    shape = (len(data.class_names) - 1, 2, BINS)
    clean = {case: np.zeros(shape, np.int64) for case in data.case[rows]}
    perturbed = {case: np.zeros(shape, np.int64) for case in clean}
    drawer = Drawer(data, CalibratedError.of(error))
    parts, masks = [], []
    for start, logits_NCHW, labels_NHW in _predictions(network, slices, device, batch_size):
        predicted_NCHW = predict(logits_NCHW)
        parts.append(count_pixels(predicted_NCHW, labels_NHW).cpu())
        masks.append(predicted_NCHW.cpu().numpy())
        batch = rows[start : start + len(labels_NHW)]
        wrong_NHW = labels_NHW.cpu().numpy().astype(np.uint8)
        known_N = drawer.knows(batch)
        wrong_NHW[known_N] = drawer.labels(batch[known_N], 0, wrong_NHW[known_N])
        against = (
            (clean, labels_NHW, np.ones(len(batch), bool)),
            (perturbed, torch.from_numpy(wrong_NHW).to(device), known_N),
        )
        cases = data.case[batch]
        for place, index in enumerate(range(1, len(data.class_names))):
            scores_NHW = log_odds(logits_NCHW, index)
            for case in dict.fromkeys(cases):
                for found, truth_NHW, counted_N in against:
                    here = torch.from_numpy(counted_N & (cases == case)).to(device)
                    binned_2B = bin_log_odds(scores_NHW[here], truth_NHW[here] == index)
                    found[case][place] += binned_2B
    return Scan(torch.cat(parts), np.concatenate(masks), clean, perturbed)


@torch.no_grad()
def _predictions(
    network: Network, slices: Slices, device: str, batch_size: int
) -> Iterator[tuple[int, torch.Tensor, torch.Tensor]]:
    """Yield the place of each batch's first slice, its logits and its labels, on the device."""
    start = 0
    for batch in batches_in_order(slices, batch_size):
        images_NKHW, labels_NHW = as_inputs(batch, device)
        if isinstance(network, Predictions):
            rows = slices.rows[start : start + len(labels_NHW)]
            # Of logarithms of probabilities the softmax is these probabilities.
            logits_NCHW = torch.from_numpy(network.read(rows)).to(device).log()
        else:
            logits_NCHW = network(images_NKHW)
        yield start, logits_NCHW, labels_NHW
        start += len(labels_NHW)


def bin_log_odds(log_odds: torch.Tensor, positive: torch.Tensor) -> np.ndarray:
    """Count pixels in the bins of a ScoreHistogram.

    Args:
        log_odds: any shape, any real or infinite numbers, on any device. NaN counts as the lowest
            score, since such a pixel is not predicted.
        positive: bool, of that shape and device, where the structure truly is.

    Returns:
        int64 (2, B). The counts of two sets of pixels add up.
    """
    limit = torch.finfo(torch.float32).max
    log_odds = log_odds.float().nan_to_num(-limit, limit, -limit)
    share = log_odds / (SCALE + log_odds.abs())
    # The upper edge belongs to the bin: log-odds of 0 are not above the decision.
    bins = ((share + 1) / 2 * BINS).ceil().long().clamp(1, BINS) - 1
    counts = torch.bincount((bins + BINS * positive).flatten(), minlength=2 * BINS)
    return counts.view(2, BINS).cpu().numpy()


def tabulate(counted_NC4: torch.Tensor, data: Dataset, rows: Iterable[int]) -> Rows:
    """Return counts as a table with one row per slice and structure."""
    return [
        {
            "case": data.case[row],
            "slice": int(data.slice[row]),
            "class_index": index,
            "structure": data.class_names[index],
            **dict(zip(COUNTS, counted_C4[index].tolist(), strict=True)),
        }
        for row, counted_C4 in zip(rows, counted_NC4, strict=True)
        for index in range(1, len(data.class_names))
    ]
