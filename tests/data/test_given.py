"""Given labels: read by every source as its reference, on the same slices and the same grid."""

import importlib.util
import json
import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dicom_files import LABEL, write_nifti, write_seg, write_series
from labelnoise.config import complete
from labelnoise.data.given import prepare_given
from labelnoise.data.prepare import prepare_dataset
from labelnoise.data.storage import Dataset, GivenLabels, LabelFile
from labelnoise.study import Study
from refusals import assert_refused
from settings import CONFIG

DOCS = Path(__file__).parents[2] / "docs"
spec = importlib.util.spec_from_file_location("your_data", DOCS / "your_data.py")
your_data = importlib.util.module_from_spec(spec)
spec.loader.exec_module(your_data)

# Where the reference labels of the examples of docs/your-data.md lie.
PLACES = {"pictures": "pictures/masks", "nnunet": "nnunet/labelsTr", "dicom": "dicom-labels"}
SIZE = 8


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def study_of(dataset, **reading):
    """Return a study of one dataset, "own", and one folder of given labels, "intern"."""
    given = {"kind": "given", "folder": "intern", **reading}
    matrix = CONFIG["matrix"] | {"dataset": ["own"], "perturbation": ["intern"]}
    definitions = {"datasets": {"own": dataset}, "perturbations": {"intern": given}}
    return Study.of(complete(CONFIG | definitions | {"matrix": matrix}))


def prepare(dataset, fold="own", **reading):
    """Prepare a dataset and given labels of it; return both files, opened."""
    study = study_of(dataset, **reading)
    if not Path("own.h5").exists():
        prepare_dataset(fold, study.datasets[fold], 0, "own.h5")
    path = Path("intern.h5")
    prepare_given(Path("own.h5"), "intern", study.given_settings("own", "intern"), path)
    return Dataset("own.h5"), GivenLabels.of(LabelFile(path))


@pytest.mark.parametrize("name", your_data.WRITERS)
def test_a_copy_of_the_reference_is_the_reference_in_every_source(name):
    settings = your_data.datasets()[name]
    your_data.WRITERS[name](Path(settings["folder"]))
    place = Path("data", PLACES.get(name, Path(settings["folder"]).name))
    if name == "nnunet":
        place = Path(settings["folder"], "labelsTr")
    shutil.copytree(place, "intern")
    data, given = prepare(settings)
    assert given.rows.tolist() == list(range(len(data)))
    labels_NHW = given.read(given.rows)
    assert labels_NHW.any()
    np.testing.assert_array_equal(labels_NHW, data.read_labels(given.rows))


def test_labels_of_a_decathlon_task_go_by_the_names_that_it_lists():
    settings = your_data.datasets()["nnunet"]
    folder = Path(settings["folder"])
    your_data.WRITERS["nnunet"](folder)
    names = [path.name for path in sorted((folder / "labelsTr").iterdir())]
    pairs = [{"image": f"./imagesTr/{name}", "label": f"./labelsTr/{name}"} for name in names]
    labels = {"0": "background", "1": "liver"}
    about = {"modality": {"0": "CT"}, "labels": labels, "training": pairs}
    (folder / "dataset.json").write_text(json.dumps(about))
    shutil.copytree(folder / "labelsTr", "intern")
    cases = [name.removesuffix(".nii.gz") for name in names]
    split = {"train": cases[:3], "validation": cases[3:4], "test": cases[4:]}
    Path("intern", names[5]).unlink()
    data, given = prepare(settings | {"split": split})
    last_N = data.case == "case006"
    assert last_N.any() and (given.has(range(len(data))) == ~last_N).all()
    np.testing.assert_array_equal(given.read(given.rows), data.read_labels(given.rows))
    Path("intern", names[0]).unlink()
    assert_refused([f"have no labels in intern ({cases[0]})"], prepare, settings | {"split": split})


def square(height, width=4, top=2, left=2):
    mask_HW = np.zeros((SIZE, SIZE), np.uint8)
    mask_HW[top : top + height, left : left + width] = 1
    return mask_HW


def save(folder, name, pixels_HW):
    path = Path(folder, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels_HW.astype(np.uint8)).save(path)


SQUARES = {
    "source": "images",
    "folder": "own",
    "case": r"(?P<case>p\d+)_s(?P<slice>\d+)",
    "classes": {"disc": [255], "rim": [100]},
    "window": [0, 255],
}


@pytest.fixture
def squares():
    """Six cases of two slices: a square of 16 pixels, below it a row of another structure.

    The second slice shows neither in what is given, which has 12 pixels in the first one.
    """
    for case in range(6):
        for number in range(2):
            name = f"p{case}_s{number}.png"
            reference = 255 * square(4) + 100 * square(1, top=6)
            save("own/images", name, 100 * square(4) + case + np.arange(SIZE))
            save("own/masks", name, reference)
            save("intern", name, (1 - number) * (255 * square(3) + 100 * square(1, top=5)))
    return SQUARES


def test_slices_are_those_of_the_reference_and_values_are_counted_by_hand(squares):
    save("own/images", "p9_s0.png", 100 * square(4))
    save("own/masks", "p9_s0.png", 0 * square(4))
    data, given = prepare(squares)
    counts = [
        [(labels_HW == index).sum() for index in (1, 2)] for labels_HW in given.read(given.rows)
    ]
    assert counts == [[12, 4], [0, 0]] * 6
    assert len(data) == 12


def test_a_slice_without_a_number_of_its_own_keeps_its_place(squares):
    """Where the order of names numbers the slices, one that is not given moves none."""
    settings = squares | {
        "case": r"(p\d+)",
        "split": {"train": ["p0"], "validation": ["p1"], "test": ["p2"], "unlisted": "skip"},
    }
    Path("intern/p2_s0.png").unlink()
    _, given = prepare(settings)
    assert given.has(range(6)).tolist() == [True] * 4 + [False, True]
    assert not given.read([5]).any()


def test_own_values_names_and_more_masks_than_needed(squares, caplog):
    for case in range(6):
        for number in range(2):
            save("other", f"intern_p{case}_s{number}.png", 7 * square(2) + 9 * square(1, top=5))
    save("other", "intern_p99_s0.png", square(2))
    save("other", "thumbnail.png", square(2))
    reading = {"classes": {"rim": [9], "disc": [7]}, "mask_name": "intern_{name}"}
    with caplog.at_level(logging.INFO):
        data, given = prepare(squares, folder={"own": "other", "b": "c"}, **reading)
    assert data.class_names == ["background", "disc", "rim"]
    labels_NHW = given.read(given.rows)
    assert (labels_NHW == 1).sum() == 12 * 8 and (labels_NHW == 2).sum() == 12 * 4
    assert "1 of 13 masks belong to no image" in caplog.text


def test_missing_cases_and_slices_are_named_together(squares):
    shares = {"train": ["p0", "p1"], "validation": ["p2"], "test": ["p3", "p4", "p5"]}
    settings = squares | {"split": shares}
    for name in ("p1_s1", "p2_s0"):
        Path(f"intern/{name}.png").unlink()
    said = ("dataset own, perturbation intern: 2 slices", "(p1 slice 1, p2 slice 0)", "in intern")
    assert_refused(said, prepare, settings)
    for name in ("p1_s0", "p2_s1"):
        Path(f"intern/{name}.png").unlink()
    said = ("2 of 3 training and validation cases have no labels in intern", "(p1, p2)")
    assert_refused(said, prepare, settings)
    assert not Path("intern.h5").exists()


def test_test_cases_may_lack_labels_but_not_where_folds_train_on_them(squares, caplog):
    shares = {"train": ["p0", "p1"], "validation": ["p2"], "test": ["p3", "p4", "p5"]}
    for name in ("p4_s0", "p4_s1", "p5_s0"):
        Path(f"intern/{name}.png").unlink()
    _, given = prepare(squares | {"split": shares})
    assert given.has(range(12)).tolist() == [True] * 8 + [False] * 3 + [True]
    assert "1 test cases have no labels in intern" in caplog.text
    assert "p4" not in caplog.text
    Path("own.h5").unlink()
    said = ("1 of 6 cases have no labels in intern (p4)",)
    assert_refused(said, prepare, squares | {"split": {"folds": 3}}, fold="own@fold0")


def remove_folder():
    shutil.rmtree("intern")


def change_value():
    save("intern", "p0_s0.png", 254 * square(3))


def change_size():
    save("intern", "p0_s0.png", np.zeros((SIZE, SIZE + 1)))


def damage():
    Path("intern/p0_s0.png").write_bytes(b"no image")


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (remove_folder, ["there is no folder intern", "perturbations.intern.folder"]),
        (change_value, ["intern/p0_s0.png", "1 unknown label values (254)"]),
        (change_size, ["p0_s0.png: it is 8 x 8", "its mask p0_s0.png is 8 x 9"]),
        (damage, ["intern/p0_s0.png cannot be read"]),
    ],
)
def test_what_cannot_be_read_is_refused_as_the_reference_would_be(squares, harm, words):
    harm()
    assert_refused(words, prepare, squares)
    assert not Path("intern.h5").exists()


def test_a_volume_on_another_grid_is_refused():
    settings = your_data.datasets()["ct"]
    your_data.WRITERS["ct"](Path(settings["folder"]))
    shutil.copytree(settings["folder"], "intern")
    _, labels_SHW = next(your_data.scans())
    your_data.save_nifti(Path("intern/segmentation-0.nii.gz"), labels_SHW[:, 1:])
    assert_refused(["segmentation-0.nii.gz", "not one grid up to"], prepare, settings)


def test_dicom_segmentations_beside_volumes_and_the_reverse():
    for case in range(3):
        paths = write_series(Path(f"scans/{case}"), axes="LPS", patient=f"PANCREAS_000{case}")
        write_nifti(Path(f"labels/label000{case}.nii.gz"))
        write_seg(Path(f"segs/{case}"), paths)
    settings = {
        "source": "dicom",
        "folder": "scans",
        "case": r"PANCREAS_(\d+)",
        "labels_folder": "labels",
        "classes": {"liver": [1]},
        "window": [-1000, 1000],
        "select": "all",
        "split": {"train": 0.34, "validation": 0.33, "test": 0.33},
    }
    for dataset, reading in (
        (settings, {"folder": "segs", "label_kind": "seg"}),
        (
            settings | {"label_kind": "seg", "labels_folder": "segs"},
            {"folder": "labels", "label_kind": "volumes"},
        ),
    ):
        Path("own.h5").unlink(missing_ok=True)
        data, given = prepare(dataset, **reading)
        assert given.read(given.rows).sum() == 3 * LABEL.sum()
        np.testing.assert_array_equal(given.read(given.rows), data.read_labels(given.rows))


def test_the_entry_of_the_page_works_as_it_stands(monkeypatch):
    page = your_data.PAGE.read_text()
    block = page.split("\n## Labels of your own with errors\n")[1].split("```yaml\n")[1]
    reading = your_data.yaml.safe_load(block.split("```")[0])["perturbations"]["intern"]
    settings = your_data.datasets()["pictures"]
    your_data.WRITERS["pictures"](Path(settings["folder"]))
    shutil.copytree("data/pictures/masks", reading["folder"])
    data, given = prepare(settings, **reading)
    assert given.has(range(len(data))).all()
    train = data.source_cases()[data.case[data.rows("train")[0]]]
    for path in Path(reading["folder"]).glob(f"{train}_*"):
        path.unlink()
    sentence = "training and validation cases have no labels in"
    assert f"> {sentence}\n" in page
    assert_refused([sentence, train], prepare, settings, **reading)
