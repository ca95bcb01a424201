"""Made-up results trees: runs whose counts are known, without training anything."""

import json
from pathlib import Path

import numpy as np
import pandas as pd

from labelnoise.evaluation.histograms import BINS, RunScores, counts_above, write_scores
from labelnoise.evaluation.tables import study_tables
from labelnoise.seeds import derive
from labelnoise.study import Results, Run

COST = {"control": 0.0, "natural": 1.2, "choppy": 0.9, "random": 0.1}
MODELS = {"unet": 0.93, "segnet": 0.90, "fcn32": 0.87}
RECIPES = {"labels18": 1.0, "plain": 0.45}


def matrix(
    datasets=("phantom",),
    models=("unet",),
    recipes=("labels18",),
    kinds=("natural",),
    sizes=(0.95,),
    repeats=3,
):
    """Runs of a full product, control first, as the study lists them."""
    perturbations = [("control", "control", None)]
    perturbations += [(f"{kind}-{size:.2f}", kind, size) for kind in kinds for size in sizes]
    return [
        {
            "dataset": dataset,
            "model": model,
            "recipe": recipe,
            "perturbation": perturbation,
            "kind": kind,
            "size": size,
            "repeat": repeat,
        }
        for dataset in datasets
        for model in models
        for recipe in recipes
        for perturbation, kind, size in perturbations
        for repeat in range(repeats)
    ]


def write_tree(results, runs, counts=None, structures=("liver",)):
    """Write test.csv, run.json and label files of `runs`.

    Args:
        counts: function of a run that returns rows (case, slice, structure, tp, fp, fn, tn) of
            the chosen checkpoint; plausible ones if not given.
    """
    for run in runs:
        rows = counts(run) if counts else plausible_counts(run, structures)
        write_run(results, run, rows, structures)
        write_labels(results, run, structures)


def write_run(results, run, rows, structures=("liver",)):
    """Write one run; a second, worse checkpoint (rank 1) stands before the chosen one (rank 2)."""
    folder = folder_of(results, run)
    folder.mkdir(parents=True, exist_ok=True)
    names = ["case", "slice", "structure", "tp", "fp", "fn", "tn"]
    chosen = pd.DataFrame(rows, columns=names).assign(rank=2, epoch=9)
    chosen["class_index"] = [1 + structures.index(name) for name in chosen["structure"]]
    other = chosen.assign(rank=1, epoch=7, fp=chosen["fp"] + 50)
    order = ["rank", "epoch", "case", "slice", "class_index", "structure", "tp", "fp", "fn", "tn"]
    table = pd.concat([other, chosen])
    table[order].to_csv(folder / "test.csv", index=False)
    write_scores(folder / "scores.h5", scores_of(chosen, structures))
    surfaces = chosen[["case", "class_index", "structure"]].drop_duplicates()
    surfaces = surfaces.assign(unit="mm", volumetric=False, tolerance=2.0)
    surfaces["hd95"] = 3.0 + np.arange(len(surfaces))
    surfaces["surface_dice"] = 0.8 - 0.01 * np.arange(len(surfaces))
    surfaces.to_csv(folder / "surfaces.csv", index=False)
    checkpoints = [
        {"rank": rank, "epoch": epoch, "metrics": {"validation_dice": dice, "validation_loss": 0.1}}
        for rank, epoch, dice in [(1, 7, 0.88), (2, 9, 0.90)]
    ]
    details = {name: run[name] for name in ["dataset", "model", "recipe", "perturbation", "repeat"]}
    details |= {"checkpoints": checkpoints, "chosen_rank": 2, "seconds": 41.2, "device": "cpu"}
    details |= {"definitions": {"model": {}, "recipe": {"accumulation": 1}}}
    details |= {"parameters": 1096898, "host": "h", "started": "2026-01-01", "ended": "2026-01-01"}
    (folder / "run.json").write_text(json.dumps(details))


def scores_of(rows, structures):
    """Scores whose counts at a probability of 0.5 are those of the chosen checkpoint.

    Wrong test labels and validation slices are as the test slices.
    """
    test = {key: histogram_of(part) for key, part in rows.groupby(["structure", "case"])}
    cases = list(dict.fromkeys(rows["case"]))
    test_SC2B = np.array([[test[name, case] for case in cases] for name in structures])
    return RunScores(
        rank=2,
        structures=list(structures),
        cases=cases,
        test_SC2B=test_SC2B,
        apparent_SC4=counts_above(test_SC2B, BINS // 2),
        validation_S2B=dict.fromkeys(("clean", "perturbed"), test_SC2B.sum(axis=1)),
        loss_threshold=0.0,
    )


def histogram_of(rows):
    """Scores that fall as many pixels on each side of 0 as were counted, spread to both sides."""
    tp, fp, fn, tn = rows[["tp", "fp", "fn", "tn"]].sum()
    places = np.linspace(0, BINS // 2 - 1, 40).astype(int)
    counts_2B = np.zeros((2, BINS), np.int64)
    for row, below, above in [(0, tn, fp), (1, fn, tp)]:
        # A geometric fall from 0 outwards, whose rest lies at the far end.
        for total, side in [(below, BINS // 2 - 1 - places), (above, BINS // 2 + places)]:
            parts = np.floor(total * 0.15 * 0.85 ** np.arange(40)).astype(int)
            parts[-1] += total - parts.sum()
            counts_2B[row, side] += parts
    return counts_2B


def write_labels(results, run, structures=("liver",)):
    """Write the label file of a run's dataset, perturbation and repeat."""
    tree = Results(Path(results))
    path = tree.fill(tree.measured, Run.of(run))
    path.parent.mkdir(parents=True, exist_ok=True)
    dice = label_dice(run)
    entry = {"severity": 1.5, "target_dice": run["size"], "label_dice": dice, "precision": dice}
    entry |= {"recall": dice, "volume_ratio": 1.0, "surface_distance": 1.0 if dice < 1 else None}
    content = {name: run[name] for name in ["dataset", "perturbation", "kind", "repeat"]}
    content |= {"draws": run.get("draws", 1), "structures": dict.fromkeys(structures, entry)}
    path.write_text(json.dumps(content))


def folder_of(results, run):
    """Folder of a run."""
    return Results(Path(results)).run_folder(Run.of(run)).path


def table_of(runs, results):
    """Read back the table of made-up runs."""
    return study_tables(map(Run.of, runs), Results(Path(results)))[0]


def tables_of(runs, results):
    """Read back the table of made-up runs, and what they rest on per case."""
    return study_tables(map(Run.of, runs), Results(Path(results)))


def label_dice(run):
    """Measured label Dice: near the target, not on it."""
    return 1.0 if run["size"] is None else run["size"] + 0.001 * run["repeat"]


def plausible_counts(run, structures=("liver",)):
    """Counts of three cases with two slices each, whose Dice falls with the size of the error."""
    rng = np.random.default_rng(derive(1, *(str(value) for value in run.values())))
    cost = COST.get(run["kind"], 1.0) * (1 - label_dice(run)) * RECIPES.get(run["recipe"], 0.7)
    rows = []
    for case in ["a", "b", "c"]:
        for place in [10, 11]:
            for structure in structures:
                dice = MODELS.get(run["model"], 0.85) - cost + rng.normal(0, 0.012)
                wrong = round(2000 * (1 / dice - 1))
                rows.append((case, place, structure, 1000, wrong - wrong // 3, wrong // 3, 60000))
    return rows
