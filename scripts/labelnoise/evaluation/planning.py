"""What a study can find before anything is trained, from the variances of finished studies."""

from collections.abc import Mapping
from functools import partial

import numpy as np
import pandas as pd

from labelnoise.evaluation.claims import (
    LEVEL,
    definition,
    finds,
    null,
    power_of,
    slope_scale,
)
from labelnoise.evaluation.contrasts import case_values, drops, families, levels, stack
from labelnoise.evaluation.power import Power, power_within, repeats_needed, with_repeats
from labelnoise.evaluation.statistics import Layout, components, layouts
from labelnoise.study import Claim, Study

SOURCE = ["dataset", "recipe"]
PARTS = ["repeat", "case", "residual"]


def components_table(runs: pd.DataFrame, cases: pd.DataFrame) -> pd.DataFrame:
    """Return the variance components of a study's levels and drops, see `statistics.components`.

    Args:
        runs: what `tables.runs_table` returns.
        cases: counts per run, structure and case, see `tables.study_tables`.

    Returns:
        One row per dataset, recipe and contrast (`level` or `drop`): root mean squares of the
        standard deviations `repeat`, `case` and `residual` over `contrasts` contrasts, and
        `prior_df`, the degrees of freedom that moderation within the dataset adds.
    """
    values = case_values(cases)
    tables = []
    for contrast, blocks in (("level", levels(values)), ("drop", drops(runs, values))):
        for family, found in families(blocks).items():
            array_KRC = stack(found.values())
            prior = [layout.degrees - layout.repeats + 1 for layout in layouts(array_KRC)]
            squared = components(array_KRC)[PARTS] ** 2
            squared = squared.assign(contrast=contrast, dataset=family[0], prior_df=prior)
            tables.append(squared.assign(recipe=[cell[3] for cell in found]))
    groups = pd.concat(tables).groupby([*SOURCE, "contrast"], sort=False)
    found = groups[[*PARTS, "prior_df"]].mean()
    found[PARTS] = np.sqrt(found[PARTS])
    found.insert(0, "contrasts", groups.size())
    return found.reset_index()


def plan(
    study: Study, stored: pd.DataFrame, cases: Mapping[str, int], effect: float
) -> pd.DataFrame:
    """Return what a study's design can find of its claims.

    Args:
        study: the study.
        stored: what `components_table` returned for finished studies. A dataset that none of them
            has takes the mean over those of its recipe, or else over all.
        cases: test cases of each dataset.
        effect: Dice, or the difference of two losses of Dice, to find.

    Returns:
        One row per claim: its definition, `n` repeats and `cases`; `smallest_effect`, see
        `claims.decide`; `repeats_needed` to find `effect`, or to assure the claim's own margin were
        the drop 0; `source`, whose variances were taken; `gap`, why a number is missing.
    """
    claims = study.claims
    level, rows = LEVEL / max(len(claims), 1), []
    drop = stored[stored["contrast"] == "drop"]
    for claim in claims:
        row = {**definition(claim, claim.structure or ""), "n": study.repeats, "gap": ""}
        row |= {"cases": cases[claim.dataset], "smallest_effect": np.nan, "repeats_needed": ""}
        layout, source = _layout(study, claim, drop, cases[claim.dataset])
        row["source"] = source
        if claim.measure != "dice":
            row["gap"] = f"variances of {claim.measure} are not stored"
        elif layout is None:
            row["gap"] = "errors without target_dice"
        elif layout.cases < 2:
            row["gap"] = "one test case"
        else:
            if study.repeats < 2:
                row["gap"] = "one repeat"
            else:
                found = with_repeats(layout, study.repeats)
                row["smallest_effect"] = finds(claim, level, *found.error())
            row["repeats_needed"] = repeats_needed(layout, _chance(study, claim, level, effect))
        rows.append(row)
    return pd.DataFrame(rows)


def _chance(study: Study, claim: Claim, level: float, effect: float) -> Power:
    """Return the power to find an effect as a function of standard error and df."""
    if claim.margin is not None:
        return partial(power_within, 0.0, claim.margin, level=level)
    losses = _losses(study, claim) if claim.kind == "slope" else None
    size = effect if losses is None else effect * losses.sum() / (losses**2).sum()
    return partial(power_of, claim, null(claim) + size, level)


def _layout(
    study: Study, claim: Claim, stored: pd.DataFrame, cases: int
) -> tuple[Layout | None, str]:
    """Return the layout of a claim's contrast with two repeats, and whose variances it has."""
    recipes = [claim.recipe]
    # A gain is one difference of two cells, as a drop is.
    other = claim.than if claim.kind == "worse" else None
    if other is not None and other[:2] != (claim.model, claim.recipe):
        recipes.append(other[1])
    found = [_stored(stored, claim.dataset, recipe) for recipe in recipes]
    # Drops of two settings are independent, so their variances add.
    repeat, case, residual = (sum((row[PARTS] ** 2).mean() for row in found))[PARTS]
    source = ", ".join(dict.fromkeys(name for row in found for name in row["dataset"]))
    prior = min(row["prior_df"].mean() for row in found)
    layout = Layout(
        0.0, 2, cases, repeat + residual / cases, 1 + prior, case + residual / 2, residual
    )
    if claim.kind == "slope":
        losses = _losses(study, claim)
        if losses is None:
            return None, source
        layout = layout.scaled(slope_scale(losses))
    return layout, source


def _stored(stored: pd.DataFrame, dataset: str, recipe: str) -> pd.DataFrame:
    """Return the rows of a dataset and recipe, else of the recipe, else all."""
    same = stored[stored["recipe"] == recipe]
    exact = same[same["dataset"] == dataset]
    return exact if len(exact) else same if len(same) else stored


def _losses(study: Study, claim: Claim) -> np.ndarray | None:
    """Return the label Dice that each error of a slope is meant to lose; None if one is unknown."""
    targets = [
        study.perturbations[name].target_dice
        for name, family, draws in study.drawn
        if family == claim.error and claim.draws in (None, draws)
    ]
    return None if None in targets else 1 - np.array(targets, float)
