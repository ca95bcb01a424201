"""The paper's Table 1 and the slopes beside ours, as Markdown and LaTeX."""

import numpy as np
import pandas as pd

from labelnoise.report import style
from labelnoise.report.paper import TABLE_1
from labelnoise.report.table_layout import (
    Block,
    interval,
    latex,
    markdown,
    mean_interval,
    mean_sd,
    number,
    repeats,
    row_blocks,
    split,
)

SOURCE = (
    "The paper (Heller et al. 2018, arXiv 1806.04618, Table 1) gives means on liver CT, without "
    "spread or number of runs; its numbers stand here beside every dataset "
    "and recipe. A dash: there is no such number."
)
NO_SLOPES = "No label error has a control of the same repeat, so there are no slopes."


def table1_to_markdown(comparison):
    """What `paper.compare_with_paper` returns: Table 1 as the paper sets it, then every cell."""
    wide = markdown(_wide_blocks(comparison), _wide_caption(comparison))
    return f"{wide}\n{markdown(row_blocks(comparison, _long_row), _long_caption(comparison))}"


def table1_to_latex(comparison):
    """The same as LaTeX tables `tab:table1` and `tab:table1-long`; see `table_layout.latex`."""
    wide = latex(_wide_blocks(comparison), _wide_caption(comparison), "tab:table1")
    long = latex(row_blocks(comparison, _long_row), _long_caption(comparison), "tab:table1-long")
    return f"{wide}\n{long}"


def slopes_to_markdown(table):
    """What `paper.slopes` returns, as Markdown."""
    if table.empty:
        return f"{NO_SLOPES}\n"
    return markdown(row_blocks(table, _slope_row), _slope_caption(table))


def slopes_to_latex(table, label="tab:slopes"):
    """The same as one LaTeX table; see `table_layout.latex`."""
    if table.empty:
        return f"% {NO_SLOPES}\n"
    return latex(row_blocks(table, _slope_row), _slope_caption(table), label)


def _wide_blocks(comparison):
    networks = style.networks(comparison["model"])
    return [Block(title, _wide_cells(rows, networks)) for title, rows in split(comparison)]


def _wide_cells(rows, networks):
    """A row a perturbation; a column for each network, and one for the paper's if it has it."""
    lines = []
    for name, cells in rows.groupby("perturbation", sort=False):
        line = {"perturbation": style.display_perturbation(name)}
        line["label Dice"] = number(cells["label_dice_mean"].mean())
        for network in networks:
            found = cells[cells["model"] == network].to_dict("records")
            title = style.display(network)
            line[title] = mean_sd(found[0], "dice") if found else "–"
            if network in TABLE_1:
                line[f"{title}, paper"] = _paper(found[0]) if found else "–"
        lines.append(line)
    return pd.DataFrame(lines)


def _paper(row):
    """The paper's number, and ours less the paper's in brackets."""
    if np.isnan(row["paper_liver_dice"]):
        return "–"
    return f"{number(row['paper_liver_dice'], 4)} ({signed(row['difference'])})"


def _long_row(row):
    control = row["kind"] == "control"
    return {
        "network": style.display(row["model"]),
        "perturbation": style.display_perturbation(row["perturbation"]),
        "n": str(row["n"]),
        "label Dice": number(row["label_dice_mean"]),
        "test Dice": mean_interval(row, "dice"),
        "paper": number(row["paper_liver_dice"], 4),
        "difference": signed(row["difference"]),
        "drop": "–" if control else number(row["drop_mean"]),
        "paper's drop": "–" if control else number(row["paper_liver_drop"]),
        "difference of drops": "–" if control else signed(row["drop_difference"]),
        "precision": number(row["precision_mean"]),
        "recall": number(row["recall_mean"]),
        "volume ratio": number(row["volume_ratio_mean"]),
        "AUC": number(row["auc_mean"], 4),
    }


def _slope_row(row):
    return {
        "network": style.display(row["model"]),
        "kind": style.display(row["kind"]),
        "n": str(row["n"]),
        "runs": str(row["runs"]),
        "slope": interval(row["slope"], row["slope_low"], row["slope_high"]),
        "paper's slope": number(row["paper_liver_slope"]),
        "difference": signed(row["difference"], 3),
    }


def signed(value, digits=4):
    """A difference with its sign."""
    return f"+{number(value, digits)}" if value >= 0 else number(value, digits)


def _wide_caption(comparison):
    return (
        f"Mean test Dice ± standard deviation over {repeats(comparison)}, pooled over all test "
        "pixels, beside the paper's number and, in brackets, ours minus the paper's. Label Dice: "
        f"measured on the training labels. {SOURCE}"
    )


def _long_caption(comparison):
    return (
        f"Mean test Dice [95 % t-interval over {repeats(comparison)}] beside the paper's number. "
        "Differences: ours minus the paper's. Drop: Dice of the control minus Dice, ours in pairs "
        "of equal repeat. Precision, recall, volume ratio (predicted over reference volume) and "
        f"AUC (area under the ROC curve of all test pixels) are means over repeats. {SOURCE}"
    )


def _slope_caption(table):
    return (
        "Test Dice lost for each label Dice lost: slope of the least-squares line through the "
        "origin of control Dice minus Dice on 1 − label Dice, over all runs, in pairs of equal "
        f"repeat [95 % t-interval over {repeats(table)}, which are independent of each other while "
        "the runs of one repeat share their control]. A slope of 1: the network loses as much Dice "
        f"as its labels. The paper's slope is that of its means at nominal label Dice. {SOURCE}"
    )
