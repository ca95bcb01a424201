"""Compare `natural` with the same algorithm whose contours are found and filled by OpenCV.

    make opencv
    python benchmarks/opencv.py --output docs/speed/opencv.csv

Medians of processor time on the slices of benchmarks/perturbations.py, of first draws, and of draws
of masks whose outlines are kept. OpenCV's contours lead through the centres of border pixels, ours
half way to the background.
"""

import argparse
import importlib.util
import sys
from functools import partial
from pathlib import Path

import numpy as np

try:
    import cv2
except ImportError:
    sys.exit("error: OpenCV is not installed here; run `make opencv` first.")

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "scripts"))

from labelnoise.labels import perturbations  # noqa: E402
from labelnoise.labels.contours import Contours  # noqa: E402
from perturbations import SEVERITIES, TURNS, in_turns, slices  # noqa: E402
from rows import Rows, add_output  # noqa: E402

# Binary digits after the point of the coordinates that OpenCV fills.
DIGITS = 4


def find_contours(mask_HW: np.ndarray) -> Contours:
    """Do what labelnoise.labels.contours does, by OpenCV."""
    found, hierarchy_K4 = cv2.findContours(mask_HW, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    closed = [np.concatenate([contour, contour[:1]])[:, 0, ::-1] for contour in found]
    lengths = [len(contour) for contour in closed]
    numbers_K, outer_K = np.arange(len(closed)), hierarchy_K4[0, :, 3] < 0
    return Contours(
        np.concatenate(closed).astype(float),
        np.cumsum([0, *lengths[:-1]]),
        np.repeat(numbers_K, lengths),
        np.where(outer_K, numbers_K, hierarchy_K4[0, :, 3]),
        outer_K,
    )


def fill(contours: Contours, moved_P2: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Do what labelnoise.labels.contours does, by OpenCV, all contours by the even-odd rule."""
    whole_P2 = np.rint(moved_P2[:, ::-1] * 2**DIGITS).astype(np.int32)
    mask_HW = np.zeros(shape, np.uint8)
    polygons = np.split(whole_P2, contours.starts_K[1:])
    return cv2.fillPoly(mask_HW, polygons, 1, cv2.LINE_8, DIGITS)


def with_opencv():
    """Return a module like labelnoise.labels.perturbations, with contours by OpenCV."""
    spec = importlib.util.find_spec(perturbations.__name__)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.find_contours, module.fill = find_contours, fill
    return module


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_output(parser)
    output = parser.parse_args().output
    cv2.setNumThreads(1)
    rows, modules = Rows(), (with_opencv(), perturbations)
    rng, severity = np.random.default_rng(0), SEVERITIES["natural"]
    for name, mask_HW in slices().items():
        for each in modules:
            outlines = each.trace(mask_HW)
            unmoved_HW = each.fill(outlines.contours, outlines.contours.points_P2, mask_HW.shape)
            assert (unmoved_HW == mask_HW).all(), f"{name}: its contours bound another mask"
        first = [partial(each.natural, mask_HW, severity, rng) for each in modules]
        again = [
            partial(each, outlines=of.trace(mask_HW))
            for each, of in zip(first, modules, strict=True)
        ]
        for what, draws in (("", first), (" again", again)):
            before, after = in_turns(TURNS, *draws)
            rows.add(f"draw natural{what}, {name}", before=before, after=after, unit="ms a slice")
    rows.write(output)


if __name__ == "__main__":
    main()
