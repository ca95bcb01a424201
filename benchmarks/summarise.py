"""Measure what the tables of a large study cost: seconds and peak memory.

    .venv/bin/python benchmarks/summarise.py [--runs 300 3000] [--cases 18]

Makes up the results of so many runs (2 datasets x 3 networks x 2 recipes x 10 perturbations, with
as many repeats as it takes), each of `--cases` test cases of 5 slices and 2 kept checkpoints, in a
folder that is removed afterwards, and makes every table of them in this process. Ends with an error
if 3000 runs take more than 60 CPU seconds or 1 GB.
"""

import argparse
import resource
import sys
import tempfile
from functools import partial
from itertools import product
from pathlib import Path
from time import process_time

import numpy as np
import pandas as pd

from rows import ROOT, Rows, add_output

sys.path.insert(0, str(ROOT / "scripts"))

from labelnoise.evaluation.claims import judge
from labelnoise.evaluation.histograms import (
    BINS,
    RunScores,
    counts_above,
    write_scores,
)
from labelnoise.evaluation.tables import degradation_table, study_tables
from labelnoise.evaluation.thresholds import thresholds_table
from labelnoise.files import sha256_of, write_csv, write_json
from labelnoise.report.paper import slopes_beside_paper
from labelnoise.study import Claim, Results, Run

ERRORS = [f"{kind}-{size}" for kind in ("natural", "choppy", "random") for size in (95, 90, 85)]
CELLS = [*product(("lis", "psd"), ("unet", "segnet", "fcn32"), ("labels18", "plain"))]
LIMIT = {"runs": 3000, "cpu": 60, "peak": 1.0}
SLICES, PIXELS = 5, 512 * 512


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, nargs="+", default=[300, 3000])
    parser.add_argument("--cases", type=int, default=18)
    add_output(parser)
    options = parser.parse_args()
    late, rows = [], Rows()
    for wanted in sorted(options.runs):
        repeats = -(-wanted // (len(CELLS) * (len(ERRORS) + 1)))
        with tempfile.TemporaryDirectory() as folder:
            results = Results(Path(folder))
            runs = write_study(results, repeats, options.cases)
            cpu = measure(runs, results, repeats, rows)
        # Memory only grows, so this is that of the largest study so far.
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
        rows.add(f"{len(runs)} runs, all tables", after=cpu, unit="CPU s")
        rows.add(f"{len(runs)} runs, all tables: peak memory", after=peak, unit="GB")
        if len(runs) <= LIMIT["runs"] and (cpu > LIMIT["cpu"] or peak > LIMIT["peak"]):
            late.append(str(len(runs)))
    rows.write(options.output)
    if late:
        sys.exit(
            f"error: {' and '.join(late)} runs: over {LIMIT['cpu']} CPU s or {LIMIT['peak']:g} GB."
        )


def measure(runs, results, repeats, rows):
    """Make every table, add what each costs to the rows, and return the CPU seconds of all."""
    timed = partial(time_table, rows, len(runs))
    begun = process_time()
    table, cases = timed("runs and cases", lambda: study_tables(runs, results))
    timed("degradation", lambda: degradation_table(table, cases))
    timed("slopes", lambda: slopes_beside_paper(table, cases))
    timed("thresholds", lambda: thresholds_table(table, cases))
    claims = [
        Claim(f"{place}", "costs", *cell, error)
        for place, (cell, error) in enumerate(product(CELLS, ERRORS))
    ]
    timed("claims", lambda: judge(claims, table, cases, repeats))
    return process_time() - begun


def time_table(rows, runs, name, make):
    cpu = process_time()
    found = make()
    rows.add(f"{runs} runs, {name}", after=process_time() - cpu, unit="CPU s")
    return found


def write_study(results, repeats, cases):
    """Write counts, scores, surfaces, records and label errors of a made-up study."""
    rng = np.random.default_rng(0)
    runs = [
        Run(*cell, name, repeat)
        for cell, name, repeat in product(CELLS, ["control", *ERRORS], range(repeats))
    ]
    names = [f"case{number:03d}" for number in range(cases)]
    for run in runs:
        kind, _, size = run.perturbation.partition("-")
        label_dice = float(size or 100) / 100
        write_run(results.run_folder(run), names, rng, 0.9 * label_dice)
        labels = dict.fromkeys(("label_dice", "precision", "recall"), label_dice)
        labels |= {"target_dice": label_dice, "volume_ratio": 1.0, "surface_distance": 1.0}
        path = results.fill(results.measured, run)
        write_json(path, {"kind": kind, "draws": 1, "structures": {"liver": labels}})
    return runs


def write_run(folder, names, rng, dice):
    """Write what testing leaves of a run whose Dice is about so high."""
    cases = len(names)
    positives_C = rng.integers(20_000, 60_000, cases)
    wrong_C = (positives_C * (1 - dice) * rng.uniform(0.8, 1.2, cases)).astype(int)
    test_1C2B = np.zeros((1, cases, 2, BINS), np.int64)
    places = rng.integers(0, BINS // 2, 200)
    for counts_2B, positives, wrong in zip(test_1C2B[0], positives_C, wrong_C, strict=True):
        for row, below, above in (
            (0, SLICES * PIXELS - positives - wrong, wrong),
            (1, wrong, positives - wrong),
        ):
            np.add.at(counts_2B[row], places, below // 200)
            np.add.at(counts_2B[row], BINS // 2 + places, above // 200)
    counts_C4 = counts_above(test_1C2B[0], BINS // 2)
    rows = pd.DataFrame(counts_C4, columns=["tp", "fp", "fn", "tn"]).assign(case=names)
    rows = rows.merge(pd.Series(range(SLICES), name="slice"), "cross")
    # The first slice of a case has all that the others lack of its sum.
    rest = rows["slice"] == 0
    for name in ("tp", "fp", "fn", "tn"):
        share = rows[name] // SLICES
        rows[name] = np.where(rest, rows[name] - (SLICES - 1) * share, share)
    rows = rows.assign(class_index=1, structure="liver", epoch=9)
    folder.path.mkdir(parents=True)
    write_csv(folder.counts, pd.concat([rows.assign(rank=rank) for rank in (1, 2)]))
    surfaces = {"case": names, "class_index": 1, "structure": "liver", "unit": "mm"}
    surfaces |= {"volumetric": False, "tolerance": 2.0}
    surfaces |= {"hd95": rng.uniform(2, 9, cases), "surface_dice": rng.uniform(0.5, 1, cases)}
    write_csv(folder.surfaces, pd.DataFrame(surfaces))
    scores = RunScores(
        rank=1,
        structures=["liver"],
        cases=names,
        test_SC2B=test_1C2B,
        apparent_SC4=counts_C4[None],
        validation_S2B=dict.fromkeys(("clean", "perturbed"), test_1C2B.sum(axis=1)),
        loss_threshold=2.5,
        digests={path.name: sha256_of(path) for path in (folder.counts, folder.surfaces)},
    )
    write_scores(folder.scores, scores)
    recipe = {"recipe": {"accumulation": 1}}
    record = {"chosen_rank": 1, "seconds": 1.0, "device": "cpu", "parameters": 1}
    write_json(folder.record, record | {"definitions": recipe})


if __name__ == "__main__":
    main()
