"""Fitting raters on some objects and judging the fit on the others; tables and a config's entry.

Shape legend: O objects, K statistics.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from labelnoise.errors import InputError
from labelnoise.labels.raters.fitting import (
    INTERVAL,
    SAMPLES,
    SETTINGS,
    Fit,
    fit,
    raters_of,
    resampled,
)
from labelnoise.labels.raters.kinds import Likeness, compare_kinds
from labelnoise.labels.raters.simulation import Subject, hand_of, simulate
from labelnoise.labels.raters.statistics import STATISTICS, Outlined, summarise
from labelnoise.labels.volume import Draw

LEAST_OBJECTS = 3
LEAST_TO_HOLD_OUT = 6  # objects, of which some are left out


@dataclass(frozen=True)
class Comparison:
    """Statistics of people and of simulated raters of the same objects, (K,) each.

    Attributes:
        objects: how many.
        real_K, simulated_K: in the order of STATISTICS.
        low_K, high_K: 95 % interval of `real_K`, by a bootstrap over objects.
    """

    objects: int
    real_K: np.ndarray
    simulated_K: np.ndarray
    low_K: np.ndarray
    high_K: np.ndarray

    def beyond_goal(self) -> np.ndarray:
        """Return which statistics deviate by more than their goal, (K,)."""
        goal_K = np.array([each.goal or np.inf for each in STATISTICS.values()])
        return np.abs(self.simulated_K - self.real_K) > goal_K

    def outside(self) -> np.ndarray:
        """Return which simulated statistics lie outside the interval of people's, (K,).

        That of `drift` is 0 by definition, and has none.
        """
        drawn = np.array([name != "drift" for name in STATISTICS])
        return ((self.simulated_K < self.low_K) | (self.simulated_K > self.high_K)) & drawn


@dataclass(frozen=True)
class Judgement:
    """A fit, and how well it describes objects that it was made of and others.

    Attributes:
        fit: settings of the kind `rater`.
        fitted: of the objects that it was made of.
        held_out: of those left out; None with few objects.
        label_dice: pooled Dice of simulated raters against the consensus.
        likenesses: other kinds, the most alike first.
    """

    fit: Fit
    fitted: Comparison
    held_out: Comparison | None
    label_dice: float
    likenesses: list[Likeness]


def judge(
    outlined: Sequence[Outlined],
    seed: int,
    share: float,
    with_kinds: bool = True,
    report: Callable[[str], None] = lambda line: None,
) -> Judgement:
    """Fit `rater` to people, leaving some objects out, and compare.

    Args:
        outlined: the objects.
        seed: of the choice of objects, the simulated raters and the bootstrap.
        share: of the objects that are left out, where there are LEAST_TO_HOLD_OUT or more.
        with_kinds: whether other kinds are compared too.
        report: told what goes on.

    Raises:
        InputError: there are fewer than LEAST_OBJECTS objects.
    """
    if len(outlined) < LEAST_OBJECTS:
        raise InputError(
            f"{len(outlined)} objects are outlined by two people or more, expected at least "
            f"{LEAST_OBJECTS}; give more objects."
        )
    report(f"reading the outlines of {len(outlined)} objects")
    subjects = [Subject(each) for each in outlined]
    number = round(share * len(subjects)) if len(subjects) >= LEAST_TO_HOLD_OUT else 0
    order = np.random.default_rng([seed, 4]).permutation(len(subjects))
    left_out = [subjects[each] for each in sorted(order[:number])]
    kept = [subjects[each] for each in sorted(order[number:])]
    found = fit(kept, seed, report)
    # Other random numbers than those that the fit has seen.
    fitted = _compare(kept, found, seed + 1)
    held_out = _compare(left_out, found, seed + 2) if left_out else None
    likenesses = []
    if with_kinds:
        report("comparing kinds of label error")
        likenesses = compare_kinds(subjects, found.settings, seed)
    return Judgement(found, fitted, held_out, _label_dice(kept, found, seed), likenesses)


def _compare(subjects, found, seed):
    real = [each.real for each in subjects]
    simulated = simulate(subjects, hand_of(found.settings), 2 * raters_of(subjects), seed)
    samples_BK = resampled(real, np.random.default_rng([seed, 5]), SAMPLES)
    told = np.isfinite(samples_BK)
    ends = [
        np.percentile(samples_K[told_K], INTERVAL) if told_K.any() else (-np.inf, np.inf)
        for samples_K, told_K in zip(samples_BK.T, told.T, strict=True)
    ]
    low_K, high_K = np.transpose(ends)
    return Comparison(len(subjects), summarise(real), summarise(simulated), low_K, high_K)


def _label_dice(subjects, found, seed):
    hand = hand_of(found.settings)
    common = total = 0
    for place, subject in enumerate(subjects):
        truth_ZHW = subject.labels.union(1).mask_ZHW
        wrong_ZHW = hand(subject.labels, Draw(seed + 3, 0, place, place))
        common += int(np.count_nonzero(truth_ZHW & wrong_ZHW))
        total += int(np.count_nonzero(truth_ZHW) + np.count_nonzero(wrong_ZHW))
    return 2 * common / total


def statistics_table(judgement: Judgement) -> str:
    """Return real, simulated and held-out statistics as a table in Markdown.

    `!` marks what misses: beyond the goal, or of objects left out outside the 95 % interval.
    """
    fitted, held_out = judgement.fitted, judgement.held_out
    head = ["statistic", f"people, {fitted.objects} objects", "simulated", "goal"]
    if held_out:
        head += [f"people, {held_out.objects} left out", "simulated"]
    rows = [head, ["---"] * len(head)]
    for at, statistic in enumerate(STATISTICS.values()):
        goal = "" if statistic.goal is None else f"within {statistic.goal:.2f}"
        row = [statistic.words, *_cells(fitted, at, fitted.beyond_goal()[at]), goal]
        if held_out:
            row += _cells(held_out, at, held_out.outside()[at])
        rows.append(row)
    return _markdown(rows)


def parameters_table(judgement: Judgement) -> str:
    """Return the settings and their intervals as a table in Markdown."""
    rows = [["setting", "found", "95 % interval"], ["---"] * 3]
    for name, value in judgement.fit.settings.items():
        low, high = judgement.fit.intervals[name]
        rows.append([name, f"{value:.3g}", f"{low:.3g} to {high:.3g}"])
    return _markdown(rows)


def kinds_table(judgement: Judgement) -> str:
    """Return which kind is most like these people as a table in Markdown."""
    rows = [["kind, at people's pair Dice", "severity", "distance in goals", "worst at"]]
    rows.append(["---"] * 4)
    for each in judgement.likenesses:
        if each.severity is None:
            rows.append([each.name, "none has their pair Dice", "", ""])
        else:
            rows.append([each.name, f"{each.severity:.3g}", f"{each.distance:.1f}", each.worst])
    return _markdown(rows)


def perturbation_yaml(
    name: str, judgement: Judgement, source: str, sizes: Sequence[float] = ()
) -> str:
    """Return an entry for a config's `perturbations`, or what a study of several sizes overlays.

    Args:
        name: of the perturbation.
        judgement: the fit.
        source: where the people's masks are, for the comment.
        sizes: label Dice of further entries; a matrix then selects these and the control.
    """
    dice = judgement.fitted.simulated_K[list(STATISTICS).index("dice_50")]
    lines = [
        f"# Fitted by `labelnoise fit-raters` on {judgement.fitted.objects} objects of {source}.",
        f"# On them its label Dice is {judgement.label_dice:.3f}, the median Dice of two raters "
        f"{dice:.3f};",
        "# for the same error at another size give target_dice in place of severity.",
        "perturbations:",
        f"  {name}:",
        "    kind: rater",
        *(f"    {key}: {_number(judgement.fit.settings[key])}" for key in SETTINGS),
    ]
    named = {f"{name}-{size:.2f}": size for size in sizes}
    for sized, size in named.items():
        lines += [f"  {sized}:", "    kind: rater", f"    target_dice: {size:g}"]
        shape = [key for key in SETTINGS if key != "severity"]
        lines += [f"    {key}: {_number(judgement.fit.settings[key])}" for key in shape]
    if named:
        # Claims that a study selects may be about other errors: all are asked that can be.
        lines += [
            "matrix:",
            f"  perturbation: [{', '.join(['control', *named])}]",
            "  claims: null",
        ]
    return "\n".join(lines) + "\n"


def name_of(text: str) -> str:
    """Return a name for a perturbation that a config takes, out of any text."""
    kept = re.sub(r"[^A-Za-z0-9_.-]+", "-", text).strip("-._")
    return kept[:100] or "raters"


def _number(value):
    return f"{value:.4f}".rstrip("0").rstrip(".") if abs(value) >= 1e-4 else "0"


def _cells(comparison, at, misses):
    real, simulated = comparison.real_K[at], comparison.simulated_K[at]
    if not np.isfinite(real):
        return ["-", "-"]
    low, high = comparison.low_K[at], comparison.high_K[at]
    return [f"{real:.3f} [{low:.3f}, {high:.3f}]", f"{simulated:.3f}{' !' if misses else ''}"]


def _markdown(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "| "
        + " | ".join(_filled(cell, width) for cell, width in zip(row, widths, strict=True))
        + " |"
        for row in rows
    )


def _filled(cell, width):
    return cell.ljust(width, "-" if cell == "---" else " ")
