"""Counts of right and wrong pixels on clean test labels, and histograms of the scores.

Shape legend: N slices, C classes, H height, W width.
"""

import logging
from pathlib import Path

import pandas as pd
import torch

from labelnoise.data.storage import Dataset
from labelnoise.errors import InputError
from labelnoise.evaluation.counts import COUNTS, counts, dice, predict
from labelnoise.evaluation.histograms import ScoreHistogram, log_odds, write_scores
from labelnoise.files import read_json, write_csv
from labelnoise.jobs.devices import Device
from labelnoise.study import Run, RunFolder
from labelnoise.training.batches import Slices, batches_in_order
from labelnoise.training.checkpoints import load
from labelnoise.training.memory import describe, is_out_of_memory, release

log = logging.getLogger(__name__)


def test_run(dataset: Path, folder: RunFolder, device: Device, batch_size: int = 16) -> None:
    """Write the counts and the scores of every kept checkpoint of a run.

    The counts have one row a slice and structure. Columns: rank, epoch, case, slice, class_index,
    structure, tp, fp, fn, tn. A pixel is predicted to be of a class where its probability is over
    0.5.

    Args:
        dataset: the dataset file; its test split is used, with reference labels.
        folder: the run's folder.
        device: where to compute.
        batch_size: slices at a time; it changes nothing but speed.

    Raises:
        InputError: a checkpoint or the dataset cannot be read, or there is no checkpoint.
    """
    device.limit_memory()
    data = Dataset(dataset)
    rows = data.rows("test")
    slices = Slices(data, rows)
    found = sorted(folder.checkpoints.glob("top*.pt"), key=lambda path: int(path.stem[3:]))
    if not found:
        raise InputError(
            f"{folder.checkpoints} holds no checkpoint; delete it and run snakemake again."
        )
    tables, histograms = [], {}
    for checkpoint in found:
        trained, rank = load(checkpoint), int(checkpoint.stem[3:])
        network = trained.network.to(device.kind)
        counted_NC4, ranked = score_within_memory(network, slices, device, batch_size)
        histograms[rank] = dict(zip(data.class_names[1:], ranked, strict=True))
        table = tabulate(counted_NC4, data, rows)
        table.insert(0, "rank", rank)
        table.insert(1, "epoch", trained.description["epoch"])
        tables.append(table)
        log.info("tested %s on %d slices", checkpoint, len(slices))
    write_csv(folder.counts, pd.concat(tables))
    write_scores(folder.scores, histograms)


def describe_test(folder: RunFolder) -> str:
    """Return one line for the terminal: the Dice of a tested run's chosen checkpoint."""
    record = read_json(folder.record)
    table = pd.read_csv(folder.counts, dtype={"structure": str}, keep_default_na=False)
    chosen = table[table["rank"] == record["chosen_rank"]]
    pooled = chosen.groupby("structure", sort=False)[list(COUNTS)].sum()
    scores = (f"{name} {dice(row.to_numpy()):.4f}" for name, row in pooled.iterrows())
    return f"tested {Run.of(record).name}: test Dice {', '.join(scores)}"


def score_within_memory(network, slices, device, batch_size):
    """As `score_slices`, with half as many slices at a time while memory does not suffice.

    Raises:
        InputError: it does not suffice for one slice.
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
def score_slices(network, slices, device, batch_size):
    """Count the pixels of each slice, and gather the scores of all.

    Returns:
        tp, fp, fn, tn of each slice and class, (N, C, 4) integers on the CPU; and a list of a
        ScoreHistogram for each class but the background.
    """
    parts, histograms = [], {}
    for images_N1HW, labels_NHW in batches_in_order(slices, batch_size):
        logits_NCHW, labels_NHW = network(images_N1HW.to(device)), labels_NHW.to(device)
        classes = logits_NCHW.shape[1]
        parts.append(counts(predict(logits_NCHW), labels_NHW, classes).cpu())
        for index in range(1, classes):
            histogram = histograms.setdefault(index, ScoreHistogram())
            histogram.update(log_odds(logits_NCHW, index), labels_NHW == index)
    return torch.cat(parts), list(histograms.values())


def tabulate(counted_NC4, data, rows):
    """Lay counts out as a table with a row a slice and structure."""
    return pd.DataFrame(
        {
            "case": data.case[row],
            "slice": int(data.slice[row]),
            "class_index": index,
            "structure": data.class_names[index],
            **dict(zip(("tp", "fp", "fn", "tn"), counted_C4[index].tolist(), strict=True)),
        }
        for row, counted_C4 in zip(rows, counted_NC4, strict=True)
        for index in range(1, len(data.class_names))
    )
