"""Small and odd studies as tables in memory: one cell, many, no scores, several kinds of draws."""

import itertools
from functools import cached_property

import numpy as np
import pandas as pd

from labelnoise.counts import dice
from labelnoise.evaluation.contrasts import CELL
from labelnoise.evaluation.histograms import THRESHOLDS, ScoreHistogram
from labelnoise.evaluation.mitigation import mitigation_table
from labelnoise.evaluation.tables import degradation_table
from labelnoise.evaluation.thresholds import thresholds_table
from labelnoise.report.paper import slopes_beside_paper
from synthetic_runs import histogram_of

# What a run's scores come to.
PLAUSIBLE, ZERO, UNDEFINED = "plausible", "zero", "undefined"
LONG = "a-name-of-as-many-letters-as-a-config-may-have-" * 2
KINDS = ("natural", "choppy", "random", "dilated")
MODELS = ("unet", "segnet", "fcn32", "smp.Unet")
RECIPES = ("labels18", "plain", "focal", "dice")


class OddStudy:
    """A study's tables, with noise between repeats and cases.

    Args:
        kinds: kinds of error; each pair of them and `draws` is an error.
        recipes, models, datasets, structures: names.
        sizes: label Dice of each kind.
        draws: how labels are drawn.
        repeats: of each cell.
        scores: PLAUSIBLE, ZERO or UNDEFINED.
        pairs: of model and recipe that there are, all of them if None.
    """

    def __init__(
        self,
        kinds=("natural",),
        recipes=("labels18",),
        models=("unet",),
        datasets=("phantom",),
        structures=("liver",),
        sizes=(0.85,),
        draws=("1",),
        repeats=2,
        scores=PLAUSIBLE,
        pairs=None,
    ):
        rng = np.random.default_rng(0)
        errors = [("control", "control", np.nan, "1")]
        for kind, size, drawn in itertools.product(kinds, sizes, draws):
            tail = "" if drawn == draws[0] else f"-{drawn}"
            errors.append((f"{kind}-{size:.2f}{tail}", kind, size, drawn))
        rows, cases = [], []
        for cell in itertools.product(
            datasets, structures, models, recipes, errors, range(repeats)
        ):
            dataset, structure, model, recipe, (name, kind, size, drawn), repeat = cell
            if pairs is not None and (model, recipe) not in pairs:
                continue
            names = dict(zip(CELL, (dataset, structure, model, recipe, name), strict=True))
            lost = 0.0 if kind == "control" else (1 - size) * (1.5 - 0.3 * kinds.index(kind))
            counts = self._counts(rng, lost, scores).assign(**names, repeat=repeat)
            cases.append(counts)
            rows.append(
                {**names, "repeat": repeat, "kind": kind, "draws": drawn, "target_dice": size}
                | {"label_dice": 1.0 if kind == "control" else size + 0.002 * repeat}
                | self._pooled(counts)
            )
        self.runs, self.cases = pd.DataFrame(rows), pd.concat(cases, ignore_index=True)

    @staticmethod
    def _counts(rng, lost, scores):
        size = 0 if scores == UNDEFINED else 1000
        right = size if scores == PLAUSIBLE else 0
        aim = np.clip(0.9 - lost + rng.normal(0, 0.02) + rng.normal(0, 0.02, 3), 0.05, 0.99)
        wrong = np.round(size * (1 / aim - 1)).astype(int)
        table = pd.DataFrame({"case": list("abc"), "tp": right, "fp": wrong, "fn": wrong})
        table = table.assign(fn=table["fn"] + size - right, tn=60_000)
        for name in THRESHOLDS:
            table[f"tp_at_{name}"], table[f"fp_at_{name}"] = table["tp"], table["fp"] // 2
        return table

    @staticmethod
    def _pooled(counts):
        totals = counts[["tp", "fp", "fn", "tn"]].sum()
        row = {"dice": float(dice(totals.to_numpy())), "cases": 3, "label_volume_ratio": 1.02}
        row |= {f"threshold_{name}": 0.4 for name in THRESHOLDS}
        row |= {"unit": "mm", "volumetric": False, "tolerance": 2.0}
        return row | {"histogram": ScoreHistogram(histogram_of(counts))}

    @cached_property
    def degradation(self):
        return degradation_table(self.runs, self.cases)

    @cached_property
    def slopes(self):
        return slopes_beside_paper(self.runs, self.cases)

    @cached_property
    def thresholds(self):
        """With ceilings, where every error loses Dice under the loss and little at one half."""
        errors = self.runs[self.runs["kind"] != "control"]
        ceilings = errors[["dataset", "structure", "recipe", "perturbation"]].drop_duplicates()
        return thresholds_table(self.runs, self.cases, ceilings.assign(dice=0.8, dice_at_half=0.97))

    @cached_property
    def mitigation(self):
        """Against the first recipe."""
        return mitigation_table(self.runs, self.cases, self.runs["recipe"].iloc[0])

    @cached_property
    def curves(self):
        """The runs of the first dataset, with their histograms."""
        return self.runs[self.runs["dataset"] == self.runs["dataset"].iloc[0]]


STUDIES = {
    "1 x 1 x 1": {},
    "1 x 1 x 1, one repeat": {"repeats": 1},
    "10 recipes": {"recipes": tuple(f"recipe-{number}" for number in range(10))},
    "10 networks": {"models": tuple(f"network-{number}" for number in range(10))},
    "10 kinds": {"kinds": tuple(f"kind{number}" for number in range(10))},
    "10 sizes": {"sizes": tuple(np.linspace(0.95, 0.5, 10).round(2))},
    "4 x 4 x 4": {"kinds": KINDS, "recipes": RECIPES, "models": MODELS},
    "draws": {
        "kinds": ("natural", "choppy"),
        "recipes": RECIPES[:2],
        "models": MODELS[:2],
        "draws": ("1", "10", "per_epoch"),
    },
    "pairs": {
        "models": ("unet", "nnunet"),
        "recipes": ("plain", "own"),
        "pairs": {("unet", "plain"), ("nnunet", "own")},
    },
    "zeros": {"scores": ZERO},
    "undefined": {"scores": UNDEFINED},
    "long names": {
        "kinds": ("natural", f"own.{LONG}"[:99]),
        "recipes": ("labels18", LONG),
        "models": (LONG,),
        "datasets": (LONG,),
        "structures": ("liver", LONG),
    },
}
