"""Whole studies of images of several channels: colour, and two MR sequences on one grid."""

import json

import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk
from PIL import Image

from labelnoise.training.checkpoints import load_run
from volume_files import save, to_sitk
from workflow_runs import TINY, snakemake

SIZE, CASES = 32, 5
SHARES = {"train": 0.6, "validation": 0.2, "test": 0.2}


def make_case(case):
    """Return a disc (H, W) of one case, and two noisy channels, each bright in another half."""
    rng = np.random.default_rng(case)
    rows, columns = np.indices((SIZE, SIZE))
    centre = rng.integers(12, 20, 2)
    disc_HW = (rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 <= 49
    left_HW = columns < centre[1]
    halves = (disc_HW & left_HW, disc_HW & ~left_HW)
    noise = rng.integers(0, 60, (2, SIZE, SIZE))
    return disc_HW.astype(np.uint8), [(128 * half + noise[k]) for k, half in enumerate(halves)]


def write_colour(folder):
    """Write PNG files, red in the left half of the disc and blue in the right one."""
    for case in range(CASES):
        disc_HW, (red, blue) = make_case(case)
        pixels = np.stack([red, np.full_like(red, case), blue], axis=2).astype(np.uint8)
        for kind, array in (("images", pixels), ("masks", disc_HW * 255)):
            (folder / kind).mkdir(parents=True, exist_ok=True)
            Image.fromarray(array).save(folder / kind / f"p{case}.png")


def write_sequences(folder):
    """Write NIfTI files of one slice, the second sequence and the label with turned axes."""
    for case in range(CASES):
        disc_HW, (first, second) = make_case(case)
        save(folder / f"{case}_t1.nii.gz", first[None].astype(np.int16))
        turned = sitk.DICOMOrient(to_sitk((second[None] - 64).astype(np.int16)), "RSP")
        save(folder / f"{case}_flair.nii.gz", turned)
        save(
            folder / f"segmentation-{case}.nii.gz", sitk.DICOMOrient(to_sitk(disc_HW[None]), "RAS")
        )


DATASETS = {
    "colour": {
        "source": "images",
        "folder": "colour",
        "case": "(p.)",
        "colour": "rgb",
        "classes": {"disc": [255]},
        "window": [0, 256],
        "split": SHARES,
    },
    "sequences": {
        "source": "nifti",
        "folder": "sequences",
        "images": {"T1": "(.)_t1.nii.gz", "FLAIR": "(.)_flair.nii.gz"},
        "labels": "segmentation-(.).nii.gz",
        "classes": {"disc": [1]},
        "window": {"T1": [0, 256], "FLAIR": [-64, 192]},
        "split": SHARES,
    },
}
STUDY = TINY | {
    "datasets": DATASETS,
    "preview_every": 8,
    "recipes": {"short": {**TINY["recipes"]["short"], "epochs": 8, "steps_per_epoch": 8}},
    "matrix": {
        **TINY["matrix"],
        "dataset": list(DATASETS),
        "perturbation": ["control"],
        "repeats": 1,
    },
}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("channels")
    write_colour(folder / "colour")
    write_sequences(folder / "sequences")
    done = snakemake(folder, STUDY, *(f"{run_of(name)}/test.csv" for name in DATASETS))
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def run_of(dataset):
    return f"results/runs/{dataset}/small/short/control/rep0"


def source_images(dataset, case):
    """Return the channels (K, H, W) of a case from the numbers that its files were made of."""
    _, (first, second) = make_case(case)
    if dataset == "colour":
        return np.stack([first, np.full_like(first, case), second])
    return np.stack([first, second - 64])


@pytest.mark.parametrize("dataset", DATASETS)
def test_the_reloaded_network_predicts_what_was_counted(home, dataset):
    run = home / run_of(dataset)
    trained = load_run(run)
    names = {"colour": ["red", "green", "blue"], "sequences": ["T1", "FLAIR"]}
    assert trained.channels == names[dataset]
    counts = pd.read_csv(run / "test.csv", dtype={"case": str})
    counts = counts[counts["rank"] == json.loads((run / "run.json").read_text())["chosen_rank"]]
    assert len(counts) == 1
    for _, row in counts.iterrows():
        # In the order of the source's names, from case001.
        case = int(row["case"].removeprefix("case")) - 1
        disc_HW = make_case(case)[0].astype(bool)
        (probabilities_CHW,) = trained.predict(source_images(dataset, case)[None])
        predicted_HW = probabilities_CHW[1] > 0.5
        assert row["tp"] == (predicted_HW & disc_HW).sum() > 0
        assert row["fp"] == (predicted_HW & ~disc_HW).sum()
        assert row["fn"] == (~predicted_HW & disc_HW).sum()
        # The channels in another order are other images.
        turned = trained.predict(source_images(dataset, case)[None, ::-1])
        assert ((turned[0, 1] > 0.5) != predicted_HW).any()
    assert json.loads((run / "run.json").read_text())["parameters"] == sum(
        weight.numel() for weight in trained.network.parameters()
    )
    with Image.open(run / "previews/epoch00008.png") as grid:
        assert grid.size == (3 * SIZE, SIZE)
