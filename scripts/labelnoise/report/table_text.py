"""The degradation table as Markdown and LaTeX, in blocks of a dataset, structure and recipe."""

import pandas as pd

from labelnoise.report import style
from labelnoise.report.table_layout import (
    Block,
    latex,
    markdown,
    mean_interval,
    mean_sd,
    number,
    repeats,
    row_blocks,
    split,
)


def to_markdown(table):
    """Every cell with intervals, paired drop, precision, recall and volume ratio, as Markdown."""
    return markdown(row_blocks(table, _long_row), _long_caption(table))


def to_latex(table, label="tab:degradation"):
    """The same as LaTeX, a table for each block, labelled `label`-1, -2 ..."""
    blocks, caption = row_blocks(table, _long_row), _long_caption(table)
    return "\n".join(
        latex([Block("", block.cells)], f"{block.title}. {caption}", f"{label}-{place}")
        for place, block in enumerate(blocks, start=1)
    )


def wide_to_markdown(table):
    """Mean test Dice, a row a perturbation and a column a network (paper, Table 1), as Markdown."""
    return markdown(_wide_blocks(table), _wide_caption(table))


def wide_to_latex(table, label="tab:dice"):
    """The same as one LaTeX table; see `table_layout.latex`."""
    return latex(_wide_blocks(table), _wide_caption(table), label)


def _long_row(row):
    control = row["kind"] == "control"
    return {
        "network": style.display(row["model"]),
        "perturbation": style.display_perturbation(row["perturbation"]),
        "n": str(row["n"]),
        "label Dice": number(row["label_dice_mean"]),
        "test Dice": mean_interval(row, "dice"),
        "Dice by case": number(row["dice_case_mean"]),
        "drop": "–" if control else mean_interval(row, "drop"),
        "precision": number(row["precision_mean"]),
        "recall": number(row["recall_mean"]),
        "volume ratio": number(row["volume_ratio_mean"]),
    }


def _wide_blocks(table):
    networks = style.networks(table["model"])
    return [Block(title, _wide_cells(rows, networks)) for title, rows in split(table)]


def _wide_cells(rows, networks):
    """A row a perturbation, a column a network; a dash where the study has no such runs."""
    lines = []
    for name, cells in rows.groupby("perturbation", sort=False):
        line = {"perturbation": style.display_perturbation(name)}
        line["label Dice"] = number(cells["label_dice_mean"].mean())
        for network in networks:
            found = cells[cells["model"] == network].to_dict("records")
            line[style.display(network)] = mean_sd(found[0], "dice") if found else "–"
        lines.append(line)
    return pd.DataFrame(lines)


def _wide_caption(table):
    return (
        f"Mean test Dice ± standard deviation over {repeats(table)}, pooled over all test pixels. "
        "Label Dice: measured on the training labels."
    )


def _long_caption(table):
    return (
        "Test Dice, pooled over all test pixels, and its drop against the control in pairs of "
        f"equal repeat: mean [95 % t-interval over {repeats(table)}, not corrected for the number "
        "of comparisons]. The interval covers label draw and initial weights, not the choice of "
        "test cases. Other columns are means over repeats. Dice by case: mean over test cases. "
        "Label Dice: measured on the training labels. Volume ratio: predicted over reference "
        "volume."
    )
