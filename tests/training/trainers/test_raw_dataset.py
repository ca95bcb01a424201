"""The raw dataset holds images and wrong labels as they are, and no label of a test slice."""

import json

import nibabel
import numpy as np
import pytest
import SimpleITK

from labelnoise.data.storage import Dataset, LabelFile, write_dataset
from labelnoise.training.trainers.raw_dataset import asked_parts, parts_of, write_raw_dataset
from tiny import write_error

SHAPE = 5, 7
# Slices, spacing and split of each case.
CASES = {
    "whole": ([3, 4, 5], (2.5, 0.7, 0.8), "train"),
    "gap": ([0, 2], (2.5, 0.7, 0.8), "train"),
    "unknown": ([0, 1], (np.nan, 1.5, 1.5), "train"),
    "checked": ([7, 8], (2.5, 0.7, 0.8), "validation"),
    "tested": ([1], (np.nan,) * 3, "test"),
}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    path = folder / "x.h5"
    with write_dataset(
        path, name="x", class_names=["background", "a"], window=(0, 1), provenance={}
    ) as writer:
        for case, (slices, spacing_3, split) in CASES.items():
            images = rng.uniform(-1, 1, (len(slices), *SHAPE))
            labels = rng.integers(0, 2, (len(slices), *SHAPE)).astype(np.uint8)
            writer.append(case, split, slices, images, labels, spacing_3)
    labels = write_error(folder / "labels.h5", path, kind="random", severity=0.5)
    write_raw_dataset(folder / "raw", Dataset(path), LabelFile(labels))
    return folder / "raw", Dataset(path), LabelFile(labels)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_cases_are_volumes_where_their_slices_follow_on_each_other(files):
    raw, data, _ = files
    training = ["case0000", "case0001_s000", "case0001_s002", "case0002_s000", "case0002_s001"]
    assert names(raw / "labelsTr") == [f"{name}.nii.gz" for name in training]
    assert names(raw / "imagesTr") == [f"{name}_0000.nii.gz" for name in training]
    asked = ["case0003", "case0004_s001"]
    assert names(raw / "imagesTs") == [f"{name}_0000.nii.gz" for name in asked]
    assert [part.name for part in asked_parts(data)] == asked
    assert names(raw) == ["dataset.json", "imagesTr", "imagesTs", "labelsTr"]
    assert json.loads((raw / "dataset.json").read_text()) == {
        "channel_names": {"0": "image"},
        "labels": {"background": 0, "a": 1},
        "numTraining": 5,
        "file_ending": ".nii.gz",
    }


def test_another_reader_finds_the_images_and_the_wrong_labels(files):
    raw, data, labels = files
    for part in parts_of(data, data.rows("train")):
        images, spacing = itk(raw / "imagesTr" / f"{part.name}_0000.nii.gz")
        np.testing.assert_array_equal(images, data.read(part.rows)[0][:, 0])
        wrong, _ = itk(raw / "labelsTr" / f"{part.name}.nii.gz")
        assert wrong.dtype == np.uint8
        np.testing.assert_array_equal(wrong, labels.read(part.rows, 0))
        assert (wrong != data.read_labels(part.rows)).any()
        expected = {"case0000": (2.5, 0.7, 0.8), "case0002": (999, 1.5, 1.5)}
        assert spacing == pytest.approx(expected.get(part.case, (999, 0.7, 0.8)))
    _, spacing = itk(raw / "imagesTs" / "case0004_s001_0000.nii.gz")
    assert spacing == (999, 1, 1)


def itk(path):
    """Return the values of a file, slices, rows, columns, and their distances."""
    image = SimpleITK.ReadImage(str(path))
    return SimpleITK.GetArrayFromImage(image), image.GetSpacing()[::-1]


def test_slices_of_a_volume_are_in_the_order_of_their_numbers(tmp_path):
    images = np.arange(3.0)[:, None, None] / 4 * np.ones((3, *SHAPE))
    labels = np.ones((3, *SHAPE), np.uint8)
    labels[:, 0] = 0
    with write_dataset(
        tmp_path / "y.h5", name="y", class_names=["background", "a"], window=(0, 1), provenance={}
    ) as writer:
        for case, split in (("a", "train"), ("b", "validation"), ("c", "test")):
            writer.append(case, split, [2, 0, 1], images, labels, (3, 1, 1))
    data = Dataset(tmp_path / "y.h5")
    (part,) = parts_of(data, data.rows("train"))
    assert data.slice[part.rows].tolist() == [0, 1, 2]
    error = LabelFile(write_error(tmp_path / "l.h5", tmp_path / "y.h5"))
    write_raw_dataset(tmp_path / "raw", data, error)
    image = nibabel.load(tmp_path / "raw/imagesTr/case0000_0000.nii.gz")
    assert image.shape == (SHAPE[1], SHAPE[0], 3)
    assert np.asarray(image.dataobj)[0, 0].tolist() == [0.25, 0.5, 0.0]
