"""How conditions look and what they are called: palette, order, markers and display names.

Colours are those of Okabe and Ito (jfly.uni-koeln.de/color), safe for the colour-blind. Networks
take one half of them and kinds of error the other, each ordered from dark to light, so that the
halves are not confused and both survive a grey print; markers and line styles repeat the
distinction.
"""

import re
from collections import Counter
from collections.abc import Iterable
from typing import Any

import pandas as pd

from labelnoise.errors import InputError
from labelnoise.seeds import derive
from labelnoise.study import draws_order

# Colour of each kind; lightness L* is 0, 53, 70, 89.
KINDS = {"control": "#000000", "natural": "#D55E00", "choppy": "#56B4E9", "random": "#F0E442"}
SPARE_KINDS = ["#CC79A7", "#009E73", "#0072B2", "#E69F00"]
# For more kinds than that: those of known ones that are absent, then some of Paul Tol's.
MORE_KINDS = [*list(KINDS.values())[1:], "#332288", "#882255", "#999933", "#AA4499"]

# Line style of each kind, where lines of several kinds share a panel.
KIND_LINES = {"control": "-", "natural": (0, (5, 1.2)), "choppy": (0, (3, 1, 1, 1)), "random": "-"}
SPARE_LINES = [(0, (1, 1)), (0, (8, 1.5)), (0, (4, 1, 1, 1, 1, 1)), (0, (2, 1))]
# Marker of each kind, where markers do not tell sizes.
KIND_MARKERS = {"control": "o", "natural": "o", "choppy": "s", "random": "^"}
SPARE_MARKERS = ["v", "D", "P", "X", "h", "<", ">", "p"]
# Yellow is too light for a line on white; a thin dark rim carries it.
RIM = "0.35"

# Marker fill and line style of draws, where errors of a kind are drawn in several ways.
DRAWS_FILLS = {"1": "full", "per_epoch": "left"}
SPARE_FILLS = ["bottom", "top", "right"]
DRAWS_LINES: dict[str, Any] = {"1": "-", "per_epoch": (0, (4, 1.2))}
SPARE_DRAWS_LINES = [(0, (1, 1)), (0, (4, 1, 1, 1)), (0, (2, 1))]

# Marker of each size; a size is the target label Dice.
SIZES = {"control": "o", "0.95": "^", "0.90": "s", "0.85": "D"}
SPARE_SIZES = ["v", "P", "X", "h", "<", ">"]
MORE_SIZES = ["*", "p", "d", "8"]
NO_SIZE = "no target"

# Colour and marker of each network; L* is 46, 58, 71 and 61.
NETWORKS = {
    "unet": ("#0072B2", "o"),
    "segnet": ("#009E73", "s"),
    "fcn32": ("#E69F00", "^"),
    "fcn8": ("#CC79A7", "D"),
}
SPARE_NETWORKS = [
    ("#D55E00", "v"),
    ("#56B4E9", "P"),
    ("#000000", "X"),
    ("#CC79A7", "*"),
    ("#0072B2", "<"),
    ("#009E73", ">"),
]
MORE_NETWORKS = list(NETWORKS.values())

# Line style and marker fill of each recipe.
RECIPES = {"labels18": ("-", "full"), "plain": ("--", "none")}
SPARE_RECIPES = [("--", "none"), (":", "left"), ("-.", "bottom"), ((0, (6, 1)), "top")]
MORE_RECIPES = [
    *RECIPES.values(),
    ((0, (1, 3)), "right"),
    ((0, (4, 1, 1, 1, 1, 1)), "full"),
    ((0, (8, 2)), "none"),
    ((0, (2, 2)), "left"),
    ((0, (8, 2, 2, 2)), "bottom"),
]

DATASETS = ["lis", "psd", "phantom", "phantom-pancreas", "mni152"]

# Lighter than soft tissue, darker than the disc; in grey the reference outline separates the two.
ADDED = "#56B4E9"  # false positive
MISSED = "#E69F00"  # false negative
AGREED = "0.9"
REFERENCE_LINE = "0.45"

DISPLAY_NAMES = {
    "unet": "U-Net",
    "segnet": "SegNet",
    "fcn32": "FCN-32s",
    "fcn8": "FCN-8s",
    "nnunet": "nnU-Net",
    "own": "its own loss",
    "plain": "plain cross-entropy",
    "smoothed": "label smoothing",
    "svls": "spatially varying smoothing",
    "gce": "generalised cross-entropy",
    "sce": "symmetric cross-entropy",
    "bootstrap-soft": "soft bootstrapping",
    "bootstrap-hard": "hard bootstrapping",
    "soft-dice": "soft Dice",
    "nr-dice": "noise-robust Dice",
    "t-loss": "T-Loss",
    "small-loss": "small-loss selection",
    "early": "early stopping",
    "relabelled": "relabelling",
    "lis": "Liver CT",
    "psd": "Pancreas CT",
    "phantom": "Phantom",
    "phantom-pancreas": "Pancreas phantom",
    "mni152": "MNI152",
}


# The baseline at another threshold than 0.5, by whose labels that is chosen.
THRESHOLDS = {"clean": "threshold, clean validation", "perturbed": "threshold, noisy validation"}


def mitigation(recipe: str, at: str) -> str:
    """Return the display name of a mitigation, see `mitigation.mitigation_table`."""
    return THRESHOLDS.get(at) or display(recipe)


def display(name: str) -> str:
    """Return the display name of a dataset, network, recipe or kind; else the name itself."""
    return DISPLAY_NAMES.get(name, name)


def display_perturbation(name: str) -> str:
    """Return the display name of a perturbation: `natural-0.95` becomes `natural 0.95`."""
    kind, _, size = name.partition("-")
    return f"{display(kind)} {size}" if kind in KINDS and size else name


def display_draws(draws: str) -> str:
    """Return in a word or two how an error is drawn: fixed, cycled over the epochs, or fresh."""
    return {"1": "fixed", "per_epoch": "fresh"}.get(draws, f"{draws} cycled")


def perturbations(errors: Iterable[tuple[str, str, str]]) -> dict[str, str]:
    """Return the display name of each perturbation of a study.

    With how it is drawn, where other errors of its kind are drawn otherwise and the name does not
    say it.

    Args:
        errors: perturbation, kind and draws, as text, of each; controls and duplicates may occur.
    """
    found = dict.fromkeys(errors)
    told, names = _told((kind, draws) for _, kind, draws in found), {}
    for name, kind, draws in found:
        names[name] = display_perturbation(name)
        said = display_draws(draws)
        if kind in told and not set(said.split()) <= set(re.split("[-_.]", name.lower())):
            names[name] += f", {said}"
    return names


def perturbations_of(table: pd.DataFrame) -> dict[str, str]:
    """Return the display names of the perturbations in a table, see `perturbations`."""
    columns = _with_draws(table)[["perturbation", "kind", "draws"]]
    return perturbations(columns.itertuples(index=False, name=None))


def errors(table: pd.DataFrame) -> dict[tuple[str, str], str]:
    """Return kind and draws of the errors in a table, and what to call them, in the order to show.

    Errors of a kind that are drawn in several ways, such as fixed and fresh, are told apart.
    """
    pairs = set(_with_draws(table)[["kind", "draws"]].itertuples(index=False, name=None))
    told, names = _told(pairs), {}
    for kind in kinds(kind for kind, _ in pairs if kind != "control"):
        for draws in sorted((draws for name, draws in pairs if name == kind), key=draws_order):
            said = f", {display_draws(draws)}" if kind in told else ""
            names[kind, draws] = display(kind) + said
    return names


def draws_fills(table: pd.DataFrame) -> dict[str, str]:
    """Return the marker fill of each way to draw the errors in a table; empty if nothing differs.

    See `errors`.
    """
    return _draws(table, DRAWS_FILLS, SPARE_FILLS)


def draws_lines(table: pd.DataFrame) -> dict[str, Any]:
    """Return the line style of each way to draw the errors in a table, as `draws_fills` does."""
    return _draws(table, DRAWS_LINES, SPARE_DRAWS_LINES)


def display_panel(dataset: str, structure: str) -> str:
    """Return the display name of a dataset, with the structure unless that is part of it."""
    title = display(dataset)
    structure = structure.replace("_", " ")
    return title if structure.lower() in title.lower() else f"{title}, {structure}"


def size_name(kind: str, target_dice: float | None) -> str:
    """Return an error's size: its target label Dice, else NO_SIZE; a control's is `control`."""
    if kind == "control":
        return "control"
    if target_dice is None or target_dice != target_dice:
        return NO_SIZE
    target = round(float(target_dice), 4)
    return f"{target:.2f}" if target == round(target, 2) else f"{target:g}"


def kinds(names: Iterable[str]) -> dict[str, str]:
    """Return the colour of each kind of error, in the order to show them."""
    return _assign(names, KINDS, SPARE_KINDS, MORE_KINDS)


def kind_lines(names: Iterable[str]) -> dict[str, Any]:
    """Return the line style of each kind of error, where lines of several kinds share a panel."""
    return _assign(names, KIND_LINES, SPARE_LINES)


def kind_markers(names: Iterable[str]) -> dict[str, str]:
    """Return the marker of each kind of error, where markers do not tell sizes."""
    return _assign(names, KIND_MARKERS, SPARE_MARKERS)


def sizes(names: Iterable[str]) -> dict[str, str]:
    """Return the marker of each size, from the smallest error to the largest."""
    markers = _assign(names, SIZES, SPARE_SIZES, MORE_SIZES)
    others = {"control": 1.0, NO_SIZE: 0.0}
    falling = sorted(markers, key=lambda name: -(others[name] if name in others else float(name)))
    return {name: markers[name] for name in falling}


def networks(names: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Return colour and marker of each network, in the order to show them."""
    return _assign(names, NETWORKS, SPARE_NETWORKS, MORE_NETWORKS)


def recipes(names: Iterable[str]) -> dict[str, tuple[Any, str]]:
    """Return line style and marker fill of each recipe, in the order to show them."""
    return _assign(names, RECIPES, SPARE_RECIPES, MORE_RECIPES)


def panels(table: pd.DataFrame) -> list[tuple[str, str]]:
    """Return the pairs of dataset and structure found in a table, in the order to show them."""
    pairs = table[["dataset", "structure"]].drop_duplicates()
    return [
        (dataset, structure)
        for dataset in _assign(table["dataset"], dict.fromkeys(DATASETS), [None])
        for structure in pairs.loc[pairs["dataset"] == dataset, "structure"]
    ]


def in_panel(table: pd.DataFrame, dataset: str, structure: str) -> pd.DataFrame:
    """Return the rows of one dataset and structure."""
    return table[(table["dataset"] == dataset) & (table["structure"] == structure)]


def _with_draws(table):
    """Return a table, if it says how errors are drawn."""
    if "draws" not in table:
        raise InputError(
            "a table of the study lacks the column 'draws', since an older version made it; make "
            "it again: snakemake --forcerun summarise_runs."
        )
    return table


def _told(pairs):
    """Return the kinds of error that are drawn in several ways, from pairs of kind and draws."""
    counted = Counter(kind for kind, _ in set(pairs) if kind != "control")
    return {kind for kind, ways in counted.items() if ways > 1}


def _draws(table, known, spare):
    pairs = set(_with_draws(table)[["kind", "draws"]].itertuples(index=False, name=None))
    if not _told(pairs):
        return {}
    looks = _assign((draws for kind, draws in pairs if kind != "control"), known, spare)
    return {draws: looks[draws] for draws in sorted(looks, key=draws_order)}


def _assign(names, known, spare, more=()):
    """Return the style of every name: known names first, in their order, then the others by name.

    An unknown name starts at a place in `spare` that depends on the name alone and moves on while
    that style is taken, at last to those in `more`, so names differ from each other until these run
    out.
    """
    names = set(names)
    chosen = {name: look for name, look in known.items() if name in names}
    for name in sorted(names - set(known)):
        start = derive(0, "style", name) % len(spare)
        turned = spare[start:] + spare[:start]
        looks = (look for look in (*turned, *more) if look not in chosen.values())
        chosen[name] = next(looks, turned[0])
    return chosen
