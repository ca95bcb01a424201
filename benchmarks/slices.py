"""Time slices on their way from files to a network: preparing, reading, drawing their labels anew.

    python benchmarks/slices.py

On one core, in CPU seconds of this process, in turns, of which the medians count. The slices are of
512 pixels, from the simulated abdomen. "Before" is what there was: images widened to 32 bits and
reference labels read beside the labels trained on; gzip at level 4. For NIfTI it is nibabel's bare
read of the same files.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import process_time

import nibabel
import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "scripts"))

from dataclasses import replace  # noqa: E402

import torch  # noqa: E402

from labelnoise.data import storage  # noqa: E402
from labelnoise.data.prepare import prepare_dataset  # noqa: E402
from labelnoise.data.storage import Dataset, LabelFile  # noqa: E402
from labelnoise.labels.dataset import calibrate_dataset, perturb_dataset  # noqa: E402
from labelnoise.labels.drawing import CalibratedError, Drawer  # noqa: E402
from labelnoise.study import read_study  # noqa: E402
from labelnoise.training.batches import Index, Slices  # noqa: E402
from rows import Rows, add_output  # noqa: E402

STUDY = read_study(ROOT / "config.yaml")
KINDS = ("natural", "choppy", "random")
SIZE, CASES, SLICES, BATCH, TURNS = 512, 10, 8, 20, 7
OLD_LEVEL = 4
MS = "ms a slice"
ROOMY = 2**40


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=SIZE, help="pixels along a side")
    parser.add_argument("--turns", type=int, default=TURNS)
    add_output(parser)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows = Rows()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        old, new = (prepare(folder, arguments.size, level) for level in (OLD_LEVEL, None))
        size = {"before": old.stat().st_size, "after": new.stat().st_size}
        slices = CASES * SLICES
        rows.add("file", **{key: each / slices for key, each in size.items()}, unit="bytes a slice")
        measure_reading(rows, folder, old, new, arguments.turns)
        measure_drawing(rows, folder, old, new, arguments.turns)
        measure_nifti(rows, folder, new, arguments.turns)
    rows.write(arguments.output)


def prepare(folder, size, level=None):
    """Prepare the simulated abdomen, compressed at a level; None is ours."""
    path = folder / f"phantom-{level}.h5"
    settings = {**STUDY.datasets["phantom"], "cases": CASES, "slices": SLICES, "size": size}
    with_level(level, lambda: prepare_dataset("phantom", settings, seed=1, path=path))
    return path


def with_level(level, function):
    ours = storage.GZIP_LEVEL
    storage.GZIP_LEVEL = ours if level is None else level
    try:
        return function()
    finally:
        storage.GZIP_LEVEL = ours


def write_labels(folder, dataset, kind, draws):
    """Write the labels of a kind at label Dice 0.9."""
    name = f"{kind}-0.90"
    error = replace(STUDY.perturbations[name], draws=draws)
    calibration, labels = folder / f"{name}.json", folder / f"{name}-{draws}.h5"
    if not calibration.exists():
        calibrate_dataset(dataset, name, error, 1, calibration)
    perturb_dataset(dataset, calibration, error, 0, 1, labels, folder / "measured.json")
    return LabelFile(labels)


def measure_reading(rows, folder, old, new, turns):
    labels, was = write_labels(folder, new, "natural", 1), Dataset(old)
    chosen = was.rows("train")[:BATCH]

    def read_before():
        images_NKHW, _ = was.read(chosen)
        torch.from_numpy(images_NKHW.astype(np.float32))
        torch.from_numpy(labels.read(chosen, 0).astype(np.int64))

    data = Dataset(new)
    slices = Slices(data, data.rows("train"), labels, room=0)
    found = milliseconds(read_before, lambda: take(slices), turns)
    rows.add("reading images and fixed labels from files", **found, unit=MS)


def measure_drawing(rows, folder, old, new, turns):
    was, data = Dataset(old), Dataset(new)
    for kind in KINDS:
        labels = write_labels(folder, new, kind, "per_epoch")
        drawer = Drawer(was, CalibratedError.of(labels))
        chosen = data.rows("train")[:BATCH]

        def read_before(drawer=drawer, chosen=chosen):
            images_NKHW, reference_NHW = was.read(chosen)
            torch.from_numpy(images_NKHW.astype(np.float32))
            torch.from_numpy(drawer.labels(chosen, 3, reference_NHW).astype(np.int64))

        held, read = (Slices(data, data.rows("train"), labels, room=room) for room in (ROOMY, 0))
        for where, slices in (("memory", held), ("files", read)):
            found = milliseconds(read_before, lambda slices=slices: take(slices), turns)
            rates = {key: 1000 / each for key, each in found.items()}
            if where == "memory":
                del rates["before"]
            rows.add(f"fresh {kind} labels, slices from {where}", **rates, unit="images/s")


def take(slices):
    return slices.__getitems__([Index(place, 3) for place in range(BATCH)])


def measure_nifti(rows, folder, path, turns):
    """Write the slices as scans, one file of 16 bits a case, and prepare them."""
    source, data = folder / "scans", Dataset(path)
    source.mkdir()
    for number, case in enumerate(np.unique(data.case)):
        images_NKHW, labels_NHW = data.read(np.flatnonzero(data.case == case))
        for name, values_NHW in (
            ("volume", np.rint(128 * images_NKHW[:, 0]).astype(np.int16)),
            ("segmentation", labels_NHW),
        ):
            values_IJK = values_NHW.transpose(2, 1, 0)
            image = nibabel.Nifti1Image(values_IJK, np.diag([0.8, 0.8, 5, 1]))
            nibabel.save(image, source / f"{name}-{number}.nii.gz")
    settings = {
        "source": "volumes",
        "folder": str(source),
        "classes": {"liver": [1]},
        "window": [-128, 128],
        "size": data.shape[0],
    }
    completed = complete(settings)

    def bare():
        for file in source.iterdir():
            np.asarray(nibabel.load(file).dataobj)

    def prepared(level=None):
        prepare = lambda: prepare_dataset("scans", completed, seed=1, path=folder / "scans.h5")  # noqa: E731
        with_level(level, prepare)

    number = CASES * SLICES
    found = milliseconds(bare, prepared, turns, number)
    rows.add("preparing NIfTI, against nibabel's bare read", **found, unit=MS)
    found = milliseconds(lambda: prepared(OLD_LEVEL), prepared, turns, number)
    rows.add("preparing NIfTI", **found, unit=MS)


def complete(dataset):
    """Return a dataset's settings with the schema's defaults."""
    from labelnoise.config.schema import canonical

    return canonical({"datasets": {"scans": dataset}})["datasets"]["scans"]


def milliseconds(
    before: Callable[[], object], after: Callable[[], object], turns: int, slices: int = BATCH
) -> dict[str, float]:
    """Return the median CPU time of both for each of so many slices; they take turns."""
    times = {"before": [], "after": []}
    for _ in range(turns + 1):
        for name, function in (("before", before), ("after", after)):
            started = process_time()
            function()
            times[name].append(1000 * (process_time() - started) / slices)
    return {name: median(found[1:]) for name, found in times.items()}


if __name__ == "__main__":
    main()
