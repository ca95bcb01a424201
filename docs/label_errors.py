"""Draw every kind of label error at one label Dice: docs/label-errors/kinds.png.

python docs/label_errors.py
"""

import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "scripts"))

from labelnoise import perturb  # noqa: E402
from labelnoise.data.sources import phantom  # noqa: E402
from labelnoise.report.figures.canvas import save, styled  # noqa: E402
from labelnoise.report.figures.overlay import Overlay, draw_overlays  # noqa: E402

PICTURE = ROOT / "docs" / "label-errors" / "kinds.png"
DICE, SEED = 0.85, 2
SIZE, SLICES = 160, 12
SPACING = (5.0, 1.8, 1.8)  # mm between slices, rows and columns
# Title of each panel: kind, and what is asked of it besides the label Dice.
ERRORS = {
    "natural": ("natural", {}),
    "choppy": ("choppy", {}),
    "random": ("random", {}),
    "rater": ("rater", {}),
    "rater, all hand": ("rater", {"bias_share": 1}),
    "rater, no hand": ("rater", {"bias_share": 0}),
    "bias": ("bias", {}),
    "bias, thin": ("bias", {"sign": -1}),
    "translation": ("translation", {"severity": 6}),
    "polygon": ("polygon", {"severity": 8}),
    "polygon, 8 clicks": ("polygon", {"clicks": 8, "severity": 1}),
    "interpolated": ("interpolated", {"severity": 4}),
    "omission": ("omission", {"severity": 0.5}),
    "spurious": ("spurious", {"severity": 0.5}),
}


def main():
    PICTURE.parent.mkdir(exist_ok=True)
    save(draw(), PICTURE)


@styled
def draw():
    """Draw two slices of an organ that follow on each other, and one of scattered lesions."""
    subjects = {"organ": organ(), "lesions": lesions()}
    shown = {
        "organ": ("organ", 5),
        "next slice": ("organ", 6),
        "lesions": ("lesions", 6),
    }
    wrong = {name: perturb_all(labels) for name, (_, labels) in subjects.items()}
    rows = []
    for name, position in shown.values():
        images_ZHW, labels_ZHW = subjects[name]
        image_HW = None if images_ZHW is None else images_ZHW[position]
        rows.append(
            [
                Overlay(title, image_HW, labels_ZHW[position], wrong_ZHW[position])
                for title, wrong_ZHW in wrong[name].items()
            ]
        )
    return draw_overlays(rows, [*shown], margin=0.35, legend=("added", "missed"))


def perturb_all(labels_ZHW):
    made = {}
    for title, (kind, asked) in ERRORS.items():
        size = {} if "severity" in asked else {"dice": DICE}
        made[title] = perturb(labels_ZHW, kind, spacing=SPACING, seed=SEED, **size, **asked)
    return made


def lesions():
    """Balls of 8 to 20 mm radius, no image."""
    rng = np.random.default_rng(SEED)
    labels_ZHW = np.zeros((SLICES, SIZE, SIZE), np.uint8)
    for row in (35, 80, 125):
        for column in (35, 80, 125):
            z, radius = SLICES // 2 + rng.integers(-1, 2), rng.uniform(8, 20)
            labels_ZHW |= squared_mm(z, row, column) <= radius**2
    return None, labels_ZHW


def squared_mm(z, row, column):
    axes = np.ogrid[:SLICES, :SIZE, :SIZE]
    centre = (z, row, column)
    return sum(
        ((axis - at) * side) ** 2 for axis, at, side in zip(axes, centre, SPACING, strict=True)
    )


def organ():
    """The liver of a simulated scan, with its image."""
    settings = {"target": "liver", "cases": 1, "slices": SLICES, "size": SIZE}
    images_ZHW, labels_ZHW, *_ = phantom.cases(settings, 0)[0].read()
    low, high = 0.0, 200.0  # HU
    return np.clip(2 * (images_ZHW - low) / (high - low) - 1, -1, 1), labels_ZHW.astype(np.uint8)


if __name__ == "__main__":
    main()
