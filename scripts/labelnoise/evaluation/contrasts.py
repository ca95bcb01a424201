"""Levels, drops and slopes of a study, each with its interval over repeats and test cases.

A contrast is kept as a block: a DataFrame of its values, a row per repeat and a column per case.
"""

from collections.abc import Collection, Hashable, Mapping

import numpy as np
import pandas as pd

from labelnoise.evaluation.statistics import intervals, left_out, pooled_dice_values

# Runs whose test pixels are the same; the variances between their repeats share a prior.
FAMILY = ["dataset", "structure"]
SETTING = [*FAMILY, "model", "recipe"]
CELL = [*SETTING, "perturbation"]

Blocks = dict[tuple[Hashable, ...], pd.DataFrame]


def pooled_values(cases: pd.DataFrame) -> pd.DataFrame:
    """Return values per run and case whose mean over cases is the Dice pooled over test pixels.

    Args:
        cases: counts per run, structure and case, see `tables.study_tables`.

    Returns:
        One row per run and structure, indexed by CELL and repeat; a column per case, NaN for the
        cases of other datasets.
    """
    frames, names = [], [*CELL, "repeat"]
    for _, family in cases.groupby(FAMILY, sort=False):
        wide = family.pivot(index=names, columns="case", values=["tp", "fp", "fn"])
        # Pivoting sorts; the order is that of the study.
        wide = wide.reindex(pd.MultiIndex.from_frame(family[names].drop_duplicates()))
        numerator = 2 * wide["tp"]
        values = pooled_dice_values(
            numerator.to_numpy(float), (numerator + wide["fp"] + wide["fn"]).to_numpy(float)
        )
        frames.append(pd.DataFrame(values, wide.index, numerator.columns))
    return pd.concat(frames)


def levels(values: pd.DataFrame) -> Blocks:
    """Return the block of each cell; for the argument see `pooled_values`."""
    return {
        _key(cell): block.droplevel(CELL).dropna(axis=1, how="all")
        for cell, block in values.groupby(CELL, sort=False)
    }


def drops(runs: pd.DataFrame, values: pd.DataFrame) -> Blocks:
    """Return control minus cell, in pairs of equal repeat and case, of each cell with a control.

    The control itself has no drop: values of 0 by definition tell nothing about a variance.

    Args:
        runs: what `tables.runs_table` returns; says which cells are controls.
        values: see `pooled_values`.
    """
    blocks, controls = levels(values), _controls(runs)
    return {
        cell: (blocks[controls[cell[:-1]]] - block).dropna(how="all")
        for cell, block in blocks.items()
        if controls.get(cell[:-1], cell) != cell
    }


def slopes(runs: pd.DataFrame, values: pd.DataFrame) -> Blocks:
    """Return Dice lost for each label Dice lost, by dataset, structure, network, recipe and kind.

    In each repeat and case, the slope of the least-squares line through the origin of the drops on
    1 - label Dice, over all errors of the kind; repeats that lack one of them are left out.

    Args:
        runs: what `tables.runs_table` returns; gives kind and label Dice of each run.
        values: see `pooled_values`.
    """
    found: dict[tuple[Hashable, ...], list] = {}
    losses = 1 - runs.set_index([*CELL, "repeat"])["label_dice"]
    kinds = runs.drop_duplicates(CELL).set_index(CELL)["kind"]
    for cell, block in drops(runs, values).items():
        loss = losses.xs(cell, level=CELL).reindex(block.index)
        found.setdefault((*cell[:-1], kinds[cell]), []).append((loss, block))
    return {key: _slope(pairs) for key, pairs in found.items()}


def summarise(blocks: Mapping[tuple[Hashable, ...], pd.DataFrame]) -> pd.DataFrame:
    """Return the interval of each contrast, over repeats and cases.

    Args:
        blocks: {key: block}, the keys starting with FAMILY.

    Returns:
        What `statistics.intervals` returns, and `left_out`, what the interval does not cover; the
        index is the keys, in their order.
    """
    frames = []
    for family in families(blocks).values():
        array_KRC = stack(family.values())
        table = intervals(array_KRC).assign(left_out=left_out(array_KRC))
        frames.append(table.set_index(pd.MultiIndex.from_tuples(list(family))))
    return pd.concat(frames).loc[list(blocks)] if frames else pd.DataFrame()


def _controls(runs: pd.DataFrame) -> dict[tuple[Hashable, ...], tuple[Hashable, ...]]:
    """Return the control's cell of each dataset, structure, network and recipe that has one."""
    cells = runs.loc[runs["kind"] == "control", CELL].drop_duplicates()
    return {tuple(cell[:-1]): tuple(cell) for cell in cells.itertuples(index=False, name=None)}


def _slope(pairs: list[tuple[pd.Series, pd.DataFrame]]) -> pd.DataFrame:
    weight = sum(loss**2 for loss, _ in pairs)
    total = sum(block.mul(loss, axis=0) for loss, block in pairs)
    return total.div(weight.where(weight > 0), axis=0).dropna(how="all")


def families(blocks: Mapping[tuple[Hashable, ...], pd.DataFrame]) -> dict[tuple, Blocks]:
    """Return the blocks of each FAMILY, with which their keys start."""
    found: dict[tuple, Blocks] = {}
    for key, block in blocks.items():
        found.setdefault(key[: len(FAMILY)], {})[key] = block
    return found


def stack(blocks: Collection[pd.DataFrame]) -> np.ndarray:
    """Return blocks as one array (K, R, C), NaN where a block lacks a repeat or a case."""
    repeats = sorted(set().union(*(block.index for block in blocks)))
    cases = sorted(set().union(*(block.columns for block in blocks)))
    return np.stack([block.reindex(index=repeats, columns=cases).to_numpy() for block in blocks])


def _key(cell: Hashable) -> tuple[Hashable, ...]:
    return cell if isinstance(cell, tuple) else (cell,)
