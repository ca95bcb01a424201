"""The 2018 bundles: read as the 2018 code reads them, and refused by name where they do not fit."""

import json

import numpy as np
import pytest

from labelnoise.data.prepare import prepare_dataset
from labelnoise.data.sources import bundles
from labelnoise.data.storage import Dataset
from refusals import assert_not_prepared
from settings import dataset_settings

FOLDERS = ("training", "validation", "testing")
# Two slices of 4 x 5; the structure is asymmetric in every axis.
STRUCTURE = np.zeros((2, 4, 5), np.uint8)
STRUCTURE[0, 0, 1:4] = STRUCTURE[0, 1, 3] = STRUCTURE[1, 2, 0] = 1
HU = np.arange(40, dtype=np.int16).reshape(2, 4, 5) * 20 - 400


def save_dense(folder, number=7, kind="ntl", hu=HU, structure=STRUCTURE):
    """Channel 0 is the structure and channel 1 the rest, as the 2018 code fills them."""
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / f"x-{kind}-{number}.npy", hu[..., None])
    np.save(
        folder / f"y-{kind}-lo-{number}.npy", np.stack([structure, 1 - structure], -1).astype(float)
    )


def save_sparse(folder, number=7, kind="ntl", hu=HU, structure=STRUCTURE):
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / f"X-{kind}-{number}.npy", hu[..., None].astype(float))
    np.save(folder / f"Y-{kind}-{number}.npy", structure[..., None])


@pytest.fixture
def lis(tmp_path):
    for folder in FOLDERS:
        save_dense(tmp_path / "LiS" / folder, 7)
    save_dense(tmp_path / "LiS" / "training", 10, hu=HU + 1)
    return tmp_path / "LiS"


def settings(folder, **changes):
    return dataset_settings(source="bundles", folder=str(folder), **changes)


def read_all(folder, **changes):
    return {case.name: case for case in bundles.cases(settings(folder, **changes), 0)}


def assert_refused(folder, *words, **changes):
    assert_not_prepared("lis", settings(folder, **changes), folder.parent, *words)


@pytest.mark.parametrize("save", [save_dense, save_sparse])
def test_both_forms_give_the_same_slices(tmp_path, save):
    for folder in FOLDERS:
        save(tmp_path / folder)
    cases = read_all(tmp_path)
    assert {name: case.split for name, case in cases.items()} == {
        "training-ntl-7": "train",
        "validation-ntl-7": "validation",
        "testing-ntl-7": "test",
    }
    images, labels, numbers = cases["testing-ntl-7"].read()
    np.testing.assert_array_equal(images, HU)
    np.testing.assert_array_equal(labels, STRUCTURE)
    assert (images.dtype, labels.dtype, numbers.tolist()) == (np.float32, np.uint8, [0, 1])


def test_cases_come_by_number_and_other_files_are_left(lis):
    np.save(lis / "training" / "y-ntl-8.npy", HU)
    (lis / "training" / "notes.txt").write_text("mine")
    assert [name for name in read_all(lis) if "train" in name] == [
        "training-ntl-7",
        "training-ntl-10",
    ]


def test_slices_without_the_structure_come_only_when_asked_for(lis):
    save_dense(lis / "training", 3, kind="tvl", structure=STRUCTURE * 0)
    assert len(read_all(lis)) == 4
    cases = read_all(lis, select="all")
    assert len(cases) == 5 and not cases["training-tvl-3"].read()[1].any()


def test_dataset_keeps_the_split_and_clips_as_the_2018_code(lis, tmp_path):
    path = tmp_path / "lis.h5"
    prepare_dataset("lis", settings(lis), 0, path)
    with Dataset(path) as dataset:
        assert dataset.class_names == ["background", "liver"]
        cases = [dataset.source_cases()[case] for case in dataset.case[dataset.rows("train")]]
        assert cases == ["training-ntl-7"] * 2 + ["training-ntl-10"] * 2
        images, labels = dataset.read(dataset.rows("test"))
        np.testing.assert_allclose(images[:, 0], np.clip(HU / 128, -1, 1), atol=1e-3)
        np.testing.assert_array_equal(labels, STRUCTURE)
        assert dataset.foreground_fraction[1] == 5 / 40
        assert "each bundle counts as a case" in json.dumps(dataset.provenance)


# Bad input


def test_x_without_y(lis):
    (lis / "validation" / "y-ntl-lo-7.npy").unlink()
    assert_refused(lis, lis / "validation", "x-ntl-7.npy has no y-ntl-lo-7.npy", "add the missing")


def test_y_without_x(lis):
    (lis / "training" / "x-ntl-10.npy").unlink()
    assert_refused(lis, lis / "training", "y-ntl-lo-10.npy has no x-ntl-10.npy", "add the missing")


def test_sparse_y_without_x(lis):
    save_sparse(lis / "training", 4)
    (lis / "training" / "X-ntl-4.npy").unlink()
    assert_refused(lis, "Y-ntl-4.npy has no X-ntl-4.npy")


@pytest.mark.parametrize("lonely", ["none", "X-ntl-7.npy"])
def test_dense_and_sparse_of_one_number(lis, lonely):
    save_sparse(lis / "training", 7)
    (lis / "training" / lonely).unlink(missing_ok=True)
    assert_refused(
        lis, lis / "training", "ntl-7", "x-ntl-7.npy", "Y-ntl-7.npy", "remove the others"
    )


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("x-ntl-7.npy", (2, 4, 5)),
        ("x-ntl-7.npy", (2, 4, 5, 2)),
        ("x-ntl-7.npy", (0, 4, 5, 1)),
        ("y-ntl-lo-7.npy", (2, 4, 5, 1)),
        ("y-ntl-lo-7.npy", (3, 4, 5, 2)),
        ("y-ntl-lo-7.npy", (2, 5, 4, 2)),
    ],
)
def test_shapes_that_do_not_fit(lis, name, shape):
    np.save(lis / "training" / name, np.zeros(shape))
    assert_refused(lis, lis / "training" / name, shape, "expected", "replace")


@pytest.mark.parametrize("value", [2, -1, 0.5, np.nan])
@pytest.mark.parametrize("name", ["y-ntl-lo-7.npy", "Y-ntl-7.npy"])
def test_labels_that_are_not_0_or_1(tmp_path, name, value):
    folder = tmp_path / "set"
    for split in FOLDERS:
        (save_dense if name[0] == "y" else save_sparse)(folder / split)
    path = folder / "training" / name
    labels = np.load(path).astype(float)
    labels[1, 2, 3, 0] = value
    np.save(path, labels)
    assert_refused(folder, path, "slice 1", f"{value:g}", "expected 0 or 1", "save the labels")


@pytest.mark.parametrize("both", [0, 1])
def test_labels_that_are_not_one_hot(lis, both):
    path = lis / "testing" / "y-ntl-lo-7.npy"
    labels = np.load(path)
    labels[0, 3, 4] = both
    np.save(path, labels)
    assert_refused(lis, path, "slice 0", "one-hot", "1 - channel 0")


@pytest.mark.parametrize("name", ["x-ntl-7.npy", "y-ntl-lo-7.npy"])
@pytest.mark.parametrize("share", [0, 0.1, 0.8])
def test_truncated_file(lis, name, share):
    path = lis / "training" / name
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    assert_refused(lis, path, "cannot be read", "copy or save it again")


@pytest.mark.parametrize("array", [np.array([{}, None]), np.array(["text"])])
def test_pickled_file_is_never_loaded(lis, array):
    path = lis / "training" / "x-ntl-7.npy"
    np.save(path, array, allow_pickle=True)
    assert_refused(lis, path, "cannot be read", "array of numbers")


def test_archive_named_npy(lis):
    path = lis / "training" / "x-ntl-7.npy"
    with open(path, "wb") as file:
        np.savez(file, HU)
    assert_refused(lis, path, "cannot be read", "numpy.save")


def test_missing_folder(tmp_path):
    assert_refused(tmp_path / "nowhere", tmp_path / "nowhere", "there is no folder", "lis.folder")


def test_missing_split(lis):
    for path in (lis / "testing").iterdir():
        path.unlink()
    assert_refused(lis, lis / "testing", "holds no bundle", "x-ntl-7.npy", "X-ntl-7.npy")
    (lis / "testing").rmdir()
    assert_refused(lis, lis, "no folder testing", "training, validation, testing")


def test_unknown_folder(lis):
    (lis / "train").mkdir()
    assert_refused(lis, lis / "train", "expected training, validation, testing", "rename it")
