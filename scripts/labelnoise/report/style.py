"""How conditions look and what they are called: palette, order, markers and display names.

Colours are those of Okabe and Ito (jfly.uni-koeln.de/color), safe for the colour-blind. Networks
take one half of them and kinds of error the other, each ordered from dark to light, so that the
halves are not confused and both survive a grey print; markers and line styles repeat the
distinction.
"""

from collections.abc import Iterable
from typing import Any

import pandas as pd

from labelnoise.seeds import derive

# Colour of each kind; lightness L* is 0, 53, 70, 89.
KINDS = {"control": "#000000", "natural": "#D55E00", "choppy": "#56B4E9", "random": "#F0E442"}
SPARE_KINDS = ["#CC79A7", "#009E73", "#0072B2", "#E69F00"]

# Line style of each kind, where lines of several kinds share a panel.
KIND_LINES = {"control": "-", "natural": (0, (5, 1.2)), "choppy": (0, (3, 1, 1, 1)), "random": "-"}
# Marker of each kind, where markers do not tell sizes.
KIND_MARKERS = {"control": "o", "natural": "o", "choppy": "s", "random": "^"}
# Yellow is too light for a line on white; a thin dark rim carries it.
RIM = "0.35"

# Marker of each size; a size is the target label Dice.
SIZES = {"control": "o", "s": "^", "m": "s", "l": "D"}
SPARE_SIZES = ["v", "P", "X", "h", "<", ">"]
SIZE_NAMES = {0.95: "s", 0.90: "m", 0.85: "l"}

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

# Line style and marker fill of each recipe.
RECIPES = {"labels18": ("-", "full"), "plain": ("--", "none")}
SPARE_RECIPES = [("--", "none"), (":", "left"), ("-.", "bottom"), ((0, (6, 1)), "top")]

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
    "plain": "plain cross-entropy",
    "lis": "Liver CT",
    "psd": "Pancreas CT",
    "phantom": "Phantom",
    "phantom-pancreas": "Pancreas phantom",
    "mni152": "MNI152",
    "s": "s (0.95)",
    "m": "m (0.90)",
    "l": "l (0.85)",
}


def display(name: str) -> str:
    """Return the display name of a dataset, network, recipe, kind or size; else the name itself."""
    return DISPLAY_NAMES.get(name, name)


def display_perturbation(name: str) -> str:
    """Return the display name of a perturbation: `natural-0.95` becomes `natural 0.95`."""
    kind, _, size = name.partition("-")
    return f"{display(kind)} {size}" if kind in KINDS and size else name


def display_panel(dataset: str, structure: str) -> str:
    """Return the display name of a dataset, with the structure unless that is part of it."""
    title = display(dataset)
    structure = structure.replace("_", " ")
    return title if structure.lower() in title.lower() else f"{title}, {structure}"


def size_name(kind: str, target_dice: float | None) -> str:
    """Return an error's size: control, s, m or l, else its target label Dice, else `no target`."""
    if kind == "control":
        return "control"
    if target_dice is None or target_dice != target_dice:
        return "no target"
    return SIZE_NAMES.get(round(float(target_dice), 4), f"{target_dice:.2f}")


def kinds(names: Iterable[str]) -> dict[str, str]:
    """Return the colour of each kind of error, in the order to show them."""
    return _assign(names, KINDS, SPARE_KINDS)


def sizes(names: Iterable[str]) -> dict[str, str]:
    """Return the marker of each size, from the smallest error to the largest."""
    markers = _assign(names, SIZES, SPARE_SIZES)
    targets = {name: target for target, name in SIZE_NAMES.items()} | {"control": 1, "no target": 0}
    falling = sorted(markers, key=lambda name: -targets[name] if name in targets else -float(name))
    return {name: markers[name] for name in falling}


def networks(names: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Return colour and marker of each network, in the order to show them."""
    return _assign(names, NETWORKS, SPARE_NETWORKS)


def recipes(names: Iterable[str]) -> dict[str, tuple[Any, str]]:
    """Return line style and marker fill of each recipe, in the order to show them."""
    return _assign(names, RECIPES, SPARE_RECIPES)


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


def _assign(names, known, spare):
    """Return the style of every name: known names first, in their order, then the others by name.

    An unknown name starts at a place in `spare` that depends on the name alone and moves on while
    that style is taken, so names differ from each other until the spare styles run out.
    """
    names = set(names)
    chosen = {name: look for name, look in known.items() if name in names}
    for name in sorted(names - set(known)):
        start = derive(0, "style", name) % len(spare)
        turned = spare[start:] + spare[:start]
        chosen[name] = next((look for look in turned if look not in chosen.values()), turned[0])
    return chosen
