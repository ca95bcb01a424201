"""Time label errors on 512 x 512 slices: drawing, writing, reading and measuring them, on one core.

    python benchmarks/perturbations.py --output docs/speed/perturbations.csv

Medians of processor time; slices have about 7 % foreground. What is compared takes turns. "Before"
is, of drawing `natural`, `choppy` and `random`, the plain loops of tests/label_oracle.py; of
drawing again, outlines that are not kept; of distances, scipy's transforms of both sides; of
writing and reading, a byte a pixel under gzip 4; of measuring, boundaries sought in the whole slice
and scipy's trees as they are. Errors of volumes are timed on one slice and on a stack of 24 of
0.8 x 0.8 x 3 mm, with distances and objects found anew.
"""

import argparse
import sys
import tempfile
from functools import partial
from pathlib import Path
from statistics import median
from time import process_time

import h5py
import numpy as np
from scipy import ndimage
from scipy.spatial import KDTree

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT / "tests")]

import label_oracle  # noqa: E402
from labelnoise.config.rules import error_settings  # noqa: E402
from labelnoise.config.schema import canonical  # noqa: E402
from labelnoise.data.checksums import STORED  # noqa: E402
from labelnoise.data.storage import LabelFile, write_labels  # noqa: E402
from labelnoise.labels import perturbations  # noqa: E402
from labelnoise.labels.distances import to_other_side  # noqa: E402
from labelnoise.labels.drawing import CalibratedError, draw_volume  # noqa: E402
from labelnoise.labels.error import boundary_pixels, surface_distances, tree_of  # noqa: E402
from labelnoise.labels.volume import Draw, LabelVolume  # noqa: E402
from rows import Rows, add_output  # noqa: E402

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
SPACING = (3.0, 0.8, 0.8)
REACH = 20.0  # mm, about that of `rater` here
TURNS, LOOP_TURNS, STACK_TURNS = 100, 5, 7
SLICES = 64  # in a file


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


def in_turns(turns, *functions):
    """Return the median time of a call of each function, in milliseconds."""
    times = [[] for _ in functions]
    for _ in range(turns):
        for function, own in zip(functions, times, strict=True):
            start = process_time()
            function()
            own.append(process_time() - start)
    return [1000 * median(own) for own in times]


def perturbed(kind, mask_HW, rng, where=perturbations):
    """Return a mask with an error of the 2018 code's size."""
    share = (mask_HW.mean(),) if kind == "random" else ()
    return getattr(where, kind)(mask_HW, SEVERITIES[kind], rng, *share)


def add_kinds(rows):
    """Time drawing, writing, reading and measuring of kinds that act on slices."""
    rng = np.random.default_rng(0)
    for kind in SEVERITIES:
        for name, mask_HW in slices().items():
            draw = [
                lambda where=where: perturbed(kind, mask_HW, rng, where)  # noqa: B023
                for where in (label_oracle, perturbations)
            ]
            (before, _), (after,) = in_turns(LOOP_TURNS, *draw), in_turns(TURNS, draw[1])
            rows.add(f"draw {kind}, {name}", before=before, after=after, unit="ms a slice")
    for name, mask_HW in slices().items():
        again = [
            partial(perturbations.natural, mask_HW, SEVERITIES["natural"], rng, outlines)
            for outlines in (None, perturbations.trace(mask_HW))
        ]
        before, after = in_turns(TURNS, *again)
        rows.add(f"draw natural again, {name}", before=before, after=after, unit="ms a slice")
    for kind in SEVERITIES:
        mask_HW = slices()["one"]
        wrong_NHW = np.stack([perturbed(kind, mask_HW, rng) for _ in range(SLICES)])
        with tempfile.TemporaryDirectory() as folder:
            add_file(rows, kind, wrong_NHW, Path(folder))
        times = in_turns(
            TURNS,
            lambda: whole_slice_distances(mask_HW, wrong_NHW[0]),  # noqa: B023
            lambda: surface_distances(mask_HW, wrong_NHW[0]),  # noqa: B023
        )
        rows.add(f"measure {kind}, one", before=times[0], after=times[1], unit="ms a slice")
        # The least that any distance to a wrong outline takes.
        (least,) = in_turns(TURNS, lambda: tree_of(boundary_pixels(wrong_NHW[0])))  # noqa: B023
        rows.add(f"only find the outline of {kind}, one", after=least, unit="ms a slice")


def add_file(rows, kind, labels_NHW, folder):
    """Time writing and reading of labels as bytes, and as label files hold them."""
    ours, plain = folder / "ours.h5", folder / "plain.h5"
    about = {"dataset": "a", "perturbation": kind, "kind": kind, "severities": {}, "seed": 0}
    about |= {"foreground_fractions": {}, "draws": 1, "classes": 2, "shape": labels_NHW.shape[1:]}

    def write_plain():
        with h5py.File(plain, "w") as file:
            chunk = (1, *labels_NHW.shape[1:])
            stored = file.create_dataset("labels", labels_NHW.shape, "u1", chunks=chunk, **STORED)
            stored[:] = labels_NHW

    def write():
        with write_labels(ours, rows=range(len(labels_NHW)), **about) as writer:
            writer.write(0, 0, labels_NHW)

    def read_plain():
        with h5py.File(plain) as file:
            return np.stack([file["labels"][row] for row in range(len(labels_NHW))])

    def read():
        with LabelFile(ours) as file:
            return file.read(range(len(labels_NHW)), 0)

    for what, functions in (("write", (write_plain, write)), ("read", (read_plain, read))):
        before, after = (time / len(labels_NHW) for time in in_turns(STACK_TURNS, *functions))
        rows.add(f"{what} {kind}, one", before=before, after=after, unit="ms a slice")
    assert (read() == read_plain()).all()
    before, after = (path.stat().st_size / len(labels_NHW) for path in (plain, ours))
    rows.add(f"store {kind}, one", before=before, after=after, unit="bytes a slice")


def whole_slice_distances(reference_HW, perturbed_HW):
    """Return what `surface_distances` does, without a look at where the boundary lies."""
    boundaries = []
    for mask_HW in (reference_HW, perturbed_HW):
        padded = np.pad(mask_HW.astype(bool), 1)
        enclosed = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
        boundaries.append(np.argwhere(padded[1:-1, 1:-1] & ~enclosed))
    pairs = (boundaries, boundaries[::-1])
    return np.concatenate([KDTree(to_B2).query(from_B2)[0] for from_B2, to_B2 in pairs])


def add_volumes(rows):
    """Time distances, and drawing of kinds that act on volumes."""
    for name, labels_ZHW in volumes().items():
        turns = TURNS if len(labels_ZHW) == 1 else STACK_TURNS
        structure = LabelVolume(labels_ZHW, SPACING).structure(1)
        mask = structure.mask_ZHW[structure.grown_box(REACH)]
        numbers, objects = ndimage.label(mask, np.ones((3, 3, 3)))
        times = in_turns(
            turns,
            lambda: [_places(mask), _places(~mask)],  # noqa: B023
            lambda: to_other_side(numbers, objects, SPACING, REACH),  # noqa: B023
        )
        before, after = (time / len(labels_ZHW) for time in times)
        rows.add(f"distances, {name}", before=before, after=after, unit="ms a slice")
    for kind, error in VOLUME_ERRORS.items():
        for name, labels_ZHW in volumes().items():
            if kind != "interpolated" or len(labels_ZHW) > 1:
                after = milliseconds_a_slice(error, labels_ZHW)
                rows.add(f"draw {kind}, {name}", after=after, unit="ms a slice")


def _places(mask_ZHW):
    """Return where the nearest voxels outside a mask are, as scipy finds them."""
    return ndimage.distance_transform_edt(
        mask_ZHW, SPACING, return_distances=False, return_indices=True
    )


def milliseconds_a_slice(error, labels_ZHW):
    """Return the median time of one draw of a whole volume, in milliseconds per slice."""
    completed = canonical({"perturbations": {"timed": error}})["perturbations"]["timed"]
    severities = {1: completed["severity"]}
    settings = CalibratedError(
        error["kind"], severities, {}, 0, settings=error_settings(completed)
    ).own_settings
    wanted = range(len(labels_ZHW))
    draws = iter(range(TURNS))

    def draw():
        volume, numbers = LabelVolume(labels_ZHW, SPACING), Draw(0, next(draws), 0, 0)
        draw_volume(volume, error["kind"], severities, numbers, wanted, settings)

    (time,) = in_turns(TURNS if len(labels_ZHW) == 1 else STACK_TURNS, draw)
    return time / len(labels_ZHW)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_output(parser)
    output = parser.parse_args().output
    rows = Rows()
    add_kinds(rows)
    add_volumes(rows)
    rows.write(output)


if __name__ == "__main__":
    main()
