"""Time the label errors on 512 x 512 slices against plain loops, in one process on one core.

    python benchmarks/perturbations.py

Prints milliseconds per slice (median over repeats, slices of about 7 % foreground) and how many
times faster that is than the loops of tests/label_oracle.py. Errors of volumes
are timed alone, on one slice and on a stack of 24 of 0.8 x 0.8 x 3 mm, of which distances and
objects are found anew each time.
"""

import sys
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT / "tests")]

import label_oracle  # noqa: E402
from labelnoise.config.rules import error_settings  # noqa: E402
from labelnoise.config.schema import canonical  # noqa: E402
from labelnoise.labels import perturbations  # noqa: E402
from labelnoise.labels.drawing import CalibratedError, draw_volume  # noqa: E402
from labelnoise.labels.volume import Draw, LabelVolume  # noqa: E402

# The severities of the 2018 code for a label Dice of 0.90 on liver.
SEVERITIES = {"natural": 52**0.5, "choppy": 10.5, "random": 0.10}
# Errors of volumes, as in a config: mm, slices, a probability, copies.
VOLUME_ERRORS = {
    "rater": {"kind": "rater", "severity": 1.3},
    "bias": {"kind": "bias", "severity": 3.0},
    "translation": {"kind": "translation", "severity": 5.0},
    "polygon": {"kind": "polygon", "severity": 3.0},
    "clicks": {"kind": "polygon", "severity": 1.0, "clicks": 12},
    "interpolated": {"kind": "interpolated", "severity": 3.0},
    "omission": {"kind": "omission", "severity": 0.5},
    "spurious": {"kind": "spurious", "severity": 0.5},
}
REPEATS, LOOP_REPEATS, VOLUME_REPEATS = 200, 5, 7
SPACING = (3.0, 0.8, 0.8)


def blob(row, column, radius):
    """Return a lobed blob on a 512 x 512 slice."""
    y, x = np.mgrid[:512, :512]
    angle = np.arctan2(y - row, x - column)
    lobes = 1 + 0.2 * np.sin(3 * angle) + 0.1 * np.cos(5 * angle)
    return np.hypot(y - row, x - column) < radius * lobes


def slices():
    """Return named masks (H, W), each with about 7 % foreground."""
    masks = {
        "one": blob(250, 220, 75),
        "two": blob(230, 180, 62) | blob(300, 380, 42),
        "hole": blob(250, 220, 77) & ~blob(240, 215, 18),
    }
    return {name: mask_HW.astype(np.uint8) for name, mask_HW in masks.items()}


def volumes():
    """Return named volumes (Z, H, W): the slices, one each, and the first as a stack of 24."""
    stack_ZHW = np.stack([blob(250, 220, 75 - abs(z - 12)) for z in range(24)])
    return {name: mask_HW[None] for name, mask_HW in slices().items()} | {
        "stack": stack_ZHW.astype(np.uint8)
    }


def milliseconds(function, mask_HW, arguments, repeats):
    """Return the median time of one call in milliseconds."""
    rng, times = np.random.default_rng(0), []
    for _ in range(repeats):
        start = perf_counter()
        function(mask_HW, arguments[0], rng, *arguments[1:])
        times.append(perf_counter() - start)
    return 1000 * median(times)


def milliseconds_a_slice(error, labels_ZHW, repeats):
    """Return the median time of one draw of a whole volume, in milliseconds per slice."""
    completed = canonical({"perturbations": {"timed": error}})["perturbations"]["timed"]
    severities = {1: completed["severity"]}
    settings = CalibratedError(
        error["kind"], severities, {}, 0, settings=error_settings(completed)
    ).own_settings
    times, wanted = [], range(len(labels_ZHW))
    for number in range(repeats):
        volume, draw = LabelVolume(labels_ZHW, SPACING), Draw(0, number, 0, 0)
        start = perf_counter()
        draw_volume(volume, error["kind"], severities, draw, wanted, settings)
        times.append(perf_counter() - start)
    return 1000 * median(times) / len(labels_ZHW)


def main():
    print(f"{'kind':12} {'slice':6} {'foreground':>10} {'ms':>8} {'loops ms':>9} {'ratio':>6}")
    for kind, severity in SEVERITIES.items():
        for name, mask_HW in slices().items():
            share = mask_HW.mean()
            arguments = (severity, share) if kind == "random" else (severity,)
            ours = milliseconds(getattr(perturbations, kind), mask_HW, arguments, REPEATS)
            loops = milliseconds(getattr(label_oracle, kind), mask_HW, arguments, LOOP_REPEATS)
            print(f"{kind:12} {name:6} {share:10.1%} {ours:8.3f} {loops:9.1f} {loops / ours:6.0f}")
    for kind, error in VOLUME_ERRORS.items():
        for name, labels_ZHW in volumes().items():
            if kind == "interpolated" and len(labels_ZHW) == 1:
                continue
            repeats = REPEATS if len(labels_ZHW) == 1 else VOLUME_REPEATS
            ours = milliseconds_a_slice(error, labels_ZHW, repeats)
            print(f"{kind:12} {name:6} {labels_ZHW.mean():10.1%} {ours:8.3f}")


if __name__ == "__main__":
    main()
