"""Claims of a study: supported by its scores, refuted, or undecided, and what would decide them.

A claim is a contrast, a block of values per repeat and case, see `contrasts`:

    costs       the drop of a cell, above 0
    harmless    the drop of a cell, within a margin
    worse       the drop of a cell minus that of another, above 0
    slope       Dice lost for each label Dice lost, above or below a number; errors of a kind that
                are drawn in several ways, fixed and fresh, are a question each
    threshold   what another threshold gives back minus a share of the drop, above 0
    helps       the score of a cell, perhaps at another threshold, minus that of another cell of the
                same error or control, or its own at a probability of 0.5, above 0

Every p is two-sided against 0 or the number, at level 0.05 after Holm's correction over all claims
that are declared, answered or not; the side of the estimate tells supported from refuted.
`harmless` is supported by two one-sided tests (Schuirmann 1987), p being the larger of the two, and
refuted by a drop above the margin.
"""

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache, partial
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.special import stdtr

from labelnoise.evaluation.contrasts import (
    ERRORS,
    FAMILY,
    SETTING,
    Blocks,
    dice_at,
    drops,
    families,
    gains,
    levels,
    slopes,
    stack,
    threshold_parts,
)
from labelnoise.evaluation.power import (
    power,
    power_within,
    repeats_needed,
    smallest_effect,
    smallest_margin,
)
from labelnoise.evaluation.statistics import CONFIDENCE, MANY, Layout, layouts, p_value
from labelnoise.study import Claim

LEVEL = 1 - CONFIDENCE
SUPPORTED, REFUTED, UNDECIDED = "supported", "refuted", "undecided"
DEFINITION = ["claim", "kind", "measure", "dataset", "structure", "model", "recipe", "error"]
DEFINITION += ["draws"]
OTHER = ["than_model", "than_recipe", "than_perturbation"]
TEXTS = [*DEFINITION, *OTHER, "at"]
BOUNDS = ["margin", "above", "below", "share"]
NUMBERS = ["estimate", "low", "high", "df", "p", "p_adjusted", "smallest_effect"]
COLUMNS = [*TEXTS, *BOUNDS, "verdict", *NUMBERS, "repeats_needed", "n", "cases", "gap"]

# `drops`, `slopes` or, of `helps`, levels.
Contrast = Callable[[pd.DataFrame, pd.DataFrame], Blocks]


@dataclass(frozen=True)
class Question:
    """A claim about one structure, with the values that answer it.

    Attributes:
        claim: the claim.
        structure: its structure.
        gap: why it cannot be answered, or "".
        block: values per repeat and case; empty where there is a gap.
        scale: how much more they vary than a drop does, were all cells equally variable.
        layout: of the values, with moderated variances; None where there is a gap.
    """

    claim: Claim
    structure: str
    gap: str
    block: pd.DataFrame
    scale: float = 1.0
    layout: Layout | None = None


def judge(
    claims: Iterable[Claim], runs: pd.DataFrame, cases: pd.DataFrame, repeats: int
) -> pd.DataFrame:
    """Judge the claims of a study.

    Args:
        claims: the claims.
        runs: what `tables.runs_table` returns.
        cases: counts per run, structure and case, see `tables.study_tables`.
        repeats: repeats that each cell is meant to have.

    Returns:
        See `decide`.
    """
    return decide(ask(claims, runs, cases, repeats))


def ask(
    claims: Iterable[Claim], runs: pd.DataFrame, cases: pd.DataFrame, repeats: int
) -> list[Question]:
    """Return the questions that claims pose, one per claim and structure, with their layouts.

    Variances between repeats are moderated by a prior that is fitted to all drops of the dataset,
    structure and measure, so that it does not depend on which claims were declared. Drops,
    differences and slopes differ in size; each is divided by its scale before, and multiplied with
    it after. For the arguments see `judge`.
    """

    @cache
    def blocks(contrast: Contrast, measure: str) -> Blocks:
        return contrast(runs, gains(cases, measure))

    shown = cases.assign(truth=cases["tp"] + cases["fn"]).groupby([*FAMILY, "case"])["truth"].sum()
    shown_cases = (shown > 0).groupby(FAMILY).sum()
    structures = runs.groupby("dataset")["structure"].unique()
    questions = []
    for claim in claims:
        # A structure that no run was tested on is a question too, with a gap.
        named = (
            structures.get(claim.dataset, [""]) if claim.structure is None else [claim.structure]
        )
        for structure in named:
            count = int(shown_cases.get((claim.dataset, structure), 0))
            questions.append(_question(claim, structure, runs, blocks, count, repeats))
    found = list(questions)
    for measure in dict.fromkeys(question.claim.measure for question in questions):
        places = [
            place for place, question in enumerate(questions) if question.claim.measure == measure
        ]
        posed = moderated([questions[place] for place in places], blocks(drops, measure))
        for place, question in zip(places, posed, strict=True):
            found[place] = question
    return found


def moderated(questions: Sequence[Question], of_drops: Blocks) -> list[Question]:
    """Return the questions, those without a gap with their layouts; see `ask`.

    Args:
        questions: the questions.
        of_drops: what `contrasts.drops` returns of their measure, which the prior is fitted to.
    """
    answered: dict[tuple[Hashable, ...], list[int]] = {}
    for place, question in enumerate(questions):
        if not question.gap:
            answered.setdefault((question.claim.dataset, question.structure), []).append(place)
    fitted, found = families(of_drops), list(questions)
    for family, places in answered.items():
        array_KRC = stack([questions[place].block / questions[place].scale for place in places])
        fitted_KRC = stack(fitted[family].values())
        for place, layout in zip(places, layouts(array_KRC, fitted_KRC), strict=True):
            question = questions[place]
            found[place] = replace(question, layout=layout.scaled(question.scale))
    return found


def decide(questions: Sequence[Question]) -> pd.DataFrame:
    """Return the verdict on each question.

    Returns:
        One row per question: the claim's definition; `verdict`; `estimate` with `low` and `high`,
        its 95 % interval over repeats and cases, not corrected; `df`; `p` and `p_adjusted`;
        `smallest_effect`, the difference from 0 or from the slope's number that this design finds
        with a power of 80 % at the first step of Holm's procedure, for `harmless` the smallest
        margin that it can assure where the drop is 0; `repeats_needed`, text, of undecided claims:
        see `power.repeats_needed`, were the estimate true; `n` repeats and `cases`; `gap`, why a
        claim could not be answered, in which case there are no numbers.
    """
    tested = [_test(question) for question in questions]
    adjusted = holm([row.get("p", np.nan) for row in tested])
    level = LEVEL / max(len(questions), 1)
    rows = []
    for question, numbers, corrected in zip(questions, tested, adjusted, strict=True):
        row: dict[str, Any] = {
            **dict.fromkeys([*NUMBERS, "n", "cases"], np.nan),
            **definition(question.claim, question.structure),
            **numbers,
            "verdict": UNDECIDED,
            "repeats_needed": "",
            "gap": question.gap,
        }
        if question.layout is not None:
            row["p_adjusted"] = corrected
            if corrected < LEVEL:
                row["verdict"] = SUPPORTED if _agrees(question.claim, row["estimate"]) else REFUTED
            row |= _plan(question.claim, question.layout, level, row["verdict"] == UNDECIDED)
        rows.append(row)
    return pd.DataFrame(rows, columns=COLUMNS)


def holm(p: Sequence[float]) -> list[float]:
    """Return p-values that are corrected for their number (Holm 1979); NaN counts as 1."""
    p_K = np.nan_to_num(np.asarray(p, float), nan=1.0)
    order = np.argsort(p_K, kind="stable")
    steps = p_K[order] * np.arange(len(p_K), 0, -1)
    corrected_K = np.empty_like(p_K)
    corrected_K[order] = np.minimum(np.maximum.accumulate(steps), 1)
    return corrected_K.tolist()


def power_of(claim: Claim, estimate: float, level: float, error: float, df: float) -> float:
    """Return the probability that a design decides a claim, were the estimate true.

    Args:
        claim: the claim.
        estimate: of its contrast.
        level: of the test, before any correction.
        error, df: standard error of the design, and its degrees of freedom.
    """
    if claim.margin is None:
        return power(estimate - null(claim), error, df, level)
    if estimate > claim.margin:
        return power(estimate - claim.margin, error, df, level)
    return power_within(estimate, claim.margin, error, df, level)


def finds(claim: Claim, level: float, error: float, df: float) -> float:
    """Return the smallest effect that a design finds, see `decide`; arguments as in `power_of`."""
    return (smallest_effect if claim.margin is None else smallest_margin)(error, df, level)


def null(claim: Claim) -> float:
    """Return the number that a claim's contrast is compared with, apart from a margin."""
    return next((bound for bound in (claim.above, claim.below) if bound is not None), 0.0)


def definition(claim: Claim, structure: str) -> dict[str, Hashable]:
    """Return the columns that say what a claim is: TEXTS and BOUNDS."""
    other = dict.fromkeys(OTHER, "") | dict(zip(OTHER, claim.than or (), strict=False))
    parts = {**asdict(claim), "claim": claim.name, "structure": structure, **other}
    parts |= {"draws": claim.draws or "", "at": claim.at or ""}
    return {name: np.nan if parts[name] is None else parts[name] for name in [*TEXTS, *BOUNDS]}


def slope_scale(losses: ArrayLike) -> float:
    """Return how much more a slope varies than a drop, were all cells equally and independently so.

    The root of half the sum of squared weights, which are l / sum l^2 for each error of label Dice
    1 - l, and for the control their sum.
    """
    loss = np.asarray(losses, float)
    return float(np.sqrt(((loss**2).sum() + loss.sum() ** 2) / 2) / (loss**2).sum())


def _question(
    claim: Claim,
    structure: str,
    runs: pd.DataFrame,
    blocks: Callable[[Contrast, str], Blocks],
    shown: int,
    repeats: int,
) -> Question:
    cell: tuple[str, ...] = (claim.dataset, structure, claim.model, claim.recipe, claim.error)
    if claim.kind == "helps":
        return _help(claim, structure, cell, blocks, shown, repeats)
    found = blocks(slopes if claim.kind == "slope" else drops, claim.measure)
    if claim.kind == "slope":
        drawn = [key for key in found if key[:-1] == cell and claim.draws in (None, key[-1])]
        if len(drawn) > 1:
            gap = f"{claim.error} errors are drawn in {len(drawn)} ways"
            return Question(claim, structure, gap, pd.DataFrame())
        cell = (*cell, *(str(key[-1]) for key in drawn))
    sides = [cell]
    if claim.than is not None:
        sides.append((claim.dataset, structure, *claim.than))
    for side in sides:
        if side not in found:
            gap = f"no drop of {'/'.join(side[len(FAMILY) :])}"
            return Question(claim, structure, gap, pd.DataFrame())
    block = found[cell]
    for side in sides[1:]:
        block = (block - found[side]).dropna(how="all")
    if claim.at is not None and claim.share is not None:
        if block.mean(axis=None) <= 0:
            return Question(claim, structure, "no loss to take apart", pd.DataFrame())
        part = threshold_parts({cell: block}, blocks(drops, dice_at(claim.at)))[cell]
        if part.isna().all(axis=None):
            gap = "the recipe's loss implies no threshold"
            return Question(claim, structure, gap, pd.DataFrame())
        block = part - claim.share * block
    scale = 1.0
    if claim.kind == "slope":
        is_error = (runs[[*SETTING, *ERRORS]] == list(cell)).all(axis=1)
        scale = slope_scale(1 - runs[is_error].groupby("perturbation")["label_dice"].mean())
    elif len(sides) == 2 and sides[0][:-1] != sides[1][:-1]:
        scale = np.sqrt(2)
    return Question(claim, structure, _gap(block, structure, shown, repeats), block, scale)


def _help(
    claim: Claim,
    structure: str,
    cell: tuple[str, ...],
    blocks: Callable[[Contrast, str], Blocks],
    shown: int,
    repeats: int,
) -> Question:
    """Return the question whether a cell scores higher than another, see `_question`."""
    better = blocks(_levels, dice_at(claim.at) if claim.at else claim.measure)
    other = (claim.dataset, structure, *claim.than) if claim.than else cell
    for side, found in ((cell, better), (other, blocks(_levels, claim.measure))):
        if side not in found or found[side].isna().all(axis=None):
            gap = f"no scores of {'/'.join(side[len(FAMILY) :])}"
            if side == cell and claim.at == "loss" and side in found:
                gap = "the recipe's loss implies no threshold"
            return Question(claim, structure, gap, pd.DataFrame())
    block = (better[cell] - blocks(_levels, claim.measure)[other]).dropna(how="all")
    return Question(claim, structure, _gap(block, structure, shown, repeats), block)


def _levels(runs: pd.DataFrame, values: pd.DataFrame) -> Blocks:
    return levels(values)


def _gap(block: pd.DataFrame, structure: str, shown: int, repeats: int) -> str:
    """Return why values cannot answer a claim, or ""."""
    if shown < 2:
        return f"{'one' if shown else 'no'} test case shows {structure}"
    if repeats < 2:
        return "one repeat"
    if len(block) < repeats:
        return f"scores of {len(block)} of {repeats} repeats"
    if block.isna().any(axis=None):
        return "some repeats lack test cases"
    if not np.ptp(block.to_numpy()):
        return "all values are equal"
    return ""


def _test(question: Question) -> dict[str, float]:
    """Return estimate, interval and p of a question; nothing where it has a gap."""
    if question.layout is None:
        return {}
    claim, layout = question.claim, question.layout
    error, df = layout.error()
    estimate, (low, high) = layout.estimate, layout.interval()
    if claim.margin is None:
        p = p_value(estimate - null(claim), error, df)
    elif estimate > claim.margin:
        p = p_value(estimate - claim.margin, error, df)
    else:
        p = float(stdtr(min(df, MANY), (abs(estimate) - claim.margin) / error))
    row = {"estimate": estimate, "low": low, "high": high, "df": df, "p": p}
    return {**row, "n": int(layout.repeats), "cases": layout.cases}


def _plan(claim: Claim, layout: Layout, level: float, undecided: bool) -> dict[str, float | str]:
    row: dict[str, float | str] = {"smallest_effect": finds(claim, level, *layout.error())}
    if undecided:
        chance = partial(power_of, claim, layout.estimate, level)
        row["repeats_needed"] = repeats_needed(layout, chance, int(layout.repeats) + 1)
    return row


def _agrees(claim: Claim, estimate: float) -> bool:
    """Return whether an estimate lies on the side that a claim says."""
    if claim.margin is not None:
        return estimate <= claim.margin
    return estimate < claim.below if claim.below is not None else estimate > null(claim)
