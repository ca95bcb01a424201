"""Simulate how often intervals cover the truth of new repeats and new cases, and how wide they are.

    python benchmarks/coverage.py
    python benchmarks/coverage.py --dataset lis
    python benchmarks/coverage.py --study results/demo

Prints coverage of 95 % intervals and their mean width, relative to the plain crossed interval, for
designs of R repeats and C cases and three methods:

    t           t-interval over the repeats' means
    crossed     statistics.intervals of each contrast alone: nothing is moderated
    moderated   statistics.intervals of all contrasts of a study

With --dataset, the variance components are those of a dataset's drops in docs/components.csv, with
--study those of a finished study's, printed before.
"""

import argparse
import sys
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "scripts"))

from labelnoise.evaluation.contrasts import case_values, drops, levels  # noqa: E402
from labelnoise.evaluation.statistics import CONFIDENCE, components, intervals  # noqa: E402
from labelnoise.evaluation.tables import read_table  # noqa: E402

REPEATS, CASES = (2, 3, 5), (8, 20, 60)
# Contrasts of a study, and how they are related.
SCENARIOS = {"equal": 12, "unequal": 12, "one control": 9}
# Standard deviations of drops, of the size of the demo's on the phantom under the paper's loss.
REPEAT, CASE, RESIDUAL = 0.012, 0.025, 0.011


def simulate(rng, scenario, repeats, cases, sds=(REPEAT, CASE, RESIDUAL)):
    """Draw the contrasts of one study, whose true means are 0.

    Args:
        rng: the random generator.
        scenario: `equal`; `unequal`, the repeats' standard deviations differ by factors of about
            e^0.5 between contrasts; `one control`, every contrast is a control minus a cell, with
            half of each variance from either.
        repeats, cases: R and C.
        sds: standard deviations between repeats and between cases, and of the residual.

    Returns:
        (K, R, C), K as in SCENARIOS.
    """
    contrasts = SCENARIOS[scenario]
    cells = contrasts + (scenario == "one control")
    scale_K11 = np.exp(rng.normal(0, 0.5, (cells, 1, 1)) * (scenario == "unequal"))
    repeat, case, residual = sds
    values_KRC = rng.normal(0, repeat, (cells, repeats, 1)) * scale_K11
    values_KRC = values_KRC + rng.normal(0, case, (cells, 1, cases))
    values_KRC += rng.normal(0, residual, (cells, repeats, cases))
    if scenario == "one control":
        return (values_KRC[-1] - values_KRC[:-1]) / np.sqrt(2)
    return values_KRC


def t_bounds(contrasts_KRC):
    """Bounds (K, 2) of t-intervals over the repeats' means, as version 0.2 had them."""
    means_KR = contrasts_KRC.mean(axis=2)
    repeats = means_KR.shape[1]
    error_K = means_KR.std(axis=1, ddof=1) / np.sqrt(repeats)
    half_K = stats.t.ppf((1 + CONFIDENCE) / 2, repeats - 1) * error_K
    return means_KR.mean(axis=1)[:, None] + half_K[:, None] * [-1, 1]


def crossed_bounds(contrasts_KRC):
    """Bounds (K, 2) of each contrast alone."""
    return np.concatenate([moderated_bounds(values_RC[None]) for values_RC in contrasts_KRC])


def moderated_bounds(contrasts_KRC):
    """Bounds (K, 2) of all contrasts together."""
    return intervals(contrasts_KRC)[["low", "high"]].to_numpy()


METHODS = {"t": t_bounds, "crossed": crossed_bounds, "moderated": moderated_bounds}


def measure(rng, design, studies, sds=(REPEAT, CASE, RESIDUAL), methods=tuple(METHODS)):
    """Return coverage and mean width of each method over simulated studies of one design.

    Args:
        design: scenario, R and C; see `simulate` for these, the generator and the deviations.
        studies: how many to simulate.
        methods: names in METHODS.
    """
    bounds = {name: [] for name in methods}
    for _ in range(studies):
        contrasts_KRC = simulate(rng, *design, sds)
        for name in methods:
            bounds[name].append(METHODS[name](contrasts_KRC))
    found = {}
    for name, parts in bounds.items():
        low, high = np.concatenate(parts).T
        found[name] = {"coverage": ((low <= 0) & (high >= 0)).mean(), "width": (high - low).mean()}
    return found


def study_components(tables):
    """Return the variance components of a study's levels and drops.

    Args:
        tables: the study's folder of tables, with runs.csv and cases.csv.

    Returns:
        One row per contrast: `of` (level or drop), dataset, structure, model, recipe, perturbation,
        repeats, cases, and what `statistics.components` returns.
    """
    runs, cases = (read_table(tables / name) for name in ("runs.csv", "cases.csv"))
    values = case_values(cases)
    rows = []
    for of, blocks in {"level": levels(values), "drop": drops(runs, values)}.items():
        for key, block in blocks.items():
            names = ["dataset", "structure", "model", "recipe", "perturbation"]
            row = {"of": of, **dict(zip(names, key, strict=True))}
            row |= dict(zip(["repeats", "cases"], block.shape, strict=True))
            rows.append(row | components(block.to_numpy()[None]).iloc[0].to_dict())
    return pd.DataFrame(rows)


def stored_components(dataset):
    """Return standard deviations of a dataset's drops, root mean squares of docs/components.csv.

    Raises:
        SystemExit: the table has no such dataset.
    """
    table = pd.read_csv(ROOT / "docs" / "components.csv")
    drops = table[(table["contrast"] == "drop") & (table["dataset"] == dataset)]
    if drops.empty:
        sys.exit(f"error: no dataset {dataset!r}, expected {', '.join(table['dataset'].unique())}.")
    squares = drops[["repeat", "case", "residual"]] ** 2
    return np.sqrt(np.average(squares, axis=0, weights=drops["contrasts"])).tolist()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--study", type=Path, help="results folder of a finished study")
    parser.add_argument("--dataset", help="name in docs/components.csv, lis is the replication")
    for name, sd in {"repeat": REPEAT, "case": CASE, "residual": RESIDUAL}.items():
        help_ = f"standard deviation of the {name} component (default: {sd})"
        parser.add_argument(f"--{name}", type=float, default=sd, help=help_)
    parser.add_argument("--studies", type=int, default=300, help="simulated studies per design")
    arguments = parser.parse_args()
    sds = [arguments.repeat, arguments.case, arguments.residual]
    if arguments.dataset:
        sds = stored_components(arguments.dataset)
    if arguments.study:
        table = study_components(arguments.study / "tables")
        print(table.to_string(index=False, float_format="{:.4f}".format), end="\n\n")
        squares = table.loc[table["of"] == "drop", ["repeat", "case", "residual"]] ** 2
        sds = np.sqrt(squares.mean()).tolist()
        if not np.isfinite(sds).all():
            parser.error(f"{arguments.study} has no drop over 2 repeats and 2 test cases or more")
    print("standard deviations: repeat {:.4f}, case {:.4f}, residual {:.4f}".format(*sds))
    rng, columns = np.random.default_rng(0), "".join(f"{name:>18}" for name in METHODS)
    print(f"{'variances':12}{'R':>3}{'C':>4}{columns}   coverage (width)")
    for design in product(SCENARIOS, REPEATS, CASES):
        found = measure(rng, design, arguments.studies, sds)
        shown = [
            f"{each['coverage']:.3f} ({each['width'] / found['crossed']['width']:.2f})"
            for each in found.values()
        ]
        line = "".join(f"{text:>18}" for text in shown)
        print("{:12}{:3}{:4}".format(*design) + line, flush=True)


if __name__ == "__main__":
    main()
