"""Counts of right and wrong pixels on clean test labels, and histograms of the scores.

Shape legend: N slices, C classes, H height, W width, B bins; an axis of 2 is negative, positive.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from labelnoise.counts import COUNTS, dice
from labelnoise.data.storage import Dataset
from labelnoise.errors import InputError
from labelnoise.evaluation.histograms import BINS, SCALE, ScoreHistogram, write_scores
from labelnoise.files import read_json, write_csv
from labelnoise.jobs.devices import Device
from labelnoise.networks.output import count_pixels, log_odds, predict
from labelnoise.study import Run, RunFolder
from labelnoise.training.batches import Slices, batches_in_order
from labelnoise.training.checkpoints import load
from labelnoise.training.memory import describe, is_out_of_memory, release

log = logging.getLogger(__name__)


def score_run(
    dataset: Path, folder: RunFolder, device: Device, batch_size: int = 16
) -> pd.DataFrame:
    """Write the counts and scores of every kept checkpoint of a run.

    Args:
        dataset: the dataset file; its test split is used, with reference labels.
        folder: the run's folder.
        device: where to compute.
        batch_size: slices at a time; it changes nothing but speed.

    Returns:
        The counts, one row per checkpoint, slice and structure: rank, epoch, case, slice,
        class_index, structure, tp, fp, fn, tn. A pixel is predicted to be of a class where its
        probability is over 0.5.

    Raises:
        InputError: a checkpoint or the dataset cannot be read, or there is no checkpoint.
    """
    device.limit_memory()
    data = Dataset(dataset)
    rows = data.rows("test")
    slices = Slices(data, rows)
    kept = folder.kept_checkpoints()
    if not kept:
        raise InputError(
            f"{folder.checkpoints} holds no checkpoint; delete it and run snakemake again."
        )
    tables, histograms = [], {}
    for rank, checkpoint in kept.items():
        trained = load(checkpoint)
        network = trained.network.to(device.kind)
        counted_NC4, ranked = score_within_memory(network, slices, device, batch_size)
        histograms[rank] = dict(zip(data.class_names[1:], ranked, strict=True))
        table = tabulate(counted_NC4, data, rows)
        table.insert(0, "rank", rank)
        table.insert(1, "epoch", trained.description["epoch"])
        tables.append(table)
        log.info("tested %s on %d slices", checkpoint, len(slices))
    counted = pd.concat(tables)
    write_csv(folder.counts, counted)
    write_scores(folder.scores, histograms)
    return counted


def describe_score(counted: pd.DataFrame, folder: RunFolder) -> str:
    """Return the test Dice of a run's chosen checkpoint, as one line for the terminal.

    Args:
        counted: what `score_run` returns.
        folder: the run's folder, whose record says which checkpoint was chosen.
    """
    record = read_json(folder.record)
    chosen = counted[counted["rank"] == record["chosen_rank"]]
    pooled = chosen.groupby("structure", sort=False)[list(COUNTS)].sum()
    scores = (f"{name} {dice(row):.4f}" for name, row in pooled.iterrows())
    return f"tested {Run.of(record).name}: test Dice {', '.join(scores)}"


def score_within_memory(
    network: torch.nn.Module, slices: Slices, device: Device, batch_size: int
) -> tuple[torch.Tensor, list[ScoreHistogram]]:
    """Return what `score_slices` does, halving the batches until they fit into memory.

    Raises:
        InputError: a single slice does not fit.
    """
    while True:
        try:
            return score_slices(network, slices, device.kind, batch_size)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            said = describe(error, batch_size, device)
        if batch_size == 1:
            raise InputError(f"{said}; lower runs_per_gpu or use a GPU with more memory.")
        batch_size //= 2
        log.warning("%s; going on with %d", said, batch_size)
        release(device)


@torch.no_grad()
def score_slices(
    network: torch.nn.Module, slices: Slices, device: str, batch_size: int
) -> tuple[torch.Tensor, list[ScoreHistogram]]:
    """Count the pixels of each slice, and gather the scores of all.

    Returns:
        tp, fp, fn, tn of each slice and class, (N, C, 4) integers on the CPU; and a ScoreHistogram
        for each class but the background.
    """
    parts, binned_2B = [], {}
    for images_N1HW, labels_NHW in batches_in_order(slices, batch_size):
        logits_NCHW, labels_NHW = network(images_N1HW.to(device)), labels_NHW.to(device)
        classes = logits_NCHW.shape[1]
        parts.append(count_pixels(predict(logits_NCHW), labels_NHW).cpu())
        for index in range(1, classes):
            found_2B = bin_log_odds(log_odds(logits_NCHW, index), labels_NHW == index)
            binned_2B[index] = binned_2B.get(index, 0) + found_2B
    return torch.cat(parts), [ScoreHistogram(counts_2B) for counts_2B in binned_2B.values()]


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


def tabulate(counted_NC4: torch.Tensor, data: Dataset, rows: Iterable[int]) -> pd.DataFrame:
    """Return counts as a table with one row per slice and structure."""
    return pd.DataFrame(
        {
            "case": data.case[row],
            "slice": int(data.slice[row]),
            "class_index": index,
            "structure": data.class_names[index],
            **dict(zip(COUNTS, counted_C4[index].tolist(), strict=True)),
        }
        for row, counted_C4 in zip(rows, counted_NC4, strict=True)
        for index in range(1, len(data.class_names))
    )
