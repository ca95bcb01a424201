"""Tables that say how well detectors find wrong labels."""

import pandas as pd

from labelnoise.evaluation.mended import UNMENDED
from labelnoise.evaluation.review import CHANGED, IDEAL, RANDOM, WORST
from labelnoise.report import style
from labelnoise.report.render import Table, mean_sd, repeats

# Measure, unit, and what the table is of.
TABLES = [
    ("auroc", "slice", "How well detectors tell wrong slices from right ones: AUROC."),
    ("auroc", "case", "How well detectors tell wrong cases from right ones: AUROC."),
    ("precision", "slice", "Share of wrong slices among the tenth that is most suspicious."),
    ("precision", "case", "Share of wrong cases among the tenth that is most suspicious."),
    (
        "regained",
        "slice",
        "Share of the lost label Dice that comes back when the tenth of the slices that is most "
        "suspicious is mended. Ideal: the slices with the most wrong pixels; random: any.",
    ),
]
NOTE = (
    "Mean ± standard deviation over repeats. Wrong: the share that is changed in any pixel, or, "
    "where more than half are, the tenth of the lowest label Dice. Entropy sees no label, area no "
    "network."
)
SPLITS = {"train": "labels it was trained on", "test": "labels it has never seen"}
HEADS = {UNMENDED: "as they are"}


def review_tables(table: pd.DataFrame) -> list[Table]:
    """Return the first table of `review.grade_detectors`, set for printing.

    For each measure rows are label errors, columns detectors, and blocks those of a dataset,
    network, recipe and split.
    """
    return [
        Table(_blocks(table, measure, unit), f"{said} {NOTE}", f"tab:{measure}-{unit}s")
        for measure, unit, said in TABLES
    ]


def _blocks(table, measure, unit):
    names, orders = style.perturbations_of(table), [IDEAL, RANDOM]
    shown = [name for name in dict.fromkeys(table["detector"]) if name not in orders]
    shown += orders if measure == "regained" else []
    table, blocks = table[table["unit"] == unit], []
    for key, cells in table.groupby(["dataset", "model", "recipe", "split"], sort=False):
        rows = []
        for name, cell in cells.groupby("perturbation", sort=False):
            found = {row["detector"]: row for row in cell.to_dict("records")}
            columns = {each.replace("_", " "): mean_sd(found[each], measure, 2) for each in shown}
            rows.append({"perturbation": names[name], "wrong": _wrong(found[IDEAL]), **columns})
        *parts, split = key
        title = "; ".join([*map(style.display, parts), SPLITS[split]])
        blocks.append((title, pd.DataFrame(rows)))
    return blocks


def _wrong(row):
    """Return how many units are wrong, or which are."""
    return f"{100 * row['wrong']:.0f} %" if row["truth"] == CHANGED else WORST


def mended_tables(table: pd.DataFrame, share: float) -> list[Table]:
    """Return what `mended.mended_table` returns, set for printing.

    Args:
        table: the table.
        share: of the training slices that were mended.
    """
    names = style.perturbations_of(table)
    orders = list(dict.fromkeys(table["order"]))
    blocks = []
    for key, cells in table.groupby(["dataset", "structure", "model", "recipe"], sort=False):
        rows = []
        for name, cell in cells.groupby("perturbation", sort=False):
            found = {row["order"]: mean_sd(row, "dice") for row in cell.to_dict("records")}
            columns = {HEADS.get(order, order): found.get(order, "–") for order in orders}
            rows.append({"perturbation": names[name], **columns})
        dataset, structure, *parts = key
        title = "; ".join([style.display_panel(dataset, structure), *map(style.display, parts)])
        blocks.append((title, pd.DataFrame(rows)))
    caption = (
        f"Test Dice, mean ± standard deviation over {repeats(table)}, of networks trained on the "
        f"labels as they are, and again, from the same weights and in the same order, after "
        f"{100 * share:.3g} % of the training slices got the reference's: the most suspicious by a "
        "detector, those with the most wrong pixels (ideal), or any (random)."
    )
    return [Table(blocks, caption, "tab:mended")]
