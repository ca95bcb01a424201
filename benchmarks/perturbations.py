"""Time the label errors on 512 x 512 slices against plain loops, in one process on one core.

    python benchmarks/perturbations.py

Prints milliseconds per slice (median over repeats, slices of about 7 % foreground) and how many
times faster that is than the loops of tests/label_oracle.py.
"""

import sys
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT / "tests")]

import label_oracle  # noqa: E402
from labelnoise.labels import perturbations  # noqa: E402

# The severities of the 2018 code for a label Dice of 0.90 on liver.
SEVERITIES = {"natural": 52**0.5, "choppy": 10.5, "random": 0.10}
REPEATS, LOOP_REPEATS = 200, 5


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


def milliseconds(function, mask_HW, arguments, repeats):
    """Return the median time of one call in milliseconds."""
    rng, times = np.random.default_rng(0), []
    for _ in range(repeats):
        start = perf_counter()
        function(mask_HW, arguments[0], rng, *arguments[1:])
        times.append(perf_counter() - start)
    return 1000 * median(times)


def main():
    print(f"{'kind':8} {'slice':6} {'foreground':>10} {'ms':>8} {'loops ms':>9} {'ratio':>6}")
    for kind, severity in SEVERITIES.items():
        for name, mask_HW in slices().items():
            share = mask_HW.mean()
            arguments = (severity, share) if kind == "random" else (severity,)
            ours = milliseconds(getattr(perturbations, kind), mask_HW, arguments, REPEATS)
            loops = milliseconds(getattr(label_oracle, kind), mask_HW, arguments, LOOP_REPEATS)
            print(f"{kind:8} {name:6} {share:10.1%} {ours:8.3f} {loops:9.1f} {loops / ours:6.0f}")


if __name__ == "__main__":
    main()
