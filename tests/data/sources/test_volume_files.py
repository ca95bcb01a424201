"""Volumes by their ending: every format gives the same slices, and .npy is what it can be."""

import numpy as np
import pytest
import SimpleITK as sitk

from labelnoise.data.sources.volume_files import ENDINGS, read_pair, read_volume, strip_ending
from refusals import assert_refused
from volume_files import IMAGE, LABEL, SPACING, save, to_sitk

CLASSES = {"liver": [1], "tumour": [2]}


def store(path, array):
    """Write an array (S, H, W) in the format of the path's ending."""
    if path.suffix != ".npy":
        return save(path, array)
    np.save(path, array)
    return path


@pytest.mark.parametrize("ending", ENDINGS)
def test_pairs_of_every_format(tmp_path, ending):
    image = store(tmp_path / f"image{ending}", IMAGE)
    label = store(tmp_path / f"label{ending}", LABEL)
    images, labels, numbers, spacing = read_pair((image, None), label, CLASSES)
    np.testing.assert_array_equal(images, IMAGE)
    np.testing.assert_array_equal(labels, LABEL)
    assert (images.dtype, labels.dtype, numbers.tolist()) == (np.int16, np.uint8, [0, 1])
    expected = [np.nan] * 3 if ending == ".npy" else SPACING
    np.testing.assert_allclose(spacing, expected, rtol=1e-6)
    assert strip_ending(image.name) == "image"


@pytest.mark.parametrize("ending", [".nrrd", ".mha"])
def test_label_in_another_format_and_orientation(tmp_path, ending):
    image = save(tmp_path / "image.nii.gz", sitk.DICOMOrient(to_sitk(IMAGE), "RAS"))
    label = save(tmp_path / f"label{ending}", sitk.DICOMOrient(to_sitk(LABEL), "SPL"))
    images, labels, *_ = read_pair((image, None), label, CLASSES)
    np.testing.assert_array_equal(images, IMAGE)
    np.testing.assert_array_equal(labels, LABEL)


def test_channels_of_image_and_label(tmp_path):
    image = save(tmp_path / "image.nii", sitk.JoinSeries([to_sitk(IMAGE), to_sitk(IMAGE + 50)]))
    label = save(tmp_path / "label.nrrd", sitk.Compose(to_sitk(LABEL * 0), to_sitk(LABEL)))
    images, labels, *_ = read_pair((image, 1), label, CLASSES, label_channel=1)
    np.testing.assert_array_equal(images, IMAGE + 50)
    np.testing.assert_array_equal(labels, LABEL)
    words = (image, "2 channels", "set `channel`")
    assert_refused(words, read_pair, (image, None), label, CLASSES, label_channel=1)
    words = (label, "2 channels", "set `label_channel`")
    assert_refused(words, read_pair, (image, 1), label, CLASSES)


# .npy


@pytest.mark.parametrize(
    ("kind", "kept"), [("<i2", "i2"), (">i2", "i2"), ("u1", "u1"), ("f8", "f4"), ("i8", "f4")]
)
def test_number_types_of_npy(tmp_path, kind, kept):
    np.save(tmp_path / "a.npy", np.asfortranarray(IMAGE + 7).astype(kind))
    found = read_volume(tmp_path / "a.npy").array_IJK
    assert found.dtype == kept and not found.base
    np.testing.assert_array_equal(found, IMAGE + 7)


def test_channels_of_npy_come_last(tmp_path):
    np.save(tmp_path / "a.npy", np.stack([IMAGE, IMAGE + 9], axis=-1))
    np.testing.assert_array_equal(read_volume(tmp_path / "a.npy", 1).array_IJK, IMAGE + 9)
    assert_refused(("2 channels", "set `channel`"), read_volume, tmp_path / "a.npy")


def test_npy_beside_a_file_that_has_a_place(tmp_path):
    image = save(tmp_path / "image.nii", IMAGE)
    label = store(tmp_path / "label.npy", LABEL)
    words = (label, image, "the label does not say how it lies", "both as .npy")
    assert_refused(words, read_pair, (image, None), label, CLASSES)


@pytest.mark.parametrize("array", [IMAGE[0], IMAGE[None, None], IMAGE[:0]])
def test_npy_of_other_axes(tmp_path, array):
    np.save(tmp_path / "a.npy", array)
    assert_refused(("a.npy", "(slices, rows, columns)"), read_volume, tmp_path / "a.npy")


def test_npy_that_would_run_code(tmp_path):
    np.save(tmp_path / "a.npy", np.array([{}], object), allow_pickle=True)
    assert_refused(("a.npy", "cannot be read", "numpy.save"), read_volume, tmp_path / "a.npy")


def test_channels_come_from_files_of_any_format_and_from_inside_one(tmp_path):
    both = sitk.JoinSeries([to_sitk(IMAGE), to_sitk(IMAGE + 50)])
    parts = [
        (save(tmp_path / "a.nrrd", sitk.DICOMOrient(to_sitk(IMAGE + 10), "PIR")), None),
        (save(tmp_path / "b.nii.gz", both), 1),
        (save(tmp_path / "c.mha", to_sitk(IMAGE + 20)), None),
        (tmp_path / "b.nii.gz", 0),
    ]
    label = save(tmp_path / "label.nii", LABEL)
    images, labels, *_ = read_pair(parts, label, CLASSES)
    assert len(images) == 4
    for image, more in zip(images, (10, 50, 20, 0), strict=True):
        np.testing.assert_array_equal(image, IMAGE + more)
    np.testing.assert_array_equal(labels, LABEL)


@pytest.mark.parametrize("first", [".npy", ".nii"])
def test_channels_that_do_not_all_say_where_they_lie_are_refused(tmp_path, first):
    second = ".nii" if first == ".npy" else ".npy"
    parts = [(store(tmp_path / name, IMAGE), None) for name in (f"a{first}", f"b{second}")]
    label = store(tmp_path / f"label{first}", LABEL)
    words = (f"b{second}, a channel beside", f"a{first}", "give all channels as .npy, or all")
    assert_refused(words, read_pair, parts, label, CLASSES)
