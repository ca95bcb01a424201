"""How figures and tables look: sizes, fonts, palette, order and display names of conditions.

Colours are those of Okabe and Ito (jfly.uni-koeln.de/color), safe for the colour-blind. Networks
take one half of them and kinds of error the other, each ordered from dark to light, so that neither
half is mistaken for the other and both survive a grey print; markers and line styles repeat the
distinction.
"""

from functools import wraps
from pathlib import Path

import matplotlib
import seaborn

from labelnoise.errors import InputError
from labelnoise.files import whole_file
from labelnoise.seeds import derive

COLUMN_WIDTH = 3.5  # inches, one column of a paper
PAGE_WIDTH = 7.0
RESOLUTION = 300  # dots per inch of a PNG

# Seaborn's white grid for a paper, tightened to the sizes that journals print.
RC = {
    **seaborn.axes_style("whitegrid"),
    **seaborn.plotting_context("paper"),
    "font.family": "DejaVu Sans",
    "font.size": 7,
    "axes.titlesize": 8,
    "axes.labelsize": 7,
    "xtick.labelsize": 6.5,
    "ytick.labelsize": 6.5,
    "legend.fontsize": 6.5,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "axes.edgecolor": "0.15",
    "xtick.bottom": True,
    "ytick.left": True,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "grid.color": "0.92",
    "grid.linewidth": 0.5,
    "lines.linewidth": 1.1,
    "lines.markersize": 3.8,
    "pdf.fonttype": 42,  # journals refuse Type 3 fonts
    "savefig.dpi": RESOLUTION,
}

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

# Lighter than soft tissue, darker than the disc; in grey the reference outline parts the two.
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


def display(name):
    """Display name of a dataset, network, recipe, kind or size; unknown names stay as they are."""
    return DISPLAY_NAMES.get(name, name)


def display_perturbation(name):
    """Display name of a perturbation: `natural-0.95` becomes `natural 0.95`."""
    kind, _, size = name.partition("-")
    return f"{display(kind)} {size}" if kind in KINDS and size else name


def display_panel(dataset, structure):
    """Display name of a dataset and structure, unless the first already tells the second."""
    title = display(dataset)
    structure = structure.replace("_", " ")
    return title if structure.lower() in title.lower() else f"{title}, {structure}"


def size_name(kind, target_dice):
    """Name of an error's size: control, s, m or l, else the target label Dice, else `no target`."""
    if kind == "control":
        return "control"
    if target_dice is None or target_dice != target_dice:
        return "no target"
    return SIZE_NAMES.get(round(float(target_dice), 4), f"{target_dice:.2f}")


def kinds(names):
    """Colour of each kind of error, in the order to show them."""
    return _assign(names, KINDS, SPARE_KINDS)


def sizes(names):
    """Marker of each size, from the smallest error to the largest."""
    markers = _assign(names, SIZES, SPARE_SIZES)
    targets = {name: target for target, name in SIZE_NAMES.items()} | {"control": 1, "no target": 0}
    falling = sorted(markers, key=lambda name: -float(targets.get(name, name)))
    return {name: markers[name] for name in falling}


def networks(names):
    """Colour and marker of each network, in the order to show them."""
    return _assign(names, NETWORKS, SPARE_NETWORKS)


def recipes(names):
    """Line style and marker fill of each recipe, in the order to show them."""
    return _assign(names, RECIPES, SPARE_RECIPES)


def panels(table):
    """Pairs of dataset and structure found in a table, in the order to show them."""
    pairs = table[["dataset", "structure"]].drop_duplicates()
    return [
        (dataset, structure)
        for dataset in _assign(table["dataset"], dict.fromkeys(DATASETS), [None])
        for structure in pairs.loc[pairs["dataset"] == dataset, "structure"]
    ]


def styled(draw):
    """Decorate a function that draws a figure, so that it draws in this style alone."""

    @wraps(draw)
    def wrapper(*args, **kwargs):
        with matplotlib.rc_context(RC):
            return draw(*args, **kwargs)

    return wrapper


@styled
def save(figure, path):
    """Write a figure as PDF or PNG, by suffix; equal figures give equal bytes.

    Raises:
        InputError: the suffix is neither .pdf nor .png.
    """
    # Dates and version strings would make equal figures differ.
    metadata = {".pdf": {"CreationDate": None}, ".png": {"Software": None}}
    suffix = Path(path).suffix.lower()
    if suffix not in metadata:
        raise InputError(
            f"{path}: a figure is written as .pdf or .png, not as {suffix or 'no suffix'}."
        )
    with whole_file(path) as temporary:
        figure.savefig(temporary, format=suffix[1:], metadata=metadata[suffix])


def save_all(figure, paths):
    """Write a figure to each of several paths; see `save`."""
    for path in paths:
        save(figure, path)


def _assign(names, known, spare):
    """Give every name its style: known names first, in their order, then the others by name.

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
