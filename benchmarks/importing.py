"""Measure the import of LiTS-sized volumes: peak memory, and slices per second.

    python benchmarks/importing.py [--size 512] [--slices 450] [--cases 4 12] [--workers 1 2]

Makes one volume of int16 and its labels (gzipped NIfTI, removed at the end), imports as many hard
links to it as there are cases with all slices kept, and prints for each count of cases and workers
the peak resident memory of the importing process, the slices per second, and their share of those
of bare decompression of the same files on one core. Every measurement runs in its own process.
"""

import argparse
import gzip
import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter

import nibabel
import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "scripts"))

from labelnoise.config import load_config  # noqa: E402
from labelnoise.data.prepare import prepare_dataset  # noqa: E402

SPLIT = {"train": 0.5, "validation": 0.25, "test": 0.25}
NAMES = ("volume", "segmentation")


def main():
    options = parse()
    if options.measure:
        print(json.dumps(measure(**json.loads(options.measure))))
        return
    with tempfile.TemporaryDirectory() as scratch:
        make_pair(Path(scratch), options.size, options.slices)
        bare = in_own_process(scratch, options, cases=1, workers=0)["rate"]
        print(f"bare decompression, one core: {bare:.0f} slices per second")
        print(f"{'cases':>5} {'workers':>7} {'peak GB':>8} {'slices/s':>9} {'of bare':>8}")
        for workers in options.workers:
            for cases in options.cases:
                found = in_own_process(scratch, options, cases=cases, workers=workers)
                peak, rate = found["peak"], found["rate"]
                print(f"{cases:5} {workers:7} {peak:8.2f} {rate:9.0f} {rate / bare:8.2f}")


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=512, help="pixels along a slice's sides")
    parser.add_argument("--slices", type=int, default=450, help="slices of a volume")
    parser.add_argument("--cases", type=int, nargs="+", default=[4, 12], help="counts of volumes")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2], help="counts of threads")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    return parser.parse_args()


def make_pair(folder, size, slices):
    """Write a body of noisy soft tissue in air, with an organ in the middle half of the slices."""
    rng = np.random.default_rng(0)
    x, y = np.ogrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    body_IJ = (x / 0.85) ** 2 + (y / 0.65) ** 2 < 1
    organ_IJ = ((x + 0.3) / 0.35) ** 2 + (y / 0.3) ** 2 < 1
    image_IJK = np.empty((size, size, slices), np.int16, order="F")
    label_IJK = np.zeros((size, size, slices), np.uint8, order="F")
    for k in range(slices):
        noise_IJ = rng.normal(0, 15, (size, size))
        image_IJK[..., k] = np.where(body_IJ, 50 + noise_IJ, -1000 + noise_IJ / 2)
        if slices // 4 <= k < slices - slices // 4:
            label_IJK[..., k] = organ_IJ
    affine = np.diag([-0.7, -0.7, 1, 1])
    for name, array_IJK in zip(NAMES, (image_IJK, label_IJK), strict=True):
        nibabel.save(nibabel.Nifti1Image(array_IJK, affine), folder / f"{name}.nii.gz")


def in_own_process(scratch, options, **what):
    """Run `measure` in a new process, as a process's peak memory never falls."""
    what |= {"scratch": scratch, "slices": options.slices}
    command = [sys.executable, __file__, "--measure", json.dumps(what)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def measure(scratch, slices, cases, workers):
    """Return peak GB and slices per second of an import, or of bare decompression (0 workers)."""
    scratch = Path(scratch)
    start = perf_counter()
    if workers:
        import_cases(scratch, cases, workers)
    else:
        decompress(scratch)
    seconds = perf_counter() - start
    # Kilobytes on Linux, bytes on macOS.
    unit = 1 if sys.platform == "darwin" else 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9
    return {"peak": peak, "rate": cases * slices / seconds}


def import_cases(scratch, cases, workers):
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        for case in range(cases):
            for name in NAMES:
                os.link(scratch / f"{name}.nii.gz", Path(folder) / f"{name}-{case}.nii.gz")
        config = load_config(ROOT / "config.yaml", ROOT / "studies" / "labels18.yaml")
        changes = {"folder": folder, "select": "all", "size": None, "split": SPLIT}
        settings = config["datasets"]["lis"] | changes
        prepare_dataset("lis", settings, 0, Path(folder) / "lis.h5", workers)


def decompress(scratch):
    for name in NAMES:
        with gzip.open(scratch / f"{name}.nii.gz") as file:
            while file.read(2**20):
                pass


if __name__ == "__main__":
    main()
