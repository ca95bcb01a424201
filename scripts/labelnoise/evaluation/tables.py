"""Tables of a study: one row per run and structure, and one row per cell of the matrix.

Scores are computed here from stored counts, so how they are averaged can change without a GPU.
"""

import io
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.special import expit

from labelnoise.counts import COUNTS, dice
from labelnoise.errors import InputError
from labelnoise.evaluation.contrasts import (
    CELL,
    MEASURES,
    case_values,
    dice_at,
    drops,
    levels,
    pooled_score,
    summarise,
)
from labelnoise.evaluation.histograms import (
    MEND,
    THRESHOLDS,
    RunScores,
    area_values,
    auc,
    average_precision,
    bin_edges,
    counts_above,
    read_scores,
    threshold_edges,
)
from labelnoise.files import read_json, sha256_of
from labelnoise.folds import base_of, fold_of
from labelnoise.sessions import read_sessions
from labelnoise.study import Results, Run, RunFolder

NUMBERS = ["rank", "epoch", "slice", "class_index", *COUNTS]
# Which fold of its dataset a run is of, from 0; a column of studies that have folds.
FOLD = "fold"
# Columns of names, in any table, and those of remarks, which may be empty.
BLANK = ["left_out", "drop_left_out", "gap", "repeats_needed", "at", "draws", FOLD]
BLANK += ["than_model", "than_recipe", "than_perturbation"]
TEXTS = [*CELL, "case", "kind", "device", "host", "folder", "claim", "error", "verdict", *BLANK]
# Scores of a run, see `contrasts.MEASURES`.
POOLED = ["dice", "precision", "recall", "volume_ratio", "dice_apparent"]
POOLED += [dice_at(threshold) for threshold in THRESHOLDS]
# Columns of surfaces.csv, see `surfaces.surface_table`.
GEOMETRY, SURFACES = ["unit", "volumetric", "tolerance"], ["hd95", "surface_dice"]
# Those of a cell that have an interval in degradation.csv.
CELL_MEASURES = [
    "dice",
    "dice_case",
    "precision",
    "recall",
    "volume_ratio",
    "auc",
    "average_precision",
    "dice_apparent",
    "hd95",
    "surface_dice",
]
# Columns of a table by name, all of one length.
Columns = dict[str, np.ndarray]
LABEL_SCORES = ["precision", "recall", "volume_ratio", "surface_distance"]


def study_tables(runs: Iterable[Run], results: Results) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Read every run's scores and counts, at the checkpoint chosen by validation Dice.

    Args:
        runs: the runs.
        results: the study's results tree.

    Returns:
        What `runs_table` returns, and what it rests on: one row per run, structure and test case,
        with tp, fp, fn and tn in pixels; `tp_at_...` and `fp_at_...` at the thresholds of
        `histograms.threshold_edges`; `tp_apparent`, `fp_apparent` and `fn_apparent`, against test
        labels as wrong as the training labels; `auc` and `average_precision`, values whose mean
        over cases is that of all pixels. Runs of folds are rows of their dataset, with the `fold`;
        as each case is tested in one of them, the cases of a repeat are those of all its folds.

    Raises:
        InputError: a file is missing, truncated, or lacks an entry.
    """
    rows: list[dict[str, Any]] = []
    counts: list[Columns] = []
    for run in runs:
        for row, cases in _run_rows(run, results):
            rows.append(row)
            counts.append(cases)
    if not rows:
        raise InputError("The study selects no runs, so there is nothing to summarise.")
    table = pd.DataFrame(rows)
    if (table[FOLD] == "").all():
        table = table.drop(columns=FOLD)
    table = table[[*CELL, *(name for name in table if name not in CELL)]]
    # One frame at the end: thousands of small ones would take longer than reading the files.
    gathered = {name: np.concatenate([cases[name] for cases in counts]) for name in counts[0]}
    names = table[[*CELL, "repeat", *([FOLD] if has_folds(table) else [])]]
    names = names.loc[np.repeat(names.index, [len(cases["case"]) for cases in counts])]
    return table, names.reset_index(drop=True).assign(**gathered)


def runs_table(runs: Iterable[Run], results: Results) -> pd.DataFrame:
    """Read the scores of every run, at the checkpoint chosen by validation Dice.

    Args:
        runs: the runs.
        results: the study's results tree.

    Returns:
        One row per run and structure. `dice`, `precision`, `recall` and `volume_ratio`
        (predicted over reference volume) are pooled over all test pixels; `dice_case` is the mean
        over cases of the Dice pooled in each case, where the `cases_undefined` cases without the
        structure in reference and prediction are left out; `auc` is the area under the ROC curve
        of all test pixels, NaN without the structure, `average_precision` that under the curve of
        precision and recall. `dice_at_...` is Dice at the thresholds that
        `histograms.threshold_edges` finds, and `threshold_...` the probabilities that they are;
        `dice_apparent` is Dice against test labels as wrong as the training labels; `hd95` and
        `surface_dice` are means over cases, see `surfaces.surface_table`. `kind`, `draws` (how many
        are cycled over the epochs, as text, or "per_epoch") and the `label_...` columns describe
        the training labels, as their own file has them; `folder` is the run's.

    Raises:
        InputError: a file is missing, truncated, or lacks an entry.
    """
    return study_tables(runs, results)[0]


def has_folds(runs: pd.DataFrame) -> bool:
    """Return whether some runs of a table are of folds."""
    return FOLD in runs


def pool_folds(runs: pd.DataFrame, cases: pd.DataFrame) -> pd.DataFrame:
    """Return runs with the folds of each repeat taken together.

    Args:
        runs: what `runs_table` returns.
        cases: what the runs rest on, see `study_tables`.

    Returns:
        `runs` as they are in a study without folds. Else one row per structure, cell and repeat:
        scores are those of all test cases of all folds, so those that are pooled over test pixels
        are so over all of them; areas under curves are means over folds, weighted by cases, as
        scores of different networks share no threshold. What is known of labels and thresholds
        are means over folds, too.
    """
    if not has_folds(runs):
        return runs
    keys = [*CELL, "repeat"]
    groups = runs.groupby(keys, sort=False)
    numbers = runs.select_dtypes("float").columns
    ways = {name: "mean" if name in numbers else "first" for name in runs if name not in keys}
    pooled = groups.agg(ways | dict.fromkeys(("cases", "cases_undefined"), "sum"))
    for name in MEASURES:
        if name in pooled:
            pooled[name] = case_values(cases, name).mean(axis=1)
    return pooled.drop(columns=FOLD).reset_index()


def sessions_tables(results: Results) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Read the scores of every session that was tested.

    Args:
        results: the results tree of the study that the sessions were started from.

    Returns:
        What `study_tables` returns for the study's runs, so the two can be set together. `recipe`
        is "NAME: recipe", since a session may have changed the recipe's batch size or
        epochs and must not be averaged with the study's runs.

    Raises:
        InputError: there is no tested session, or a file is wrong, see `study_tables`.
    """
    found = []
    for session in read_sessions(results):
        own = results.session(session.name)
        if own.run_folder(session.run).counts.exists():
            tables = study_tables([session.run], own)
            found.append(
                [table.assign(recipe=f"{session.name}: {session.run.recipe}") for table in tables]
            )
    if not found:
        raise InputError(f"no session in {results.sessions} was tested; test one: -t -e NAME.")
    runs, cases = (pd.concat(tables, ignore_index=True) for tables in zip(*found, strict=True))
    return runs, cases


def degradation_table(runs: pd.DataFrame, cases: pd.DataFrame) -> pd.DataFrame:
    """Summarise every cell: dataset x structure x model x recipe x perturbation.

    Args:
        runs: what `runs_table` returns.
        cases: what the runs rest on, see `study_tables`.

    Returns:
        One row per cell, in the order of `runs`. `..._mean` and `..._sd` (n - 1 in the denominator)
        are over repeats. `..._low` and `..._high` bound the 95 % interval of the mean over repeats
        and test cases, see `statistics.intervals`; `left_out` says what it does not cover.
        `drop_...` is control Dice minus Dice, in pairs of equal repeat and case (`drop_n` repeats),
        with the p of no drop and its own `drop_left_out`. The control's own drop is 0, without a p;
        without a control it is NaN.
    """
    runs = pool_folds(runs, cases)
    measures = [name for name in CELL_MEASURES if name in runs]
    values = {name: case_values(cases, name) for name in measures}
    level = {name: summarise(levels(of)) for name, of in values.items()}
    blocks = drops(runs, values["dice"])
    drop = summarise(blocks)
    rows = []
    for key, cell in runs.groupby(CELL, sort=False):
        row = dict(zip(CELL, key, strict=True))
        row |= {name: cell[name].iloc[0] for name in ("kind", "draws", "target_dice")}
        row |= {"n": len(cell), "cases": int(cell["cases"].iloc[0])}
        row |= {name: cell[name].iloc[0] for name in GEOMETRY}
        row |= _columns("label_dice", cell["label_dice"], "mean", "sd")
        row |= _columns("label_volume_ratio", cell["label_volume_ratio"], "mean")
        row |= {"left_out": level["dice"].loc[key, "left_out"]}
        for name in measures:
            # A network that paints nothing has no precision, so its mean may rest on fewer runs.
            row |= _columns(name, cell[name], "mean", "sd", *(["n"] if name == "precision" else []))
            bounds = level[name].loc[key, ["low", "high"]]
            row |= {f"{name}_{bound}": bounds[bound] for bound in ("low", "high")}
        if key in blocks:
            # The interval's own centre, which a case that a repeat lacks does not shift.
            row["drop_mean"] = drop.loc[key, "estimate"]
            row |= _columns("drop", blocks[key].mean(axis=1), "sd", "n")
            names = ("low", "high", "p", "left_out")
            row |= {f"drop_{name}": drop.loc[key, name] for name in names}
        else:
            zeros = np.zeros(len(cell) if row["kind"] == "control" else 0)
            row |= _columns("drop", zeros, "mean", "sd", "n")
            row |= dict.fromkeys(("drop_low", "drop_high"), row["drop_mean"])
            row |= {"drop_p": np.nan, "drop_left_out": ""}
        rows.append(row)
    return pd.DataFrame(rows)


def read_counts(path: Path) -> pd.DataFrame:
    """Read a test.csv: the counts of every slice and foreground class for each kept checkpoint.

    Raises:
        InputError: the file is missing, cut short, or does not hold every slice, class and rank.
    """
    text = _read_text(path)
    # Names stay text: a case called "007" or "NA" is a name.
    names = {"dtype": dict.fromkeys(["case", "structure"], str), "keep_default_na": False}
    try:
        table = pd.read_csv(io.StringIO(text), **names, na_values={name: "" for name in NUMBERS})
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise InputError(f"{path} is not a table of counts ({error}); {MEND}.") from None
    missing = [name for name in [*NUMBERS, "case", "structure"] if name not in table]
    if missing:
        raise InputError(f"{path} lacks the columns {', '.join(missing)}; {MEND}.")
    expected = len(set(table["rank"])) * len(set(table["class_index"]))
    expected *= len(set(zip(table["case"], table["slice"], strict=True)))
    whole = all(table[name].dtype == "int64" for name in NUMBERS) and len(table) == expected
    if not whole or not text.endswith("\n"):
        raise InputError(
            f"{path} is truncated: it holds {len(table)} rows where ranks x slices x classes "
            f"make {expected}, or its last row is cut; {MEND}."
        )
    return table


def chosen_counts(folder: RunFolder) -> pd.DataFrame:
    """Return the rows of a run's test.csv that are of the checkpoint it is scored by.

    Raises:
        InputError: see `read_counts`, or the file has none of them.
    """
    rank = read_json(folder.record, ("chosen_rank",))["chosen_rank"]
    return _of_rank(read_counts(folder.counts), rank, folder)


def spread(values: ArrayLike) -> dict[str, float]:
    """Summarise the values that are defined (not NaN).

    Returns:
        mean, sd (n - 1 in the denominator) and n; NaN where there are too few values.
    """
    defined = np.asarray(values, dtype=float)
    defined = defined[~np.isnan(defined)]
    n = len(defined)
    mean = defined.mean() if n else np.nan
    return {"mean": mean, "sd": defined.std(ddof=1) if n > 1 else np.nan, "n": n}


def read_table(path: Path) -> pd.DataFrame:
    """Read back a table of runs, cells or cases that was written as CSV.

    Raises:
        InputError: the file is missing or is no table.
    """
    text = io.StringIO(_read_text(path))
    # Only an empty cell is a missing number; names such as "NA" and "007" stay text.
    try:
        table = pd.read_csv(
            text, dtype=dict.fromkeys(TEXTS, str), keep_default_na=False, na_values=[""]
        )
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise InputError(
            f"{path} is not a table ({error}); delete it, so that it is made again."
        ) from None
    blank = [name for name in BLANK if name in table]
    return table.fillna(dict.fromkeys(blank, ""))


def _of_rank(counts: pd.DataFrame, rank: int, folder: RunFolder) -> pd.DataFrame:
    chosen = counts[counts["rank"] == rank]
    if chosen.empty:
        raise InputError(
            f"{folder.counts} has no rows of rank {rank}, the checkpoint that "
            f"{folder.record.name} chose; {MEND}."
        )
    return chosen


def _run_rows(run: Run, results: Results) -> Iterator[tuple[dict[str, Any], Columns]]:
    """Yield row and columns per case of each structure of one run, in the order of the class."""
    folder = results.run_folder(run)
    scores = read_scores(folder.scores)
    for path in (folder.counts, folder.surfaces):
        _check_digest(path, scores.digests.get(path.name), folder.scores)
    counts = read_counts(folder.counts)
    details = read_json(
        folder.record, ("chosen_rank", "seconds", "device", "parameters", "definitions")
    )
    chosen = _of_rank(counts, details["chosen_rank"], folder)
    surfaces = _read_surfaces(folder.surfaces, chosen)
    tail = {
        "checkpoint_rank": details["chosen_rank"],
        "checkpoint_epoch": int(chosen["epoch"].iloc[0]),
        **{name: details[name] for name in ["seconds", "device", "parameters"]},
        "host": details.get("host", ""),
        "accumulation": details["definitions"]["recipe"].get("accumulation", 1),
        "folder": folder.path.as_posix(),
    }
    for index, structure in sorted(
        set(zip(chosen["class_index"], chosen["structure"], strict=True))
    ):
        labels = _label_columns(run, structure, results)
        cases = _sum_cases(chosen[chosen["class_index"] == index])
        place = _place(scores, folder.scores, details["chosen_rank"], structure, cases)
        ranked, beside = _case_columns(scores, place)
        cases |= _in_order(beside, scores.cases, cases["case"])
        distances = {
            name: values[surfaces["structure"] == structure] for name, values in surfaces.items()
        }
        beside = {name: distances[name] for name in SURFACES}
        cases |= _in_order(beside, distances["case"], cases["case"])
        columns = {**_test_columns(cases), **ranked}
        columns |= {name: distances[name][0] for name in GEOMETRY}
        fold = fold_of(run.dataset)
        names = asdict(run) | {"dataset": base_of(run.dataset)}
        names[FOLD] = "" if fold is None else str(fold)
        yield {"structure": structure, **names, **labels, **columns, **tail}, cases


def _sum_cases(counts: pd.DataFrame) -> Columns:
    """Return the cases that are counted, in the order of their first slices, and their counts."""
    codes, names = pd.factorize(counts["case"])
    counted_C4 = np.zeros((len(names), len(COUNTS)), np.int64)
    np.add.at(counted_C4, codes, counts[list(COUNTS)].to_numpy())
    return {"case": np.asarray(names, object), **dict(zip(COUNTS, counted_C4.T, strict=True))}


def _in_order(columns: Columns, cases: Iterable[str], wanted: Iterable[str]) -> Columns:
    """Return columns whose rows are of some cases with the rows in another order of these."""
    row_of = {case: row for row, case in enumerate(cases)}
    rows = [row_of[case] for case in wanted]
    return {name: values[rows] for name, values in columns.items()}


def _place(scores: RunScores, path: Path, rank: int, structure: str, cases: Columns) -> int:
    """Return where a structure is in scores, which have to be of these ranks and pixels."""
    if scores.rank == rank and structure in scores.structures:
        place = scores.structures.index(structure)
        binned_C2 = scores.test_SC2B[place].sum(axis=-1)
        truth_C2 = np.stack([cases["fp"] + cases["tn"], cases["tp"] + cases["fn"]], axis=-1)
        found = dict(zip(scores.cases, binned_C2.tolist(), strict=True))
        if found == dict(zip(cases["case"], truth_C2.tolist(), strict=True)):
            return place
    raise InputError(
        f"{path} does not hold the scores of {structure}, rank {rank}, of the pixels "
        "counted in test.csv; delete both, so that the run is tested again."
    )


def _read_surfaces(path: Path, counts: pd.DataFrame) -> Columns:
    """Return how far a run's surfaces are from the true ones, in the cases that were counted."""
    texts = dict.fromkeys(["case", "structure", "unit"], str)
    text = io.StringIO(_read_text(path))
    try:
        table = pd.read_csv(text, dtype=texts, keep_default_na=False, na_values=[""])
        table = table[["case", "structure", *GEOMETRY, *SURFACES]]
        found = set(zip(table["case"], table["structure"], strict=True))
    except (pd.errors.ParserError, pd.errors.EmptyDataError, KeyError) as error:
        raise InputError(f"{path} is not a table of surfaces ({error}); {MEND}.") from None
    if found != set(zip(counts["case"], counts["structure"], strict=True)):
        raise InputError(f"{path} does not hold the cases that test.csv counts; {MEND}.")
    return {name: table[name].to_numpy() for name in table}


def _case_columns(scores: RunScores, place: int) -> tuple[dict[str, float], Columns]:
    """Return what the histograms of one structure tell of the run, and of each of its cases."""
    test_C2B = scores.test_SC2B[place]
    row, columns = {}, {}
    for area in (auc, average_precision):
        row[area.__name__] = float(area(test_C2B.sum(axis=0)))
        columns[area.__name__] = area_values(test_C2B, area)
    for name, edge in threshold_edges(scores, place).items():
        counts_C4 = np.full((len(test_C2B), 4), np.nan)
        row[f"threshold_{name}"] = np.nan
        if edge is not None:
            counts_C4 = counts_above(test_C2B, edge)
            row[f"threshold_{name}"] = float(expit(bin_edges()[edge]))
        columns |= {f"tp_at_{name}": counts_C4[:, 0], f"fp_at_{name}": counts_C4[:, 1]}
    for index, name in enumerate(("tp", "fp", "fn")):
        columns[f"{name}_apparent"] = scores.apparent_SC4[place, :, index]
    return row, columns


def _label_columns(run, structure, results):
    """Return the columns on the training labels of one structure."""
    path = results.fill(results.measured, run)
    labels = read_json(path, ("kind", "draws", "structures"))
    entry = labels["structures"].get(structure)
    if entry is None:
        found = ", ".join(labels["structures"]) or "none"
        raise InputError(
            f"{path} describes the structures {found}, but the run was tested on {structure}; "
            "delete it, so that the labels are made again."
        )
    missing = [name for name in ["target_dice", "label_dice", *LABEL_SCORES] if name not in entry]
    if missing:
        raise InputError(
            f"{path} lacks {', '.join(missing)} of {structure}; make the labels again."
        )
    number = {name: np.nan if value is None else float(value) for name, value in entry.items()}
    return {
        "kind": labels.get("family", labels["kind"]),
        # Text, since it is a number or "per_epoch".
        "draws": str(labels["draws"]),
        "target_dice": number["target_dice"],
        "label_dice": number["label_dice"],
        **{f"label_{name}": number[name] for name in LABEL_SCORES},
    }


def _test_columns(cases):
    """Return the scores of one structure, pooled over test pixels or means over cases."""
    case_dice = dice(np.stack([cases[name] for name in COUNTS], axis=-1))
    # What is not known of one case is not known of all.
    totals = {name: values.sum() for name, values in cases.items() if name != "case"}
    return {
        **{name: pooled_score(totals, name) for name in POOLED},
        "dice_case": spread(case_dice)["mean"],
        **{name: spread(cases[name])["mean"] for name in SURFACES},
        "cases": len(case_dice),
        "cases_undefined": int(np.isnan(case_dice).sum()),
    }


def _columns(name, values, *statistics):
    summary = spread(values)
    return {f"{name}_{statistic}": summary[statistic] for statistic in statistics}


def _check_digest(path: Path, expected: str | None, where: Path) -> None:
    """Refuse a file that is not the one whose digest was stored; None where none was."""
    if expected is not None and path.is_file() and sha256_of(path) != expected:
        raise InputError(
            f"{path} is damaged or was edited since {where.name} was written with it; {MEND}."
        )


def _read_text(path):
    try:
        return Path(path).read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"{path} is missing; run the study's step that writes it.") from None
    except ValueError as error:
        raise InputError(
            f"{path} is not text in UTF-8 ({error}); delete it, so that it is made again."
        ) from None
