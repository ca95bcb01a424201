"""Ceilings: what an ideal predictor scores that knows how often each pixel is wrongly labelled.

It sees no image. It knows P, the share of many draws of wrong labels in which a pixel is of the
structure, and decides as the optimum of a loss does. What it loses is lost to labels and loss
alone; what it would not lose if it decided at P > 1/2 is lost to the loss's threshold. Networks
under class_sampled_cross_entropy stay above their ceiling, since a network does not learn P of
each pixel: it explains, it does not predict.

Shape legend: S structures, H height, W width, G groups of draws, K numbers of draws, from 0 to all;
an axis of 2 is negative, positive.
"""

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from labelnoise import counts
from labelnoise.data.storage import Dataset
from labelnoise.files import read_json, write_csv
from labelnoise.labels.dataset import NONE_GIVEN, calibrated_error, read_given
from labelnoise.labels.drawing import Drawer
from labelnoise.seeds import ceiling_seed
from labelnoise.study import Perturbation
from labelnoise.training.decision import background_share, decision_odds

log = logging.getLogger(__name__)

# Draws are doubled until each Dice of a ceiling has a standard error below this and has changed by
# less at the last doubling. No spread shows a bias: with few draws some pixels of small P are found
# above a low threshold by chance, always about as many.
TOLERANCE = 0.002
FEWEST_DRAWS = 64
MOST_DRAWS = 1024
# Up to so much memory a doubling goes on from the draws before it; beyond, it draws them again.
KEPT_BYTES = 1024**3
# Of draws, each left out in turn; an even number, as half of the groups are half of the draws.
GROUPS = 8


@dataclass(frozen=True, eq=False)
class ShareHistogram:
    """Test pixels by the share P of draws in which they are labelled as one structure.

    counts_2K: int64, pixels in k of K - 1 draws; first those that truly are not of the structure.
    """

    counts_2K: np.ndarray

    @property
    def draws(self) -> int:
        """Number of draws."""
        return self.counts_2K.shape[1] - 1

    @property
    def shares_K(self) -> np.ndarray:
        """P of each column, rising from 0 to 1."""
        return np.arange(self.draws + 1) / self.draws

    def overlap(self, threshold: float) -> np.ndarray:
        """Return tp, fp, fn, tn of painting where P is above a threshold, against true labels.

        Returns:
            (4,), in pixels; NaN where the threshold is.
        """
        if np.isnan(threshold):
            return np.full(4, np.nan)
        return self._weigh(self.shares_K > threshold)

    def label_overlap(self) -> np.ndarray:
        """Return the mean tp, fp, fn, tn of one draw against true labels, (4,)."""
        return self._weigh(self.shares_K)

    def _weigh(self, painted_K):
        fp, tp = self.counts_2K @ painted_K
        tn, fn = self.counts_2K @ (1 - painted_K)
        return np.array([tp, fp, fn, tn])

    def best_label_dice(self) -> float:
        """Return the largest expected Dice against the wrong labels that any threshold reaches.

        Returns:
            0 to 1, the ratio of expected counts; NaN if no draw holds the structure.
        """
        pixels_K = self.counts_2K.sum(axis=0)
        labelled_K = pixels_K * self.shares_K
        painted_K, right_K = (np.cumsum(each[::-1]) for each in (pixels_K, labelled_K))
        volume = labelled_K.sum()
        return float((2 * right_K / (painted_K + volume)).max()) if volume else float("nan")


# How often a pixel was found, up to MOST_DRAWS.
TALLY = np.uint16
# By row: the number of draws so far, and how often their groups found each pixel, (G, S, H, W).
Kept = dict[int, tuple[int, np.ndarray]]
# From the histogram of a structure to the P above which it is painted.
Rule = Callable[[ShareHistogram], float]


def loss_rule(loss: str | None, share: float, histogram: ShareHistogram) -> float:
    """Return the P above which the optimum of a loss paints a structure.

    Cross-entropy decides at 1/2, cross-entropy over a share q of the background at q / (1 + q), see
    `decision.decision_odds`. Soft Dice is largest for whole masks, which paint P above half the
    largest expected Dice (Lipton, Elkan, Narayanaswamy, "Optimal thresholding of classifiers to
    maximize F1 measure", ECML PKDD 2014), pooled over all pixels and without the loss's `smooth`.
    Each structure is decided against all else, as scores are: exact for one structure, and where
    pixels are hardly ever claimed by two.

    Args:
        loss: name of the loss, see `losses.make_loss`, or None, see `Recipe.deciding_loss`.
        share: share of the background that `class_sampled_cross_entropy` keeps, above 0 to 1.
        histogram: the structure's pixels.

    Returns:
        0 to 1; NaN for other losses, whose decision is not known to us, and for soft Dice where no
        draw holds the structure.
    """
    if loss == "dice":
        return histogram.best_label_dice() / 2
    odds = decision_odds(loss, share)
    return float("nan") if odds is None else odds / (1 + odds)


def half_rule(histogram: ShareHistogram) -> float:
    """Return 1/2, where a structure is painted that most labels hold."""
    return 0.5


@dataclass(frozen=True, eq=False)
class Drawn:
    """The pixels of one structure under all draws, and under parts of them, to say how sure P is.

    Attributes:
        whole: under all draws.
        half: under half of them.
        without: under all but one group, for each group.
    """

    whole: ShareHistogram
    half: ShareHistogram
    without: list[ShareHistogram]

    def standard_error(self, rule: Rule) -> float:
        """Return the standard error of a rule's Dice, from the jackknife that leaves out a group.

        Efron, "The Jackknife, the Bootstrap and Other Resampling Plans", 1982, chapter 3. It is
        about other draws of the same slices. Pixels cross a threshold one by one, in steps, which
        makes it too large rather than too small: up to threefold in simulation.
        """
        return float(np.std([_dice(part, rule) for part in self.without]) * np.sqrt(GROUPS - 1))

    def change(self, rule: Rule) -> float:
        """Return how far a rule's Dice is from that of half the draws, 0 or more.

        A bias that falls as 1 / draws is as large as this, one that falls as 1 / sqrt(draws) 2.4
        times as large: `choppy`, which moves by whole pixels, gives many pixels the same P, and a
        threshold near it parts them slowly.
        """
        return abs(_dice(self.whole, rule) - _dice(self.half, rule))


def _dice(histogram, rule):
    return float(counts.dice(histogram.overlap(rule(histogram))))


def estimate_ceiling(
    dataset: Path,
    calibration: Path,
    perturbation: Perturbation,
    losses: Mapping[str, tuple[str | None, float | None]],
    seed: int,
    path: Path,
    given: Mapping[str, Path] = NONE_GIVEN,
) -> None:
    """Write the ceilings of all recipes under one perturbation, on the clean labels of test slices.

    The table has a row per recipe and structure: dataset, perturbation, recipe, structure;
    `threshold`, the P above which the recipe's loss paints (see `loss_rule`), and what that scores,
    pooled over all test pixels: `dice`, `precision`, `recall`, `volume_ratio`, and of Dice
    `standard_error` and `change_on_doubling`; the same with `_at_half` for P > 1/2, whatever the
    loss; `label_dice`, the Dice of one draw itself, as a ratio of expected counts, which is what a
    network scores that memorises fixed labels; and `draws`. Scores of a loss whose decision is not
    known are NaN. Test slices without given labels are left out, where the perturbation takes such.

    Args:
        dataset: the dataset file.
        calibration: the JSON file that `calibrate_dataset` wrote, which also names the error.
        perturbation: its definition.
        losses: {recipe: its `deciding_loss`, and its own share of background}.
        seed: the study's seed.
        path: the CSV file.
        given: the files of the given labels that the perturbation takes, by name.
    """
    calibrated = read_json(calibration, ("perturbation", "structures"))
    name = calibrated["perturbation"]
    with Dataset(dataset) as data:
        own_seed = ceiling_seed(seed, data.name, name)
        structures, sources = calibrated["structures"], read_given(given)
        error = calibrated_error(data, perturbation, structures, own_seed, sources)
        rules = {
            recipe: partial(loss_rule, loss, background_share(share, data))
            for recipe, (loss, share) in losses.items()
        }
        draws = FEWEST_DRAWS if error.is_random else GROUPS
        kept: Kept | None = {} if _size_of_kept(data) <= KEPT_BYTES else None
        while True:
            table = _tabulate(data, draws, Drawer(data, error), rules, kept)
            largest = table.filter(regex="^(standard_error|change)").max(axis=None)
            log.info("%d draws: an error of at most %.4f", draws, largest)
            # NaN if no test slice, true or drawn, holds a structure.
            if draws == MOST_DRAWS or not largest >= TOLERANCE:
                break
            draws *= 2
    if largest >= TOLERANCE:
        log.warning("an error of %.4f is left; see the table's columns", largest)
    for recipe, (loss, _) in losses.items():
        if np.isnan(table["threshold"][table["recipe"] == recipe]).all():
            log.warning("recipe %s: where %s decides is not known", recipe, loss or "it")
    table.insert(0, "dataset", calibrated["dataset"])
    table.insert(1, "perturbation", name)
    write_csv(path, table)


def _draw(drawer, labels_1HW, draw, rows):
    return drawer.labels(rows, draw, labels_1HW)


def _size_of_kept(data):
    """Return the bytes of what `count_shares` keeps of a dataset's test slices."""
    pixels = len(data.rows("test")) * int(np.prod(data.shape))
    return pixels * (len(data.class_names) - 1) * GROUPS * np.dtype(TALLY).itemsize


def _tabulate(data, draws, drawer, rules, kept):
    """Return the table of `estimate_ceiling`, without dataset and perturbation."""
    rows, draw = data.rows("test"), partial(_draw, drawer)
    slices = ((int(row), data.read_labels([row])[0]) for row in rows[drawer.knows(rows)])
    names = data.class_names[1:]
    found = dict(zip(names, count_shares(slices, draw, draws, len(names), kept), strict=True))
    return pd.DataFrame(
        {
            "recipe": recipe,
            "structure": structure,
            **score(drawn, rule),
            **{f"{key}_at_half": value for key, value in score(drawn, half_rule).items()},
            "label_dice": counts.dice(drawn.whole.label_overlap()),
            "draws": draws,
        }
        for recipe, rule in rules.items()
        for structure, drawn in found.items()
    ).drop(columns="threshold_at_half")


def score(drawn: Drawn, rule: Rule) -> dict[str, float]:
    """Return what a rule scores against true labels, and how sure that is.

    Returns:
        threshold, dice, precision, recall, volume_ratio, standard_error and change_on_doubling, the
        latter two of Dice; NaN where `counts` has it, all NaN if the rule gives NaN.
    """
    threshold = rule(drawn.whole)
    overlap = drawn.whole.overlap(threshold)
    return {
        "threshold": threshold,
        "dice": float(counts.dice(overlap)),
        "precision": float(counts.precision(overlap)),
        "recall": float(counts.recall(overlap)),
        "volume_ratio": float(counts.volume_ratio(overlap)),
        "standard_error": drawn.standard_error(rule),
        "change_on_doubling": drawn.change(rule),
    }


def count_shares(
    slices: Iterable[tuple[int, np.ndarray]],
    draw: Callable[..., np.ndarray],
    draws: int,
    structures: int,
    kept: Kept | None = None,
) -> list[Drawn]:
    """Draw the labels of slices many times and count pixels by how often they hold a structure.

    Slices are taken one at a time, so memory grows neither with their number nor with the draws,
    unless something is kept.

    Args:
        slices: (row, true labels (H, W), class indices) of each.
        draw: a function (labels_1HW, draw=, rows=) -> wrong labels_1HW, see `Drawer.labels`.
        draws: how many, a multiple of GROUPS.
        structures: number of class indices from 1 on.
        kept: what a call with fewer draws left here of each slice, which this one goes on from and
            replaces; None keeps nothing.

    Returns:
        Drawn of each class index from 1 on.
    """
    group = draws // GROUPS
    whole_S2K = np.zeros((structures, 2, draws + 1), np.int64)
    half_S2K = np.zeros((structures, 2, draws // 2 + 1), np.int64)
    without_GS2K = np.zeros((GROUPS, structures, 2, draws - group + 1), np.int64)
    indices_S11 = np.arange(1, structures + 1)[:, None, None]
    for row, labels_HW in slices:
        nothing_GSHW = np.zeros((GROUPS, structures, *labels_HW.shape), TALLY)
        done, found_GSHW = (kept or {}).get(row, (0, nothing_GSHW))
        for number in range(done, draws):
            wrong_1HW = draw(labels_HW[None], draw=number, rows=[row])
            found_GSHW[number % GROUPS] += wrong_1HW == indices_S11
        if kept is not None:
            kept[row] = (draws, found_GSHW)
        found_SHW = found_GSHW.sum(axis=0)
        truth_SHW = labels_HW == indices_S11
        whole_S2K += _histograms(found_SHW, truth_SHW, draws)
        half_S2K += _histograms(found_GSHW[: GROUPS // 2].sum(axis=0), truth_SHW, draws // 2)
        for left_out, own_SHW in enumerate(found_GSHW):
            without_GS2K[left_out] += _histograms(found_SHW - own_SHW, truth_SHW, draws - group)
    return [
        Drawn(
            ShareHistogram(whole_S2K[place]),
            ShareHistogram(half_S2K[place]),
            [ShareHistogram(part_2K) for part_2K in without_GS2K[:, place]],
        )
        for place in range(structures)
    ]


def _histograms(found_SHW, truth_SHW, draws):
    """Return counts of negative and positive pixels by how often they were found, (S, 2, K)."""
    columns = draws + 1
    places_SHW = found_SHW.astype(np.intp) + columns * truth_SHW
    return np.stack(
        [np.bincount(each.ravel(), minlength=2 * columns).reshape(2, -1) for each in places_SHW]
    )
