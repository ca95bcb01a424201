"""The degradation table as Markdown and LaTeX, in blocks of a dataset, structure and recipe."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from labelnoise import style
from labelnoise.files import whole_file

# Characters that LaTeX reads as commands, and those that it sets better by a command.
LATEX = {
    **{character: f"\\{character}" for character in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "−": "$-$",
    "–": "--",
}


@dataclass
class Block:
    """Part of a table: the cells of one dataset, structure and recipe, as text."""

    title: str
    cells: pd.DataFrame


def to_markdown(table):
    """Every cell with intervals, paired drop, precision, recall and volume ratio, as Markdown."""
    return _markdown(_long_blocks(table), _long_caption(table))


def to_latex(table, label="tab:degradation"):
    """The same as LaTeX, a table (package booktabs) for each block, labelled `label`-1, -2 ..."""
    blocks, caption = _long_blocks(table), _long_caption(table)
    return "\n".join(
        _latex([Block("", block.cells)], f"{block.title}. {caption}", f"{label}-{number}")
        for number, block in enumerate(blocks, start=1)
    )


def wide_to_markdown(table):
    """Mean test Dice, a row a perturbation and a column a network (paper, Table 1), as Markdown."""
    return _markdown(_wide_blocks(table), _wide_caption(table))


def wide_to_latex(table, label="tab:dice"):
    """The same as one LaTeX table; it needs the package booktabs."""
    return _latex(_wide_blocks(table), _wide_caption(table), label)


def write_text(text, path):
    """Write text as a whole file."""
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def escape(text):
    """Text as LaTeX sets it literally."""
    return "".join(LATEX.get(character, character) for character in text)


def _long_blocks(table):
    return [
        Block(title, pd.DataFrame(map(_long_row, rows.to_dict("records"))))
        for title, rows in _split(table)
    ]


def _long_row(row):
    control = row["kind"] == "control"
    return {
        "network": style.display(row["model"]),
        "perturbation": style.display_perturbation(row["perturbation"]),
        "n": str(row["n"]),
        "label Dice": _number(row["label_dice_mean"]),
        "test Dice": _mean_interval(row, "dice"),
        "Dice by case": _number(row["dice_case_mean"]),
        "drop": "–" if control else _mean_interval(row, "drop"),
        "precision": _number(row["precision_mean"]),
        "recall": _number(row["recall_mean"]),
        "volume ratio": _number(row["volume_ratio_mean"]),
    }


def _wide_blocks(table):
    networks = style.networks(table["model"])
    return [Block(title, _wide_cells(rows, networks)) for title, rows in _split(table)]


def _wide_cells(rows, networks):
    """A row a perturbation, a column a network; a dash where the study has no such runs."""
    lines = []
    for name, cells in rows.groupby("perturbation", sort=False):
        line = {"perturbation": style.display_perturbation(name)}
        line["label Dice"] = _number(cells["label_dice_mean"].mean())
        for network in networks:
            found = cells[cells["model"] == network].to_dict("records")
            line[style.display(network)] = _mean_sd(found[0], "dice") if found else "–"
        lines.append(line)
    return pd.DataFrame(lines)


def _split(table):
    """Title and rows of each block, in the order to show them."""
    for dataset, structure in style.panels(table):
        here = table[(table["dataset"] == dataset) & (table["structure"] == structure)]
        for recipe in style.recipes(here["recipe"]):
            panel = style.display_panel(dataset, structure)
            yield f"{panel}; recipe {style.display(recipe)}", here[here["recipe"] == recipe]


def _wide_caption(table):
    return (
        f"Mean test Dice ± standard deviation over {_repeats(table)}, pooled over all test pixels. "
        "Label Dice: measured on the training labels."
    )


def _long_caption(table):
    return (
        "Test Dice, pooled over all test pixels, and its drop against the control in pairs of "
        f"equal repeat: mean [95 % t-interval over {_repeats(table)}, not corrected for the number "
        "of comparisons]. The interval covers label draw and initial weights, not the choice of "
        "test cases. Other columns are means over repeats. Dice by case: mean over test cases. "
        "Label Dice: measured on the training labels. Volume ratio: predicted over reference "
        "volume."
    )


def _repeats(table):
    low, high = table["n"].min(), table["n"].max()
    if low == high:
        return f"n = {low} repeats" if low > 1 else "repeats, none for n = 1 repeat"
    return f"n = {low} to {high} repeats"


def _mean_sd(row, name):
    mean, sd = row[f"{name}_mean"], row[f"{name}_sd"]
    return _number(mean, 4) + ("" if np.isnan(sd) else f" ± {_number(sd, 4)}")


def _mean_interval(row, name):
    mean, low, high = (row[f"{name}_{statistic}"] for statistic in ["mean", "low", "high"])
    interval = "" if np.isnan(low) else f" [{_number(low)}, {_number(high)}]"
    return _number(mean) + interval


def _number(value, digits=3):
    return "–" if np.isnan(value) else f"{value:.{digits}f}".replace("-", "−")


def _markdown(blocks, caption):
    parts = [f"**{block.title}**\n\n{block.cells.to_markdown(**_AS_TEXT)}\n" for block in blocks]
    return "\n".join([*parts, f"{caption}\n"])


# Cells are text already: tabulate must not read them as numbers and drop their zeros.
_AS_TEXT = {"index": False, "disable_numparse": True}


def _latex(blocks, caption, label):
    columns = list(blocks[0].cells)
    lines = [r"\begin{table}", r"\centering", r"\footnotesize", r"\setlength{\tabcolsep}{4pt}"]
    lines += [rf"\caption{{{escape(caption)}}}", rf"\label{{{label}}}"]
    lines += [rf"\begin{{tabular}}{{{'l' * len(columns)}}}", r"\toprule", _latex_row(columns)]
    for block in blocks:
        lines.append(r"\midrule")
        if block.title:
            lines += [
                rf"\multicolumn{{{len(columns)}}}{{l}}{{\textit{{{escape(block.title)}}}}} \\"
            ]
        lines += [_latex_row(row) for row in block.cells.to_numpy()]
    lines += [r"\bottomrule", r"\end{tabular}", r"\end{table}", ""]
    return "\n".join(lines)


def _latex_row(cells):
    return " & ".join(map(escape, cells)) + r" \\"
