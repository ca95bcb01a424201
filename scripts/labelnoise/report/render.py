"""The study's tables as Markdown and LaTeX, in blocks of a dataset, structure and recipe."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from labelnoise.evaluation.contrasts import CELL, FALLING
from labelnoise.evaluation.tables import has_folds
from labelnoise.files import write_text
from labelnoise.report import style
from labelnoise.report.paper import DATASET, TABLE_1

# Characters that LaTeX reads as commands, and those that it typesets better by a command.
LATEX = {
    **{character: f"\\{character}" for character in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "−": "$-$",
    # LaTeX's old fonts have other characters in these places.
    "<": "$<$",
    ">": "$>$",
    "|": "$|$",
    "–": "--",
}
# Cells are text already: tabulate must not read them as numbers and drop their zeros.
AS_TEXT = {"index": False, "disable_numparse": True}
# The first line of every file of LaTeX.
PACKAGES = r"% Needs \usepackage{array}, \usepackage{booktabs} and \usepackage{graphicx}."
# A column with cells of more characters is broken into lines of this share of the page's width,
# unless one of its words has more characters than surely fit there.
LONGEST_LINE = 40
LINE_WIDTH = 0.36
LONGEST_WORD = 20
LABEL_DICE = "Label Dice: measured on the training labels."
# Other scores than Dice, by their columns.
SCORES = {
    "precision": "precision",
    "recall": "recall",
    "volume_ratio": "volume ratio",
    "auc": "AUC",
    "average_precision": "average precision",
    "surface_dice": "surface Dice",
    "hd95": "HD95",
}
# What claims may be about.
MEASURES = {"dice": "Dice", "surface_dice": "surface Dice", "hd95": "HD95"}
# Thresholds of claims.
AT = {
    "loss": "its loss implies",
    "clean": "is best on clean validation labels",
    "perturbed": "is best on perturbed validation labels",
}
# Thresholds, see `thresholds.thresholds_table`.
DECISIONS = {
    "half": "Dice at 0.5",
    "loss": "at the loss's",
    "clean": "clean",
    "perturbed": "perturbed",
    "best": "best on test",
}
# What intervals over the cases of several folds leave out.
FOLDS = (
    "Of datasets with folds each case is tested once, by the network of its fold, and scores are "
    "over the cases of all folds. The intervals take cases as independent: they cover neither what "
    "cases of one fold have in common, nor that networks of different folds share training cases, "
    "for which folds have no unbiased estimate (Bengio and Grandvalet, JMLR 5, 2004)."
)
SOURCE = (
    "The paper (Heller et al. 2018, arXiv 1806.04618, Table 1) gives means on liver CT, without "
    "spread or number of runs; its numbers stand beside every recipe. A dash: there is no such "
    "number."
)


@dataclass(frozen=True)
class Table:
    """A table to print.

    blocks: title and cells of each part; the cells are text. Without blocks, only the caption is
        printed.
    caption: plain text.
    label: LaTeX's name of the table.
    apart: whether each block is a LaTeX table of its own, labelled `label`-1, -2 ...
    """

    blocks: list[tuple[str, pd.DataFrame]]
    caption: str
    label: str
    apart: bool = False


def degradation_tables(table: pd.DataFrame, mixed: int = 0) -> list[Table]:
    """Return the result of `tables.degradation_table`, set for printing.

    First mean test Dice, with one row per perturbation and one column per network (as in Table 1 of
    the paper); then every cell with intervals and paired drop; then its other scores.

    Args:
        table: the table.
        mixed: how many of its runs were made differently from those they are averaged with.
    """
    names = style.perturbations_of(table)

    def row(cell):
        control = cell["kind"] == "control"
        return {
            **_head(cell, names),
            "apparent Dice": number(cell["dice_apparent_mean"]),
            "Dice by case": mean_interval(cell, "dice_case"),
            "drop": "–" if control else mean_interval(cell, "drop"),
        }

    def scores(cell):
        return {
            **_names(cell, names),
            **{title: mean_interval(cell, name) for name, title in SCORES.items()},
        }

    wide_caption = f"{_mean_dice(table)}. {LABEL_DICE}{warning(mixed)}"
    over = f"[95 % interval over {repeats_and_cases(table)}, not corrected for the number of "
    caption = (
        "Test Dice, pooled over all test pixels, and its drop against the control in pairs of "
        f"equal repeat and case: mean {over}comparisons]. Apparent Dice: against test labels as "
        "wrong as the training labels, which is what those see who have no clean ones. Dice by "
        f"case: mean over test cases. {LABEL_DICE} Label volume: perturbed over reference volume "
        f"of the training labels; kinds of error differ in it as well as in shape.{warning(mixed)}"
    )
    score_caption = (
        f"Other scores at probability 0.5: mean {over}comparisons]. Volume ratio: predicted over "
        "reference volume. AUC: area under the ROC curve of all test pixels, which easy background "
        "fills; average precision does not count it. Surface Dice and HD95: means over test "
        f"cases, {_surfaces(table)}{warning(mixed)}"
    )
    return [
        Table(_wide_blocks(table), wide_caption, "tab:dice"),
        Table(_row_blocks(table, row), caption, "tab:degradation", apart=True),
        Table(_row_blocks(table, scores), score_caption, "tab:scores", apart=True),
    ]


def thresholds_tables(table: pd.DataFrame, mixed: int = 0) -> list[Table]:
    """Return the result of `thresholds.thresholds_table`, set for printing.

    First Dice at each threshold; then the drop taken apart. See `degradation_tables`.
    """
    names = style.perturbations_of(table)
    cells: dict[tuple, dict[str, dict]] = {}
    for found in table.to_dict("records"):
        key = tuple(found[name] for name in CELL)
        cells.setdefault(key, {})[found["decision"]] = found

    def of(cell):
        return cells[tuple(cell[name] for name in CELL)]

    def dice(cell):
        return {
            **_names(cell, names),
            **{
                title: number(of(cell)[name]["dice_mean"])
                if name == "best"
                else mean_interval(of(cell)[name], "dice")
                for name, title in DECISIONS.items()
            },
        }

    def parts(cell):
        half, loss, clean, wrong = (of(cell)[name] for name in list(DECISIONS)[:4])
        ceiling = 1 - half["ceiling_dice"]
        return {
            **_names(cell, names),
            "drop at 0.5": mean_interval(half, "drop"),
            "given back": mean_interval(clean, "part"),
            "what stays": mean_interval(clean, "drop"),
            "stays, loss's": mean_interval(loss, "drop"),
            "stays, perturbed": mean_interval(wrong, "drop"),
            "ceiling's drop": number(ceiling),
            "stays of it": number(1 - loss["ceiling_dice"]),
        }

    first = table[table["decision"] == "half"]
    over = f"mean [95 % interval over {repeats_and_cases(first)}]"
    caption = (
        f"Test Dice at other thresholds than a probability of 0.5: {over}. Loss's: where the "
        "optimum of the recipe's loss has the probability of 0.5, which needs no data. Clean, "
        "perturbed: best on validation slices with clean labels, or with labels as wrong as the "
        "training labels. Best on test: a bound, not a result. With several structures each has a "
        f"threshold of its own on its log-odds against the rest.{warning(mixed)}"
    )
    parts_caption = (
        f"The drop of Dice against the control, taken apart: {over}. Given back: what control and "
        "error regain of it when each is decided at the threshold that is best on clean validation "
        "slices. What stays: the drop there, and at the other thresholds. Ceiling's drop: what an "
        "ideal predictor loses that knows only how often each pixel is foreground in fresh draws "
        "of the labels, and decides as the optimum of the loss does; stays of it: what it loses "
        "where it decides at one half. It explains, it does not predict: networks stay above it "
        f"under a sampled loss. A dash: not known.{warning(mixed)}"
    )
    errors = first[first["kind"] != "control"]
    split = Table(_row_blocks(errors, parts), parts_caption, "tab:drop-parts", apart=True)
    return [
        Table(_row_blocks(first, dice), caption, "tab:thresholds", apart=True),
        *([split] if len(errors) else []),
    ]


def table1_tables(comparison: pd.DataFrame, mixed: int = 0) -> list[Table]:
    """Return the result of `paper.compare_with_paper`, set for printing.

    First Table 1 in the paper's layout, with ours beside it; then every cell. For the arguments see
    `degradation_tables`.
    """

    names = style.perturbations_of(comparison)

    def row(cell):
        control = cell["kind"] == "control"
        return {
            **_head(cell, names),
            "paper": number(cell["paper_liver_dice"], 4),
            "difference": signed(cell["difference"]),
            "drop": "–" if control else mean_interval(cell, "drop"),
            "paper's drop": "–" if control else number(cell["paper_liver_drop"]),
            "difference of drops": "–" if control else signed(cell["drop_difference"]),
        }

    if comparison["paper_liver_dice"].isna().all():
        reason = f"The paper's Table 1 is of liver CT ({DATASET}), which this study has not."
        return [Table([], reason, "tab:table1")]
    comparison = comparison[comparison["dataset"] == DATASET]
    wide_caption = (
        f"{_mean_dice(comparison)}, beside the paper's number and, in brackets, ours minus the "
        f"paper's. {LABEL_DICE} {SOURCE}{warning(mixed)}"
    )
    caption = (
        f"Mean test Dice [95 % interval over {repeats_and_cases(comparison)}] beside the paper's "
        "number. "
        "Differences: ours minus the paper's. Drop: Dice of the control minus Dice, ours in pairs "
        f"of equal repeat and case. {SOURCE}{warning(mixed)}"
    )
    return [
        Table(_wide_blocks(comparison, beside_paper=True), wide_caption, "tab:table1"),
        Table(_row_blocks(comparison, row), caption, "tab:table1-long", apart=True),
    ]


def slopes_tables(table: pd.DataFrame, mixed: int = 0) -> list[Table]:
    """Return `paper.slopes_beside_paper`, set for printing; see `degradation_tables`."""

    paper, errors = bool(table["paper_liver_slope"].notna().any()), style.errors(table)

    def row(cell):
        beside = {
            "paper's slope": number(cell["paper_liver_slope"]),
            "measured": number(cell["paper_measured_slope"]),
            "difference": signed(cell["difference"], 3),
        }
        return {
            "network": style.display(cell["model"]),
            "kind": errors[cell["kind"], cell["draws"]],
            "n": str(cell["n"]),
            "runs": str(cell["runs"]),
            "slope": interval(cell["slope"], cell["slope_low"], cell["slope_high"]),
            **(beside if paper else {}),
        }

    if table.empty:
        reason = "No label error has a control of the same repeat, so there are no slopes."
        return [Table([], reason, "tab:slopes")]
    several = len(errors) > table["kind"].nunique()
    alike = " that are drawn alike" if several else ""
    source = (
        " The paper's slope is that of its means at nominal label Dice; measured: at the label "
        "Dice that its severities give on liver slices here (studies/severities.yaml), which need "
        f"not be the paper's slices. Difference: ours minus the paper's, nominal. {SOURCE}"
    )
    caption = (
        "Test Dice lost for each label Dice lost: slope of the least-squares line through the "
        f"origin of control Dice minus Dice on 1 − label Dice, over all errors of a kind{alike}, "
        f"in pairs of equal repeat and case [95 % interval over {repeats_and_cases(table)}]. A "
        "slope of 1: "
        f"the network loses as much Dice as its labels.{source if paper else ''}{warning(mixed)}"
    )
    return [Table(_row_blocks(table, row), caption, "tab:slopes")]


def claims_tables(
    table: pd.DataFrame, mixed: int = 0, names: Mapping[str, str] | None = None
) -> list[Table]:
    """Return what `claims.decide` returns, set for printing.

    Args:
        table: the table.
        mixed: see `degradation_tables`.
        names: display names of the study's perturbations, see `style.perturbations`.
    """

    def row(claim):
        gap = f": {claim['gap']}" if claim["gap"] else ""
        return {
            "claim": claim_sentence(claim, names),
            "verdict": claim["verdict"] + gap,
            "estimate": interval(claim["estimate"], claim["low"], claim["high"]),
            "p": _p(claim["p_adjusted"]),
            "smallest effect": number(claim["smallest_effect"]),
            "repeats needed": claim["repeats_needed"] or "–",
        }

    answered = table[table["gap"] == ""]
    over = ""
    if len(answered):
        over = " over " + " and ".join(
            _range(answered[name].astype(int), what)
            for name, what in (("n", "repeat"), ("cases", "test case"))
        )
    scores = " or of two scores" if (table["kind"] == "helps").any() else ""
    caption = (
        "What the study's claims come to. Estimate: Dice, or what the claim names, lost against "
        f"the control, the difference of two such losses{scores}, Dice lost for each label Dice "
        "lost, or what a threshold gives back beyond the share [95 % interval"
        f"{over}, not corrected]. p: corrected by Holm's method for all {len(table)} rows; a claim "
        "is supported or refuted where it is below 0.05. Smallest effect: what this design finds "
        "with a power of 80 %, at the strictest step of the correction; for a loss below a margin, "
        "the smallest margin that it can assure. Repeats needed: for the same power, were the "
        f"estimate true.{warning(mixed)}"
    )
    return [Table(_row_blocks(table, row), caption, "tab:claims")]


def mitigation_tables(table: pd.DataFrame, baseline: str, mixed: int = 0) -> list[Table]:
    """Return what `mitigation.mitigation_table` returns, set for printing.

    Args:
        table: the table.
        baseline: the recipe that it holds the others against.
        mixed: see `degradation_tables`.
    """
    against = style.display(baseline)
    if table.empty:
        reason = f"No label error has scores of another recipe than {against}."
        return [Table([], reason, "tab:mitigation")]
    names, several = style.perturbations_of(table), table["model"].nunique() > 1
    blocks = []
    for dataset, structure in style.panels(table):
        here = style.in_panel(table, dataset, structure)
        for error, rows in here.groupby("perturbation", sort=False):
            lines = [
                {
                    **({"network": style.display(row["model"])} if several else {}),
                    "mitigation": style.mitigation(row["recipe"], row["at"]),
                    "lost": mean_interval(row, "lost"),
                    "given back": mean_interval(row, "gained"),
                    "share of it": mean_interval(row, "share"),
                    "cost on clean labels": mean_interval(row, "cost"),
                }
                for row in rows.to_dict("records")
            ]
            labels = number(rows["label_dice"].mean())
            panel = style.display_panel(dataset, structure)
            title = f"{panel}; {names[error]}, label Dice {labels}"
            blocks.append((title, pd.DataFrame(lines)))
    caption = (
        f"Test Dice, in pairs of equal repeat and case: what a label error costs {against}, at a "
        "probability of 0.5 and against its control; what each mitigation gives back, its Dice "
        f"under the error minus that of {against}; the share of what is lost, where its interval "
        "lies above 0, else a dash; and what the mitigation costs on clean labels, below 0 what it "
        f"gains: mean [95 % interval over {repeats_and_cases(table)}, not corrected for the number "
        f"of comparisons]. Thresholds: {against} decided where Dice is best on validation slices, "
        "with clean labels, or with labels as wrong as the training labels. "
        f"{LABEL_DICE}{warning(mixed)}"
    )
    return [Table(blocks, caption, "tab:mitigation", apart=True)]


def note_folds(tables: list[Table], runs: pd.DataFrame) -> list[Table]:
    """Return the tables, whose captions say what folds mean where runs are of folds.

    Args:
        tables: tables on these runs.
        runs: what `tables.runs_table` returns.
    """
    if not has_folds(runs):
        return tables
    return [replace(table, caption=f"{table.caption} {FOLDS}") for table in tables]


def plan_tables(
    table: pd.DataFrame, effect: float, names: Mapping[str, str] | None = None
) -> list[Table]:
    """Return what `planning.plan` returns, set for printing.

    Args:
        table: the table.
        effect: Dice that `repeats_needed` is for.
        names: see `claims_tables`.
    """

    def row(claim):
        return {
            "claim": claim_sentence(claim, names),
            "repeats": str(claim["n"]),
            "test cases": str(claim["cases"]),
            "smallest effect": number(claim["smallest_effect"]),
            f"repeats for {effect:g}": claim["repeats_needed"] or claim["gap"],
            "variance of": claim["source"],
        }

    caption = (
        "Smallest effect: what the study's repeats and test cases find with a power of 80 % at the "
        f"strictest step of Holm's correction for {len(table)} claims; for a loss below a margin, "
        "the smallest margin that they can assure. Repeats: for the same power if the loss, or the "
        f"difference, is {effect:g} Dice, or for a claim's own margin. Variances are those of the "
        "finished studies in docs/components.csv."
    )
    return [Table(_row_blocks(table, row), caption, "tab:plan")]


def claim_sentence(claim: Mapping[str, Any], names: Mapping[str, str] | None = None) -> str:
    """Return in words what a row of a table of claims says; for `names` see `claims_tables`."""
    network, error = style.display(claim["model"]), _perturbation(claim["error"], names)
    what = MEASURES[claim["measure"]]
    # HD95 is not lost, it grows.
    loses = "grows" if claim["measure"] in FALLING else "loses"
    subject = f"{network}'s {what}" if loses == "grows" else network
    lost = "" if loses == "grows" else f" {what}"
    match claim["kind"]:
        case "costs":
            return f"{subject} {loses}{lost} under {error}"
        case "harmless":
            return f"{subject} {loses} less than {claim['margin']:g}{lost} under {error}"
        case "worse":
            return f"{subject} {loses} more{lost} under {error} than {_other(claim, names)}"
        case "helps":
            better = "lower" if claim["measure"] in FALLING else "higher"
            at = f" at the threshold that {AT[claim['at']]}" if claim["at"] else ""
            other = f"with {_helped(claim)}" if claim["than_recipe"] else "at a probability of 0.5"
            return f"{network}'s {what} under {error}{at} is {better} than {other}"
        case "threshold":
            share = "half" if claim["share"] == 0.5 else f"{claim['share']:.0%}"
            return (
                f"{share} or more of what {network} loses under {error} comes back at the "
                f"threshold that {AT[claim['at']]}"
            )
    more, bound = ("more", claim["above"])
    if np.isnan(bound):
        more, bound = ("less", claim["below"])
    drawn = f"{style.display_draws(claim['draws'])} " if claim["draws"] else ""
    return (
        f"{subject} {loses} {more} than {bound:g}{lost} for each label Dice lost under "
        f"{drawn}{style.display(claim['error'])} errors"
    )


def _perturbation(name, names):
    return (names or {}).get(name) or style.display_perturbation(name)


def _helped(claim):
    """Return in what the lower cell of a claim of the kind `helps` differs."""
    parts = []
    if claim["than_model"] != claim["model"]:
        parts.append(style.display(claim["than_model"]))
    if claim["than_recipe"] != claim["recipe"]:
        parts.append(f"recipe {style.display(claim['than_recipe'])}")
    return " and ".join(parts)


def _other(claim, names):
    """Return in what the other cell of a claim differs."""
    parts = []
    if claim["than_model"] != claim["model"]:
        parts.append(style.display(claim["than_model"]))
    if claim["than_perturbation"] != claim["error"]:
        parts.append(f"under {_perturbation(claim['than_perturbation'], names)}")
    if claim["than_recipe"] != claim["recipe"]:
        parts.append(f"with recipe {style.display(claim['than_recipe'])}")
    return " ".join(parts)


def write_tables(tables: list[Table], markdown_path: Path, latex_path: Path) -> None:
    """Write tables as Markdown and as LaTeX, each as a whole file."""
    write_text(markdown_path, markdown(tables))
    write_text(latex_path, latex(tables))


def markdown(tables: list[Table]) -> str:
    """Return tables as Markdown, each with its caption below it."""
    parts = []
    for table in tables:
        parts += [
            f"**{title}**\n\n{cells.to_markdown(**AS_TEXT)}\n" for title, cells in table.blocks
        ]
        parts.append(f"{table.caption}\n")
    return "\n".join(parts)


def latex(tables: list[Table]) -> str:
    """Return tables as LaTeX no wider than the page; its first line names the packages it needs."""
    parts = [f"{PACKAGES}\n"]
    for table in tables:
        if not table.blocks:
            parts.append(f"% {table.caption}\n")
        elif table.apart:
            parts += [
                _latex_table([("", cells)], f"{title}. {table.caption}", f"{table.label}-{place}")
                for place, (title, cells) in enumerate(table.blocks, start=1)
            ]
        else:
            parts.append(_latex_table(table.blocks, table.caption, table.label))
    return "\n".join(parts)


def mean_sd(row: dict, name: str, digits: int = 4) -> str:
    """Return mean ± standard deviation of a row's column `name`."""
    mean, sd = row[f"{name}_mean"], row[f"{name}_sd"]
    return number(mean, digits) + ("" if np.isnan(sd) else f" ± {number(sd, digits)}")


def mean_interval(row: dict, name: str) -> str:
    """Return mean [low, high] of a row's column `name`."""
    return interval(*(row[f"{name}_{statistic}"] for statistic in ["mean", "low", "high"]))


def interval(value: float, low: float, high: float) -> str:
    """Return a value [low, high], three digits; without the bounds where they are NaN."""
    return number(value) + ("" if np.isnan(low) else f" [{number(low)}, {number(high)}]")


def signed(value: float, digits: int = 4) -> str:
    """Return a difference with its sign."""
    return f"+{number(value, digits)}" if value >= 0 else number(value, digits)


def number(value: float, digits: int = 3) -> str:
    """Return a number as text, a dash for NaN."""
    return "–" if np.isnan(value) else f"{value:.{digits}f}".replace("-", "−")


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else number(value)


def _surfaces(table: pd.DataFrame) -> str:
    """Return the sentences on how surfaces were compared."""
    ways = table.dropna(subset="unit")[["unit", "volumetric", "tolerance"]].drop_duplicates()
    names = {True: "in 3-D", False: "slice by slice"}
    told = " or ".join(
        f"{names[bool(way.volumetric)]}, at a tolerance of {way.tolerance:g} {way.unit}"
        for way in ways.itertuples()
    )
    return (
        f"{told or 'not compared'}. Where one of two masks is empty, its distance is the diagonal "
        "of the slice (or volume) and its surface Dice 0; where both are, the case is left out."
    )


def repeats_and_cases(table: pd.DataFrame) -> str:
    """Return what the intervals of a table are over, and what they leave out."""
    over = f"{_range(table['n'], 'repeat')} and {_range(table['cases'], 'test case')}"
    columns = [name for name in table if name.endswith("left_out")]
    scored = (table["n"] == 1) | (table["cases"] == 1)
    left = {
        # Nothing is known of a cell without scores, however many repeats and cases it has.
        text if text != "repeats and cases" or alone else "scores"
        for texts, alone in zip(table[columns].fillna("").to_numpy(), scored, strict=True)
        for text in texts
    }
    told = {
        "repeats": "with one repeat it says nothing about other repeats",
        "cases": "with one test case it says nothing about other cases",
        "repeats and cases": "with one repeat and one test case there is none",
        "scores": "where scores are undefined there is none",
    }
    return "; ".join([over, *(text for what, text in told.items() if what in left)])


def plural(count: int, what: str) -> str:
    """Return a number of things, such as 1 repeat or 3 repeats."""
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _range(numbers: pd.Series, what: str) -> str:
    low, high = numbers.min(), numbers.max()
    return plural(low, what) if low == high else f"{low} to {high} {what}s"


def repeats(table: pd.DataFrame) -> str:
    """Return the number of repeats in the cells of a table, in words."""
    low, high = table["n"].min(), table["n"].max()
    if low == high:
        return f"n = {low} repeats" if low > 1 else "repeats, none for n = 1 repeat"
    return f"n = {low} to {high} repeats"


def warning(mixed: int) -> str:
    """Return the sentence of a caption on runs that were averaged although they differ."""
    if not mixed:
        return ""
    return (
        f" {mixed} of the runs behind these numbers were made by other code, another torch or "
        "other definitions than the rest of their dataset, network and recipe: tables/mixed.csv "
        "names them."
    )


def _mean_dice(table):
    return f"Mean test Dice ± standard deviation over {repeats(table)}, pooled over all test pixels"


def _split(table: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield title and rows of each block, in the order to show them."""
    for dataset, structure in style.panels(table):
        here = style.in_panel(table, dataset, structure)
        for recipe in style.recipes(here["recipe"]):
            panel = style.display_panel(dataset, structure)
            yield f"{panel}; recipe {style.display(recipe)}", here[here["recipe"] == recipe]


def _row_blocks(
    table: pd.DataFrame, show: Callable[[dict], dict[str, str]]
) -> list[tuple[str, pd.DataFrame]]:
    """Return blocks with one line per row of the table."""
    return [
        (title, pd.DataFrame(map(show, rows.to_dict("records")))) for title, rows in _split(table)
    ]


def _wide_blocks(table, beside_paper=False):
    """Return blocks with a line per perturbation and a column per network; a dash for no runs.

    A network of the paper has the paper's number beside it.
    """
    networks, names = style.networks(table["model"]), style.perturbations_of(table)
    blocks = []
    for title, rows in _split(table):
        lines = []
        for name, cells in rows.groupby("perturbation", sort=False):
            line = {"perturbation": names[name]}
            line["label Dice"] = number(cells["label_dice_mean"].mean())
            for network in networks:
                found = cells[cells["model"] == network].to_dict("records")
                column = style.display(network)
                line[column] = mean_sd(found[0], "dice") if found else "–"
                if beside_paper and network in TABLE_1:
                    line[f"{column}, paper"] = _paper(found[0]) if found else "–"
            lines.append(line)
        blocks.append((title, pd.DataFrame(lines)))
    return blocks


def _paper(cell):
    """Return the paper's number, and ours minus the paper's in brackets."""
    if np.isnan(cell["paper_liver_dice"]):
        return "–"
    return f"{number(cell['paper_liver_dice'], 4)} ({signed(cell['difference'])})"


def _names(cell, names):
    return {
        "network": style.display(cell["model"]),
        "perturbation": names[cell["perturbation"]],
    }


def _head(cell, names):
    return {
        **_names(cell, names),
        "n": str(cell["n"]),
        "label Dice": number(cell["label_dice_mean"]),
        "label volume": number(cell["label_volume_ratio_mean"]),
        "test Dice": mean_interval(cell, "dice"),
    }


def _latex_table(blocks, caption, label):
    columns = list(blocks[0][1])
    lines = [r"\begin{table}", r"\centering", r"\footnotesize", r"\setlength{\tabcolsep}{4pt}"]
    lines += [rf"\caption{{{_escape(caption)}}}", rf"\label{{{label}}}", r"\smallskip"]
    # No wider than the page, and never enlarged.
    lines += [r"\resizebox{\ifdim\width>\textwidth\textwidth\else\width\fi}{!}{%"]
    kinds = "".join(_column_kind([cells[name] for _, cells in blocks]) for name in columns)
    lines += [rf"\begin{{tabular}}{{{kinds}}}", r"\toprule", _latex_row(columns)]
    for title, cells in blocks:
        lines.append(r"\midrule")
        if title:
            lines.append(rf"\multicolumn{{{len(columns)}}}{{l}}{{\textit{{{_escape(title)}}}}} \\")
        lines += [_latex_row(row) for row in cells.to_numpy()]
    lines += [r"\bottomrule", r"\end{tabular}}", r"\end{table}", ""]
    return "\n".join(lines)


def _column_kind(parts):
    """Return the kind of LaTeX column for the cells of one column in every block."""
    cells = [cell for part in parts for cell in part]
    longest = max(map(len, cells))
    if longest > LONGEST_LINE and max(map(len, " ".join(cells).split())) <= LONGEST_WORD:
        return rf">{{\raggedright\arraybackslash}}p{{{LINE_WIDTH}\textwidth}}"
    return "l"


def _latex_row(cells):
    return " & ".join(map(_escape, cells)) + r" \\"


def _escape(text):
    """Return text escaped for LaTeX, on one line."""
    return "".join(LATEX.get(character, character) for character in " ".join(text.split()))
