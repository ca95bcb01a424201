"""Which kind of label error is most like people who outlined the same objects.

Shape legend: Z slices, H height, W width, n slices, K statistics.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from labelnoise.config.rules import error_settings
from labelnoise.config.schema import canonical
from labelnoise.errors import InputError
from labelnoise.labels.drawing import OUTLINE_KINDS, CalibratedError, draw_volume
from labelnoise.labels.perturbations import perturb
from labelnoise.labels.raters.simulation import Hand, Subject, simulate
from labelnoise.labels.raters.statistics import STATISTICS, summarise
from labelnoise.labels.volume import Draw, LabelVolume

# As in a config, without severity. Those that draw nothing make raters who all agree, and those of
# whole objects none that outlined the same one.
ERRORS: dict[str, dict[str, Any]] = {
    "natural": {"kind": "natural"},
    "choppy": {"kind": "choppy"},
    "random": {"kind": "random"},
    "translation": {"kind": "translation"},
    "polygon, 12 clicks": {"kind": "polygon", "clicks": 12},
    "rater, all bias": {"kind": "rater", "bias_share": 1.0},
    "rater, all scatter": {"kind": "rater", "bias_share": 0.0},
}
MOST_OBJECTS = 12  # that kinds are compared on
TRIES = 24  # severities, at most
NEAR = 0.002  # pair Dice, to which kinds are brought to that of people


@dataclass(frozen=True)
class Likeness:
    """How like people a kind of label error is, at their pair Dice.

    Attributes:
        name: of the kind.
        severity: at which its raters have the median pair Dice of people; None if none has.
        distance: root mean square deviation of the statistics that have a goal, in goals.
        worst: words of the one that deviates most.
    """

    name: str
    severity: float | None
    distance: float = np.inf
    worst: str = ""


def compare_kinds(
    subjects: Sequence[Subject], settings: Mapping[str, Any], seed: int
) -> list[Likeness]:
    """Return how like people each kind is, the most alike first.

    Args:
        subjects: objects; MOST_OBJECTS of them, drawn by the seed, are taken.
        settings: those found for the kind `rater`.
        seed: of their choice and of the draws.
    """
    chosen = np.random.default_rng([seed, 3]).permutation(len(subjects))[:MOST_OBJECTS]
    subjects = [subjects[each] for each in sorted(chosen)]
    found = {key: value for key, value in settings.items() if key != "severity"}
    errors = {"rater, as found here": {"kind": "rater", **found}, **ERRORS}
    likenesses = [_likeness(subjects, name, error, seed) for name, error in errors.items()]
    return sorted(likenesses, key=lambda each: each.distance)


def hand_of_error(error: Mapping[str, Any]) -> Callable[[float], Hand]:
    """Return what makes of a severity the hand of an error, which is written as in a config."""
    completed = canonical({"perturbations": {"any": {**error, "severity": 1.0}}})
    kind = error["kind"]
    own = CalibratedError(
        kind, {}, {}, 0, settings=error_settings(completed["perturbations"]["any"])
    ).own_settings

    def of(severity: float) -> Hand:
        def whole(labels: LabelVolume, draw: Draw) -> np.ndarray:
            wanted = range(len(labels))
            return draw_volume(labels, kind, {1: severity}, draw, wanted, own).view(bool)

        def slice_by_slice(labels: LabelVolume, draw: Draw) -> np.ndarray:
            masks_ZHW = labels.labels_ZHW
            share = float(masks_ZHW.mean())
            wrong = [
                perturb(mask_HW, kind, severity, draw.of_slice(position), share)
                for position, mask_HW in enumerate(masks_ZHW)
            ]
            return np.stack(wrong).view(bool)

        return whole if kind in OUTLINE_KINDS else slice_by_slice

    return of


def _likeness(subjects, name, error, seed):
    real_K = summarise([each.real for each in subjects])
    median = list(STATISTICS).index("dice_50")
    people = max(each.people for each in subjects)
    of = hand_of_error(error)
    tried: dict[float, np.ndarray] = {}

    def gap(severity):
        if severity not in tried:
            tried[severity] = summarise(simulate(subjects, of(severity), people, seed))
        return tried[severity][median] - real_K[median]

    try:
        low, high = 0.0, 0.05
        while gap(high) > 0 and len(tried) < TRIES // 2:
            low, high = high, 2 * high
        while abs(gap(high)) > NEAR and len(tried) < TRIES:
            middle = (low + high) / 2
            low, high = (middle, high) if gap(middle) > 0 else (low, middle)
    except InputError:  # a severity beyond those that the kind has
        pass
    severity = min(tried, key=lambda each: abs(gap(each))) if tried else None
    goals = {name: each.goal for name, each in STATISTICS.items() if each.goal is not None}
    if severity is None or abs(gap(severity)) > goals["dice_50"]:
        return Likeness(name, None)
    at = [list(STATISTICS).index(key) for key in goals]
    off_K = np.abs(tried[severity] - real_K)[at] / np.array([*goals.values()])
    off_K = np.where(np.isfinite(real_K[at]), np.nan_to_num(off_K, nan=10.0), 0.0)
    worst = STATISTICS[[*goals][int(off_K.argmax())]].words
    return Likeness(name, severity, float(np.sqrt(np.mean(off_K**2))), worst)
