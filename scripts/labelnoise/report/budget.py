"""What cases and care buy: tables and sentences of a fitted budget."""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from labelnoise.evaluation.budget import FURTHEST, SAMPLES, SURFACE
from labelnoise.report import style
from labelnoise.report.render import Table, interval, number, plural, warning

FIT = "end − scale × cases^−power"


def budget_tables(surface: pd.DataFrame, plans: pd.DataFrame, mixed: int = 0) -> list[Table]:
    """Return the tables of `budget.study_budget`, set for printing.

    First the plans for the wanted Dice, then the fit, then what was measured beside it.

    Args:
        surface, plans: its first two.
        mixed: how many runs were made differently from those they are averaged with.
    """
    names = style.perturbations_of(plans)
    first, wanted = plans.iloc[0], number(plans["wanted"].iloc[0])
    over = (
        f"[95 % interval: fits to {SAMPLES} samples of {plural(int(first['n']), 'repeat')} and "
        f"{plural(int(first['test_cases']), 'test case')}, each drawn again with replacement]"
    )

    def row(error):
        return {
            "labels": names[error["perturbation"]],
            "label Dice": number(error["label_dice"]),
            "minutes a case": f"{error['minutes']:g}",
            "cases": f"{_count(error, 'cases')}{' *' if _is_beyond(error) else ''}",
            "price": _count(error, "price"),
            "cheapest in": f"{100 * error['cheapest_share']:.0f} %",
            "reached with": _measured(error),
        }

    def fit(error):
        return {
            "labels": names[error["perturbation"]],
            "ends at": _bounded(error, "ends_at"),
            "offset": _bounded(error, "offset"),
            "scale": _bounded(error, "scale"),
            f"worth of {error['most']:g} cases": _count(error, "worth", 1),
        }

    plan_caption = (
        f"The fewest cases that give a test Dice of {wanted} by the fitted curve, and what they "
        f"cost {over}. Cheapest in: share of these samples. Reached with: the fewest cases "
        "measured whose mean is as high, and their price. *: extrapolated, outside the cases "
        "measured. A dash: none up to "
        f"{FURTHEST} times the cases measured.{_unidentified(plans)}{warning(mixed)}"
    )
    reference = " or ".join(dict.fromkeys(names[name] for name in plans["reference"]))
    fit_caption = (
        f"The curves {FIT}, of one power {over}: {'; '.join(_powers(plans))}. Ends at: Dice of any "
        f"number of cases, extrapolated. Offset: how much lower than with labels {reference}, "
        "which no cases give back. Scale: what one case loses of the end, extrapolated, which more "
        f"cases give back. Worth: cases with labels {reference} that give the same Dice. "
        f"Residuals: {'; '.join(_residuals(surface))}."
    )
    surface_caption = (
        "Test Dice by number of training cases [95 % interval over repeats and test cases], and in "
        "brackets behind it the residual, measured minus fitted. Label Dice: of the labels of all "
        "training cases, of which those that a network sees are a part."
    )
    return [
        Table(_blocks(plans, row), plan_caption, "tab:budget-plans"),
        Table(_blocks(plans, fit), fit_caption, "tab:budget-fit"),
        Table(_surface_blocks(surface, names), surface_caption, "tab:budget"),
    ]


def budget_sentences(plans: pd.DataFrame) -> list[str]:
    """Return what the plans of `budget.study_budget` come to, a few sentences for each surface."""
    names, found = style.perturbations_of(plans), []
    for _, rows in plans.groupby(SURFACE, sort=False):
        found += _sentences(rows.to_dict("records"), names)
    return found


def _sentences(rows, names) -> Iterator[str]:
    first, where = rows[0], _where(rows[0])
    wanted = f"a test Dice of {number(first['wanted'])}"
    span = f"the {first['least']:g} to {first['most']:g} cases measured"
    if not first["identified"]:
        yield (
            f"{where}: the scores do not tell by which power Dice rises with cases, so nothing is "
            f"said between and beyond {span}."
        )
        for row in rows:
            if row["measured_cases"] == row["measured_cases"]:
                price = row["measured_cases"] * row["case_price"]
                yield (
                    f"{where}: of the cases measured, {row['measured_cases']:g} with labels "
                    f"{names[row['perturbation']]} reach {wanted}, for {price:,.0f}."
                )
        return
    reached = sorted(
        (row for row in rows if np.isfinite(row["price"])), key=lambda row: row["price"]
    )
    if not reached:
        yield f"{where}: no labels give {wanted} with up to {FURTHEST} times {span}."
    for place, row in enumerate(reached):
        beyond = f"; extrapolated beyond {span}" if _is_beyond(row) else ""
        told = (
            f"{_count(row, 'cases')} cases at {row['case_price']:,.0f} each, "
            f"{_count(row, 'price')} in all{beyond}"
        )
        name = f"{names[row['perturbation']]} (label Dice {number(row['label_dice'])})"
        if place == 0:
            share = f"{100 * row['cheapest_share']:.0f} %"
            yield (
                f"{where}: {wanted} costs least with labels {name}: {told}. They are the cheapest "
                f"in {share} of the samples."
            )
        else:
            yield f"{where}: with labels {name} it takes {told}."
    for row in rows:
        if np.isfinite(row["price"]):
            continue
        name = f"labels {names[row['perturbation']]} (label Dice {number(row['label_dice'])})"
        if row["ends_at"] <= row["wanted"]:
            yield (
                f"{where}: no number of cases makes up for {name}, whose curve ends at "
                f"{_bounded(row, 'ends_at')}, extrapolated."
            )
        else:
            yield f"{where}: {name} would take more than {FURTHEST} times {span}."
    for row in rows:
        if row["perturbation"] != row["reference"] and np.isfinite(row["worth"]):
            beyond = "; extrapolated, fewer than were measured" if _is_worth_less(row) else ""
            yield (
                f"{where}: {first['most']:g} cases with labels {names[row['perturbation']]} (label "
                f"Dice {number(row['label_dice'])}) are worth {_count(row, 'worth', 1)} with "
                f"labels {names[row['reference']]}{beyond}."
            )


def _is_worth_less(row):
    return row["worth"] < row["least"]


def _is_beyond(row):
    return bool(row["extrapolated"]) and bool(np.isfinite(row["cases"]))


def _where(row):
    place = style.display_panel(row["dataset"], row["structure"])
    return f"{place}, {style.display(row['model'])}"


def _bounded(row, name):
    return interval(row[name], row[f"{name}_low"], row[f"{name}_high"])


def _count(row, name, digits=0):
    """Return a number of cases or a price [low, high], a dash for none."""
    value, low, high = (row[f"{name}{end}"] for end in ("", "_low", "_high"))
    if not np.isfinite(value):
        return "–"
    text = _rounded(value, digits)
    return text if np.isnan(low) else f"{text} [{_rounded(low, digits)}, {_rounded(high, digits)}]"


def _rounded(value, digits):
    return f"{value:,.{digits}f}" if np.isfinite(value) else "∞"


def _measured(row):
    cases = row["measured_cases"]
    return "–" if np.isnan(cases) else f"{cases:g}, {cases * row['case_price']:,.0f}"


def _unidentified(plans):
    if plans["identified"].all():
        return ""
    return (
        " The scores do not tell by which power Dice rises with cases"
        f"{'' if not plans['identified'].any() else ' in some parts'}: do not rely on numbers of "
        "cases that were not measured."
    )


def _powers(plans):
    for _, rows in plans.groupby(SURFACE, sort=False):
        yield _bounded(rows.iloc[0], "power")


def _residuals(surface):
    for _, rows in surface.groupby(SURFACE, sort=False):
        residual = rows["residual"].to_numpy()
        outside = ((rows["fitted"] < rows["low"]) | (rows["fitted"] > rows["high"])).sum()
        yield (
            f"root mean square {number(float(np.sqrt((residual**2).mean())))}, at most "
            f"{number(float(np.abs(residual).max()))}; the fit is outside the interval of "
            f"{outside} of {len(rows)} cells"
        )


def _blocks(plans, show):
    return [
        (_title(rows.iloc[0]), pd.DataFrame(map(show, rows.to_dict("records"))))
        for _, rows in plans.groupby(SURFACE, sort=False)
    ]


def _surface_blocks(surface, names):
    blocks = []
    for _, rows in surface.groupby(SURFACE, sort=False):
        lines = []
        for error, cells in rows.groupby("perturbation", sort=False):
            line = {"labels": names[error], "label Dice": number(cells["label_dice"].iloc[0])}
            for cell in cells.to_dict("records"):
                value = interval(cell["dice"], cell["low"], cell["high"])
                line[f"{cell['cases']:g} cases"] = f"{value} ({number(cell['residual'])})"
            lines.append(line)
        blocks.append((_title(rows.iloc[0]), pd.DataFrame(lines)))
    return blocks


def _title(row):
    return f"{_where(row)}; {row['recipes']}"
