"""How well a network's scores rank pixels: histograms of the log-odds, AUC, and ROC curves.

Shape legend: B bins, R checkpoints, S structures; an axis of 2 is negative, positive.
"""

from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from labelnoise.errors import InputError
from labelnoise.files import whole_file

FORMAT = "labelnoise-scores"
FORMAT_VERSION = 1
# An even number, so that log-odds of 0, the decision of `output.predict`, is an edge.
BINS = 2048
# Log-odds x fall into equal bins of x / (SCALE + |x|). A bin is 0.008 wide at 0 and 0.07 at 16, and
# the outermost ones reach to infinity, so that no score is cut off.
SCALE = 8.0
MEND = "delete it, so that the run is tested again"


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
        false_positive_rate, true_positive_rate = self.curve()
        return float(np.trapezoid(true_positive_rate, false_positive_rate))

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


def _rates(counts_B):
    """Return 0 and the running counts as shares of their sum, NaN where that is 0."""
    running = np.concatenate([[0], np.cumsum(counts_B)])
    return running / running[-1] if running[-1] else np.full(len(running), np.nan)


def write_scores(path: Path, histograms: dict[int, dict[str, ScoreHistogram]]) -> None:
    """Write the histograms of a run; the file appears whole or not at all.

    HDF5 as the study's other arrays, with gzip since most bins are empty: about 20 kB per run.
    Equal histograms give equal bytes.

    Args:
        path: the file: /counts (R, S, 2, B), /rank (R,), /structure (S,), and /edge (B + 1,), the
            log-odds between the bins.
        histograms: {rank: {structure: ScoreHistogram}}, the same structures in each rank.
    """
    structures = list(next(iter(histograms.values())))
    counts_RS2B = [[of[name].counts_2B for name in structures] for of in histograms.values()]
    with whole_file(path) as temporary, h5py.File(temporary, "w") as file:
        packed = {"compression": "gzip", "shuffle": True}
        file.create_dataset("counts", data=counts_RS2B, dtype=np.int64, **packed)
        file.create_dataset("edge", data=bin_edges(), dtype=np.float32, **packed)
        file["rank"] = np.array(list(histograms), np.int64)
        file["structure"] = np.array(structures, h5py.string_dtype("utf-8"))
        file.attrs["format"] = FORMAT
        file.attrs["format_version"] = FORMAT_VERSION


def bin_edges() -> np.ndarray:
    """Return the log-odds between the bins, B + 1 rising numbers from minus to plus infinity."""
    shares = np.linspace(-1, 1, BINS + 1)[1:-1]
    return np.array([-np.inf, *(SCALE * shares / (1 - np.abs(shares))), np.inf])


def read_scores(path: Path) -> dict[int, dict[str, ScoreHistogram]]:
    """Read back what `write_scores` wrote.

    Returns:
        {rank: {structure: ScoreHistogram}}.

    Raises:
        InputError: the file is missing, damaged, of another kind, or of another version.
    """
    try:
        with h5py.File(path) as file:
            found = (file.attrs.get("format"), file.attrs.get("format_version"))
            if found != (FORMAT, FORMAT_VERSION):
                raise InputError(
                    f"{path} has format {found[0]!r}, version {found[1]}; expected {FORMAT!r}, "
                    f"version {FORMAT_VERSION}; {MEND}."
                )
            counts_RS2B, ranks = file["counts"][:], file["rank"][:].tolist()
            structures = file["structure"].asstr()[:].tolist()
    except FileNotFoundError:
        raise InputError(f"{path} is missing; run snakemake, which tests the run again.") from None
    except (OSError, KeyError) as error:
        raise InputError(f"{path} is not a whole file of scores ({error}); {MEND}.") from None
    if counts_RS2B.shape != (len(ranks), len(structures), 2, BINS):
        raise InputError(
            f"{path} holds counts of shape {counts_RS2B.shape}, expected "
            f"{(len(ranks), len(structures), 2, BINS)}; {MEND}."
        )
    return {
        rank: dict(zip(structures, map(ScoreHistogram, counts_S2B), strict=True))
        for rank, counts_S2B in zip(ranks, counts_RS2B, strict=True)
    }
