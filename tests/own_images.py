"""A folder of images and masks as users have them, and a tiny study on it."""

import numpy as np
from PIL import Image

from workflow_runs import TINY

SIZE = 32
OWN = TINY | {
    "datasets": {
        "own": {
            "source": "images",
            "folder": "data/own",
            "case": r"(?P<case>p\d+)_s(?P<slice>\d+)",
            "classes": {"disc": [255]},
            "window": [0, 255],
        }
    },
    "recipes": {"short": TINY["recipes"]["short"] | {"epochs": 2}},
    "perturbations": {"choppy-x": {"kind": "choppy", "severity": 1.0}},
    "matrix": TINY["matrix"]
    | {"dataset": ["own"], "perturbation": ["control", "choppy-x"], "claims": []},
}


def write_pair(folder, case, number=0, radius=8, seed=0):
    """Write an image of a disc, and its mask."""
    rows, columns = np.indices((SIZE, SIZE)) - SIZE // 2
    inside = rows**2 + columns**2 <= radius**2
    noise = np.random.default_rng([case, number, seed]).integers(0, 60, inside.shape)
    for part, pixels in (("images", inside * 150 + noise), ("masks", inside * 255)):
        path = folder / part / f"p{case}_s{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.astype(np.uint8)).save(path)


def write_own(folder, cases=6):
    """Write a folder of images and masks, two slices of each case."""
    for case in range(cases):
        for number in range(2):
            write_pair(folder, case, number)
    return folder
