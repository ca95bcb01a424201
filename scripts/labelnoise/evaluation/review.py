"""Which detector finds which label error, and what looking again at the first suspects mends.

Detectors are graded as rankings, by slice and by case; a case is as suspicious as its slices on
average. Where suspicions are equal, every order of them counts alike: what is returned is the mean
over all such orders.

Shape legend: M units (slices or cases) in review, K places on a curve.
"""

import io
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from labelnoise.counts import dice
from labelnoise.errors import InputError
from labelnoise.evaluation.tables import spread
from labelnoise.files import read_json
from labelnoise.folds import base_of
from labelnoise.labels.mending import IDEAL, RANDOM
from labelnoise.study import Results, Run

# What runs of repeats share.
KEYS = ["dataset", "model", "recipe", "perturbation"]
COUNTS = ["tp", "fp", "fn"]
UNITS = ("slice", "case")
# Share of the units that is looked at, in `precision` and `regained`, and the share that is wrong
# where all are to some degree: those of the lowest label Dice.
SHARE = 0.1
# What a wrong unit is.
CHANGED, WORST = "changed", "worst tenth"
MEASURES = ("auroc", "precision", "correlation", "regained")
# Shares of the units at which curves are known.
PLACES = np.linspace(0, 1, 41)


def auroc(suspicion_M: np.ndarray, is_wrong_M: np.ndarray) -> float:
    """Return the chance that a wrong unit is more suspicious than a right one, ties counting half.

    NaN where there are none of either.
    """
    from scipy.stats import rankdata

    wrong = int(is_wrong_M.sum())
    right = len(is_wrong_M) - wrong
    if not wrong or not right:
        return np.nan
    ranks_M = rankdata(suspicion_M)
    return float((ranks_M[is_wrong_M].sum() - wrong * (wrong + 1) / 2) / (wrong * right))


def precision_among(suspicion_M: np.ndarray, is_wrong_M: np.ndarray, share: float) -> float:
    """Return which share of the most suspicious units is wrong.

    Args:
        suspicion_M: of each unit.
        is_wrong_M: bool.
        share: of the units that are looked at, rounded to whole ones, at least one.
    """
    looked_at = max(1, round(share * len(is_wrong_M)))
    return float(_found(suspicion_M, is_wrong_M.astype(float))[looked_at] / looked_at)


def rank_correlation(suspicion_M: np.ndarray, error_M: np.ndarray) -> float:
    """Return Spearman's correlation of suspicion and error; NaN where either is constant."""
    from scipy.stats import rankdata

    ranks_2M = np.stack([rankdata(suspicion_M), rankdata(error_M)])
    spread_2 = ranks_2M.std(axis=1)
    return float(np.corrcoef(ranks_2M)[0, 1]) if spread_2.all() else np.nan


def mending_curve(
    suspicion_M: np.ndarray, counts_M3: np.ndarray, shares_K: np.ndarray = PLACES
) -> np.ndarray:
    """Return label Dice when the labels of the most suspicious units are replaced by the reference.

    Args:
        suspicion_M: of each unit.
        counts_M3: tp, fp and fn of its label against the reference.
        shares_K: of the units whose labels are looked at and mended, 0 to 1; between whole units
            counts are interpolated.

    Returns:
        Label Dice of all units together, (K,).
    """
    changes_M3 = np.stack([counts_M3[:, 2], -counts_M3[:, 1], -counts_M3[:, 2]], axis=1)
    places_K, whole = shares_K * len(counts_M3), np.arange(len(counts_M3) + 1)
    mended_K3 = np.stack(
        [
            total + np.interp(places_K, whole, _found(suspicion_M, changes_M))
            for total, changes_M in zip(counts_M3.sum(axis=0), changes_M3.T, strict=True)
        ],
        axis=1,
    )
    return dice(np.concatenate([mended_K3, np.zeros((len(mended_K3), 1))], axis=1))


def _found(suspicion_M, values_M):
    """Return the sum of values over the first 0, 1 ... M units, those of equal ones shared out."""
    order_M = np.argsort(-suspicion_M, kind="stable")
    _, group_M = np.unique(-suspicion_M[order_M], return_inverse=True)
    sums = np.bincount(group_M, values_M[order_M])
    return np.concatenate([[0.0], np.cumsum((sums / np.bincount(group_M))[group_M])])


def read_suspects(runs: Iterable[Run], results: Results, detectors: Iterable[str]) -> pd.DataFrame:
    """Read what detectors say of the slices of some runs.

    Returns:
        One row per slice of each run: the run's names, of folds its dataset's and `fold`, `kind`
        and `draws` of its label error, and the columns that `suspects.rank_suspects` writes.

    Raises:
        InputError: a file is missing, cut short or lacks a detector.
    """
    tables = []
    for run in runs:
        table = _read_suspects(results.run_folder(run).suspects, [*COUNTS, *detectors])
        measured = read_json(results.fill(results.measured, run), ("kind", "draws"))
        names = asdict(run) | {"dataset": base_of(run.dataset), "fold": run.dataset}
        names |= {"kind": measured.get("family", measured["kind"]), "draws": str(measured["draws"])}
        tables.append(table.assign(**names))
    if not tables:
        raise InputError("the study selects no label error, so there is nothing to review.")
    return pd.concat(tables, ignore_index=True)


def _read_suspects(path: Path, numbers: list[str]) -> pd.DataFrame:
    mend = "delete it, so that the run is reviewed again"
    try:
        text = path.read_text(encoding="utf-8")
        table = pd.read_csv(
            io.StringIO(text), dtype={"case": str}, keep_default_na=False, na_values=[""]
        )
    except FileNotFoundError:
        raise InputError(f"{path} is missing; run the study's step that writes it.") from None
    except (ValueError, pd.errors.ParserError) as error:
        raise InputError(f"{path} is not a table of suspects ({error}); {mend}.") from None
    missing = [name for name in ["case", "slice", "split", *numbers] if name not in table]
    if missing:
        raise InputError(f"{path} lacks the columns {', '.join(missing)}; {mend}.")
    if table[numbers].isna().any(axis=None) or not text.endswith("\n"):
        raise InputError(f"{path} is cut short, or a number in it is missing; {mend}.")
    return table


def grade_detectors(
    slices: pd.DataFrame, detectors: list[str]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Grade detectors on the slices of a study's runs.

    Args:
        slices: what `read_suspects` returns.
        detectors: the columns to grade.

    Returns:
        A table with one row per cell of the study (KEYS), `split` of the slices (train: the network
        was trained on these labels; test: it has never seen them), `unit` (slice or case) and
        `detector`, IDEAL and RANDOM behind the others. `truth` is what a wrong unit is: CHANGED,
        any pixel of it, where that is at most half of them, else WORST, the tenth of the lowest
        label Dice. `wrong` is their share, `label_dice` that of all labels, both means over
        repeats. `auroc` is the area under the ROC curve; `precision` the share of wrong ones among
        the most suspicious SHARE; `correlation` Spearman's, with 1 - label Dice; `regained` the
        share of the lost label Dice that comes back when the most suspicious SHARE is mended. All
        are `..._mean` and `..._sd` over `n` repeats.

        And the curves: for the same rows and each `share` of units looked at, `label_dice_mean` and
        `label_dice_sd` after these are mended.

    Of datasets with folds, test cases of all folds are one set, as each is tested once; training
    slices are graded fold by fold, and a repeat's grade is the mean over its folds.
    """
    rows, curves = [], []
    for key, cell in slices.groupby(KEYS, sort=False):
        names = dict(zip(KEYS, key, strict=True))
        names |= {name: cell[name].iloc[0] for name in ("kind", "draws")}
        for split, of_split in cell.groupby("split", sort=False):
            for unit in UNITS:
                of_repeats = _sets(of_split, split, unit, detectors)
                truth = _truth(of_repeats)
                known = {**names, "split": split, "unit": unit}
                graded = {
                    repeat: _mean([_grade(units, detectors, truth) for units in sets])
                    for repeat, sets in of_repeats.items()
                }
                rows += _rows(known, truth, of_repeats, graded)
                curves += _curves(known, graded)
    return pd.DataFrame(rows), pd.DataFrame(curves)


def _sets(slices, split, unit, detectors) -> dict[int, list[pd.DataFrame]]:
    """Return the units that are ranked together, of each repeat."""
    apart = ["repeat", "fold"] if split == "train" else ["repeat"]
    found: dict[int, list[pd.DataFrame]] = {}
    for key, units in slices.groupby(apart, sort=False):
        if unit == "case":
            ways = dict.fromkeys(COUNTS, "sum") | dict.fromkeys(detectors, "mean")
            units = units.groupby("case", sort=False).agg(ways)
        found.setdefault(key[0], []).append(units)
    return found


def _label_dice(units: pd.DataFrame) -> np.ndarray:
    """Return label Dice of each unit, (M,): 1 where neither label nor reference has a structure."""
    return np.nan_to_num(dice(units[COUNTS].assign(tn=0).to_numpy()), nan=1.0)


def _truth(of_repeats) -> str:
    shares = [(_label_dice(units) < 1).mean() for sets in of_repeats.values() for units in sets]
    return CHANGED if np.mean(shares) <= 0.5 else WORST


def _is_wrong(label_dice_M: np.ndarray, truth: str) -> np.ndarray:
    if truth == CHANGED:
        return label_dice_M < 1
    worst = max(1, round(SHARE * len(label_dice_M)))
    is_wrong_M = np.zeros(len(label_dice_M), bool)
    is_wrong_M[np.argsort(label_dice_M, kind="stable")[:worst]] = True
    return is_wrong_M


# Of one set: measures of each detector, its curve, and what they are about.
Grades = dict[str, dict[str, Any]]


def _grade(units: pd.DataFrame, detectors: list[str], truth: str) -> Grades:
    counts_M3, label_dice_M = units[COUNTS].to_numpy(float), _label_dice(units)
    is_wrong_M = _is_wrong(label_dice_M, truth)
    orders = {name: units[name].to_numpy(float) for name in detectors}
    orders[IDEAL] = counts_M3[:, 1] + counts_M3[:, 2]
    orders[RANDOM] = np.zeros(len(units))
    whole = dice([*counts_M3.sum(axis=0), 0])
    found: Grades = {}
    for name, suspicion_M in orders.items():
        lost = 1 - whole
        after = mending_curve(suspicion_M, counts_M3, np.array([SHARE]))[0]
        grades = {"regained": (after - whole) / lost if lost > 0 else np.nan}
        grades["auroc"] = auroc(suspicion_M, is_wrong_M)
        grades["precision"] = precision_among(suspicion_M, is_wrong_M, SHARE)
        grades["correlation"] = rank_correlation(suspicion_M, 1 - label_dice_M)
        grades["curve"] = mending_curve(suspicion_M, counts_M3)
        found[name] = {**grades, "wrong": is_wrong_M.mean(), "label_dice": whole}
    return found


def _mean(graded: list[Grades]) -> Grades:
    """Return the means of several sets' grades."""
    return {
        name: {each: np.mean([one[name][each] for one in graded], axis=0) for each in measures}
        for name, measures in graded[0].items()
    }


def _rows(names, truth, of_repeats, graded: Mapping[int, Grades]) -> Iterator[dict]:
    first = next(iter(of_repeats.values()))
    for detector in next(iter(graded.values())):
        of_detector = [grades[detector] for grades in graded.values()]
        row = {**names, "detector": detector, "truth": truth, "n": len(graded)}
        row["units"] = sum(map(len, first))
        for name in ("wrong", "label_dice"):
            row[name] = np.mean([grades[name] for grades in of_detector])
        for name in MEASURES:
            summary = spread([grades[name] for grades in of_detector])
            row |= {f"{name}_{statistic}": summary[statistic] for statistic in ("mean", "sd")}
        yield row


def _curves(names, graded: Mapping[int, Grades]) -> Iterator[dict]:
    for detector in next(iter(graded.values())):
        curves = np.array([grades[detector]["curve"] for grades in graded.values()])
        for share, values in zip(PLACES, curves.T, strict=True):
            summary = spread(values)
            about = {"label_dice_mean": summary["mean"], "label_dice_sd": summary["sd"]}
            yield {**names, "detector": detector, "share": share, **about}
