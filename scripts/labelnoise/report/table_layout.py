"""Tables as text: blocks of a dataset, structure and recipe, set as Markdown or LaTeX."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from labelnoise.report import style

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


def split(table):
    """Title and rows of each block, in the order to show them."""
    for dataset, structure in style.panels(table):
        here = table[(table["dataset"] == dataset) & (table["structure"] == structure)]
        for recipe in style.recipes(here["recipe"]):
            panel = style.display_panel(dataset, structure)
            yield f"{panel}; recipe {style.display(recipe)}", here[here["recipe"] == recipe]


def row_blocks(table, show):
    """Blocks with a line for each row of the table, as `show` gives it: {column: text}."""
    return [
        Block(title, pd.DataFrame(map(show, rows.to_dict("records"))))
        for title, rows in split(table)
    ]


def repeats(table):
    """Say over how many repeats the cells of a table are."""
    low, high = table["n"].min(), table["n"].max()
    if low == high:
        return f"n = {low} repeats" if low > 1 else "repeats, none for n = 1 repeat"
    return f"n = {low} to {high} repeats"


def mean_sd(row, name):
    """Mean ± standard deviation of a row's column `name`, four digits."""
    mean, sd = row[f"{name}_mean"], row[f"{name}_sd"]
    return number(mean, 4) + ("" if np.isnan(sd) else f" ± {number(sd, 4)}")


def mean_interval(row, name):
    """Mean [low, high] of a row's column `name`."""
    return interval(*(row[f"{name}_{statistic}"] for statistic in ["mean", "low", "high"]))


def interval(value, low, high):
    """A value [low, high], three digits; without the bounds where they are NaN."""
    return number(value) + ("" if np.isnan(low) else f" [{number(low)}, {number(high)}]")


def number(value, digits=3):
    """A number as text, a dash for NaN."""
    return "–" if np.isnan(value) else f"{value:.{digits}f}".replace("-", "−")


def markdown(blocks, caption):
    """Blocks as Markdown tables, with the caption below."""
    parts = [f"**{block.title}**\n\n{block.cells.to_markdown(**_AS_TEXT)}\n" for block in blocks]
    return "\n".join([*parts, f"{caption}\n"])


# Cells are text already: tabulate must not read them as numbers and drop their zeros.
_AS_TEXT = {"index": False, "disable_numparse": True}


def latex(blocks, caption, label):
    """Blocks as one LaTeX table, narrowed to the page; packages booktabs and adjustbox."""
    columns = list(blocks[0].cells)
    lines = [r"\begin{table}", r"\centering", r"\footnotesize", r"\setlength{\tabcolsep}{4pt}"]
    lines += [rf"\caption{{{escape(caption)}}}", rf"\label{{{label}}}"]
    lines += [r"\begin{adjustbox}{max width=\textwidth}"]
    lines += [rf"\begin{{tabular}}{{{'l' * len(columns)}}}", r"\toprule", _latex_row(columns)]
    for block in blocks:
        lines.append(r"\midrule")
        if block.title:
            lines += [
                rf"\multicolumn{{{len(columns)}}}{{l}}{{\textit{{{escape(block.title)}}}}} \\"
            ]
        lines += [_latex_row(row) for row in block.cells.to_numpy()]
    lines += [r"\bottomrule", r"\end{tabular}", r"\end{adjustbox}", r"\end{table}", ""]
    return "\n".join(lines)


def _latex_row(cells):
    return " & ".join(map(escape, cells)) + r" \\"


def escape(text):
    """Text as LaTeX sets it literally."""
    return "".join(LATEX.get(character, character) for character in text)
