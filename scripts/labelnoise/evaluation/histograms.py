"""How well a network's scores rank pixels: histograms of the log-odds, and what follows from them.

Shape legend: B bins, C cases, S structures; an axis of 2 is negative, positive, an axis of 4 the
counts of `labelnoise.counts`.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import h5py
import numpy as np

from labelnoise.data.checksums import (
    DAMAGED,
    create,
    read_attributes,
    write_array,
    write_attributes,
    write_texts,
)
from labelnoise.errors import InputError
from labelnoise.files import whole_file

FORMAT = "labelnoise-scores"
# Files of version 2 have no checksums.
FORMAT_VERSION = 3
# An even number, so that log-odds of 0, the decision of `output.predict`, is an edge.
BINS = 2048
# Log-odds x fall into equal bins of x / (SCALE + |x|). A bin is 0.008 wide at 0 and 0.07 at 16, and
# the outermost ones reach to infinity, so that no score is cut off.
SCALE = 8.0
# Thresholds on the log-odds other than 0, which is a probability of 0.5; see `threshold_edges`.
THRESHOLDS = ("loss", "clean", "perturbed", "best")
# Whose labels a threshold may be chosen on: a recipe's `validation_labels`.
VALIDATION = ("clean", "perturbed")
MEND = "delete it, so that the run is tested again"


@dataclass(frozen=True, eq=False)
class RunScores:
    """What the chosen checkpoint of a run says of test and validation slices.

    Attributes:
        rank: of the checkpoint.
        structures, cases: names, the cases those of the test split.
        test_SC2B: histograms against the clean test labels.
        apparent_SC4: counts at probability 0.5 against test labels as wrong as the training labels.
        validation_S2B: {labels: histograms}, against "clean" validation labels and "perturbed"
            ones, as wrong as the training labels.
        loss_threshold: log-odds at which the optimum of the loss has a probability of 0.5, NaN
            where that is unknown; see `decision.decision_odds`.
        digests: {name: SHA-256} of the files that were written with it.
    """

    rank: int
    structures: list[str]
    cases: list[str]
    test_SC2B: np.ndarray
    apparent_SC4: np.ndarray
    validation_S2B: dict[str, np.ndarray]
    loss_threshold: float
    digests: Mapping[str, str] = field(default_factory=dict)

    def histogram(self, structure: str) -> "ScoreHistogram":
        """Return the histogram of all test pixels of a structure."""
        return ScoreHistogram(self.test_SC2B[self.structures.index(structure)].sum(axis=0))


@dataclass(frozen=True, eq=False)
class ScoreHistogram:
    """Counts of negative and positive pixels in bins of the log-odds of one structure.

    Its size does not depend on the number of pixels; pixels of one bin count as tied.

    counts_2B: int64, negatives first, bins in rising order of the score; see `score.bin_log_odds`.
    """

    counts_2B: np.ndarray

    @property
    def positives(self) -> int:
        """Number of positive pixels."""
        return int(self.counts_2B[1].sum())

    @property
    def negatives(self) -> int:
        """Number of negative pixels."""
        return int(self.counts_2B[0].sum())

    def auc(self) -> float:
        """Return the area under the ROC curve.

        It is the chance that a positive pixel scores higher than a negative one, a tie counting
        half (Mann-Whitney).

        Returns:
            0 to 1; NaN if there are no positives or no negatives.
        """
        return float(auc(self.counts_2B))

    def curve(self) -> tuple[np.ndarray, np.ndarray]:
        """Return false and true positive rates as the threshold falls from the top bin to the last.

        Returns:
            Two arrays of BINS + 1 numbers, from 0 to 1; NaN as `auc`.
        """
        negatives_B, positives_B = self.counts_2B[:, ::-1]
        return _rates(negatives_B), _rates(positives_B)

    def decision(self) -> tuple[float, float]:
        """Return the false and true positive rate at probability 0.5, where masks are scored.

        NaN as `auc`.
        """
        false_positive_rate, true_positive_rate = self.curve()
        return float(false_positive_rate[BINS // 2]), float(true_positive_rate[BINS // 2])


def auc(counts_2B: np.ndarray) -> np.ndarray:
    """Return the area under the ROC curve of histograms (..., 2, B); see `ScoreHistogram.auc`."""
    negatives, positives = _rates(counts_2B[..., 0, ::-1]), _rates(counts_2B[..., 1, ::-1])
    return np.trapezoid(positives, negatives, axis=-1)


def average_precision(counts_2B: np.ndarray) -> np.ndarray:
    """Return the average precision of histograms (..., 2, B): mean precision over the recall.

    The sum over falling thresholds of precision times the rise of recall, as scikit-learn has it,
    the pixels of one bin together. Easy background counts only where it scores above foreground,
    so this tells networks apart that the AUC does not.

    Returns:
        (...), 0 to 1; NaN without positives.
    """
    negatives_B, positives_B = (counts_2B[..., row, ::-1].astype(float) for row in (0, 1))
    above = np.cumsum(positives_B, axis=-1)
    predicted = above + np.cumsum(negatives_B, axis=-1)
    precision = np.divide(above, predicted, out=np.zeros_like(above), where=predicted > 0)
    total = above[..., -1]
    with np.errstate(invalid="ignore"):
        return (precision * positives_B).sum(axis=-1) / total


def area_values(
    counts_C2B: np.ndarray, area: Callable[[np.ndarray], np.ndarray] = auc
) -> np.ndarray:
    """Return values per case whose mean is an area over the pixels of all cases.

    An area is no ratio of sums; the influence of a case is what the area of the others lacks of the
    whole (jackknife, Efron and Stein 1981, centred so that the mean is the area itself).

    Args:
        counts_C2B: histograms of each case.
        area: `auc` or `average_precision`.

    Returns:
        (C,); NaN for all if the area is undefined, or is so without one of the cases.
    """
    total_2B = counts_C2B.sum(axis=0)
    whole, cases = area(total_2B), len(counts_C2B)
    if cases < 2:
        return np.full(cases, whole)
    without_C = area(total_2B - counts_C2B)
    return whole + (cases - 1) * (without_C.mean() - without_C)


def counts_above(counts_2B: np.ndarray, edge: np.ndarray | int) -> np.ndarray:
    """Return tp, fp, fn, tn of histograms (..., 2, B) where what is above an edge is predicted.

    Args:
        counts_2B: histograms.
        edge: index into `bin_edges`, 0 to B: the number of bins below the threshold.

    Returns:
        int64 (..., 4).
    """
    above_2 = counts_2B[..., edge:].sum(axis=-1)
    fp, tp = above_2[..., 0], above_2[..., 1]
    total_2 = counts_2B.sum(axis=-1)
    return np.stack([tp, fp, total_2[..., 1] - tp, total_2[..., 0] - fp], axis=-1)


def best_edge(counts_2B: np.ndarray) -> int:
    """Return the edge whose Dice is highest, of equal ones that nearest to a probability of 0.5.

    Args:
        counts_2B: one histogram. Without positives, for which no threshold is better than another
            that predicts nothing, the edge of 0.5.
    """
    above_2B = np.concatenate([np.cumsum(counts_2B[:, ::-1], axis=1)[:, ::-1], [[0], [0]]], axis=1)
    fp_B, tp_B = above_2B
    positives = tp_B[0]
    if not positives:
        return BINS // 2
    found_B = 2 * tp_B / (tp_B + fp_B + positives)
    best = np.flatnonzero(found_B == found_B.max())
    return int(best[np.abs(best - BINS // 2).argmin()])


def nearest_edge(log_odds: float) -> int:
    """Return the edge nearest to a threshold on the log-odds, which may be infinite."""
    share = log_odds / (SCALE + abs(log_odds)) if np.isfinite(log_odds) else np.sign(log_odds)
    return round((share + 1) / 2 * BINS)


def threshold_edges(scores: RunScores, place: int) -> dict[str, int | None]:
    """Return the edges at which a structure may be decided instead of at a probability of 0.5.

    With several structures each has its own threshold on its log-odds against the rest, so that a
    pixel may be of several or of none.

    Args:
        scores: of a run.
        place: of the structure in `scores.structures`.

    Returns:
        {threshold: edge}, see THRESHOLDS: `loss`, which the recipe's loss implies (None where that
        is unknown); `clean` and `perturbed`, best on validation slices against clean labels and
        against wrong ones; `best`, best on test slices: a bound, never a result.
    """
    implied = scores.loss_threshold
    chosen = {labels: best_edge(counts[place]) for labels, counts in scores.validation_S2B.items()}
    best = best_edge(scores.test_SC2B[place].sum(axis=0))
    return {"loss": None if np.isnan(implied) else nearest_edge(implied), **chosen, "best": best}


def _rates(counts_B):
    """Return 0 and the running counts as shares of their sum, NaN where that is 0."""
    running = np.cumsum(counts_B, axis=-1, dtype=float)
    running = np.concatenate([np.zeros_like(running[..., :1]), running], axis=-1)
    with np.errstate(invalid="ignore"):
        return running / running[..., -1:]


def write_scores(path: Path, scores: RunScores) -> None:
    """Write the scores of a run; the file appears whole or not at all.

    HDF5 as the study's other arrays, with gzip since most bins are empty. Equal scores give equal
    bytes.

    Args:
        path: the file: /test (S, C, 2, B), /apparent (S, C, 4), /validation/clean and
            /validation/perturbed (S, 2, B), /structure (S,), /case (C,), and /edge (B + 1,), the
            log-odds between the bins.
        scores: what it holds.
    """
    arrays = {"test": scores.test_SC2B, "apparent": scores.apparent_SC4}
    arrays |= {f"validation/{labels}": found for labels, found in scores.validation_S2B.items()}
    with whole_file(path) as temporary, create(temporary) as file:
        for name, counts in arrays.items():
            write_array(file, name, counts.astype(np.int64))
        write_array(file, "edge", bin_edges().astype(np.float32))
        write_texts(file, "structure", scores.structures)
        write_texts(file, "case", scores.cases)
        attributes = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "rank": scores.rank,
            "loss_threshold": scores.loss_threshold,
            "digests": json.dumps(dict(scores.digests), sort_keys=True),
        }
        write_attributes(file, attributes)


@cache
def bin_edges() -> np.ndarray:
    """Return the log-odds between the bins, B + 1 rising numbers from minus to plus infinity."""
    shares = np.linspace(-1, 1, BINS + 1)[1:-1]
    edges = np.array([-np.inf, *(SCALE * shares / (1 - np.abs(shares))), np.inf])
    # All callers share it.
    edges.setflags(write=False)
    return edges


def read_scores(path: Path) -> RunScores:
    """Read back what `write_scores` wrote.

    Raises:
        InputError: the file is missing, damaged, of another kind, or of another version.
    """
    try:
        with h5py.File(path) as file:
            attrs = read_attributes(file)
            found = (attrs.get("format"), attrs.get("format_version"))
            if found != (FORMAT, FORMAT_VERSION):
                raise InputError(
                    f"{path} has format {found[0]!r}, version {found[1]}; expected {FORMAT!r}, "
                    f"version {FORMAT_VERSION}; {MEND}."
                )
            scores = RunScores(
                rank=int(attrs["rank"]),
                structures=file["structure"].asstr()[:].tolist(),
                cases=file["case"].asstr()[:].tolist(),
                test_SC2B=file["test"][:],
                apparent_SC4=file["apparent"][:],
                validation_S2B={name: file["validation"][name][:] for name in VALIDATION},
                loss_threshold=float(attrs["loss_threshold"]),
                digests=json.loads(attrs["digests"]),
            )
    except FileNotFoundError:
        raise InputError(f"{path} is missing; run snakemake, which tests the run again.") from None
    except InputError:
        raise
    except DAMAGED as error:
        raise InputError(f"{path} is not a whole file of scores ({error}); {MEND}.") from None
    sizes = (len(scores.structures), len(scores.cases))
    shapes = [scores.test_SC2B.shape, scores.apparent_SC4.shape]
    shapes += [counts.shape for counts in scores.validation_S2B.values()]
    expected = [(*sizes, 2, BINS), (*sizes, 4)] + [(sizes[0], 2, BINS)] * len(VALIDATION)
    if shapes != expected:
        raise InputError(f"{path} holds counts of shapes {shapes}, expected {expected}; {MEND}.")
    return scores
