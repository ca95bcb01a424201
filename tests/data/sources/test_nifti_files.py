"""NIfTI files: number types, scaling, channels and places as stored, and damage refused by name."""

import gzip

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from labelnoise.data.sources.nifti_files import read_nifti
from labelnoise.data.sources.volumes import slices_of
from refusals import refusal
from volume_files import IMAGE, assert_is, save, to_sitk


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.uint16, np.int32, np.float32])
def test_stored_type_is_kept(tmp_path, suffix, kind):
    found = read_nifti(save(tmp_path / f"a{suffix}", (IMAGE + 7).astype(kind)))
    assert found.array_IJK.dtype == kind
    assert_is(found, IMAGE + 7)


@pytest.mark.parametrize(
    ("kind", "slope", "intercept", "expected"),
    [
        (np.int16, 1, -1024, np.int16),
        (np.uint16, 2, 0, np.int16),
        (np.int16, 5000, 0, np.float32),
        (np.int16, 0.25, 3, np.float32),
        (np.float64, 1, 0, np.float32),
        (np.int64, 1, 0, np.float32),
        (np.uint8, 1, 0.5, np.float32),
    ],
)
def test_slope_and_intercept(tmp_path, kind, slope, intercept, expected):
    stored = (IMAGE + 7).astype(kind)
    path = save(tmp_path / "a.nii", stored)
    content = bytearray(path.read_bytes())
    # scl_slope and scl_inter of the NIfTI-1 header.
    content[112:120] = np.array([slope, intercept], "<f4").tobytes()
    path.write_bytes(content)
    found = read_nifti(path)
    assert found.array_IJK.dtype == expected
    assert_is(found, stored * np.float64(slope) + intercept)
    # SimpleITK reads the same numbers.
    np.testing.assert_allclose(
        sitk.GetArrayFromImage(sitk.ReadImage(str(path))), slices_of(found)[0]
    )


def channels(count):
    return sitk.JoinSeries([to_sitk(IMAGE + 100 * c) for c in range(count)])


def test_single_fourth_axis_is_dropped(tmp_path):
    assert_is(read_nifti(save(tmp_path / "a.nii.gz", channels(1))), IMAGE)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_channel_is_chosen(tmp_path, suffix):
    path = save(tmp_path / f"a{suffix}", channels(3))
    assert_is(read_nifti(path, channel=0), IMAGE)
    assert_is(read_nifti(path, channel=2), IMAGE + 200)


@pytest.mark.parametrize(("count", "channel"), [(3, None), (3, 3), (1, 1)])
def test_channel_that_is_not_there(tmp_path, count, channel):
    path = save(tmp_path / "a.nii", channels(count))
    message = refusal(read_nifti, path, channel)
    for word in (path, f"{count} channels", "set `channel`", f"to {count - 1}"):
        assert str(word) in message


def damage(path, how):
    content = path.read_bytes()
    match how:
        case "empty":
            path.write_bytes(b"")
        case "text":
            path.write_text("not an image at all, but long enough to be read as a header" * 20)
        case "truncated":
            path.write_bytes(content[:-20])
        case "header only":
            path.write_bytes(content[:200])
        case "flipped bits":
            middle = len(content) // 2
            path.write_bytes(content[:middle] + bytes(12) + content[middle + 12 :])
        case "gzipped text":
            path.write_bytes(gzip.compress(b"no image" * 100))
        case "plain":
            path.write_bytes(gzip.decompress(content))


@pytest.mark.parametrize("how", ["empty", "text", "truncated", "header only"])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_damaged_files(tmp_path, suffix, how):
    noise = np.random.default_rng(0).integers(0, 999, (9, 9, 9)).astype(np.int16)
    path = save(tmp_path / f"a{suffix}", noise)
    damage(path, how)
    message = refusal(read_nifti, path)
    for word in (path, "expected a whole NIfTI file", "again"):
        assert str(word) in message


@pytest.mark.parametrize("how", ["flipped bits", "gzipped text", "plain"])
def test_damaged_gzip(tmp_path, how):
    noise = np.random.default_rng(0).integers(0, 999, (20, 20, 20)).astype(np.int16)
    path = save(tmp_path / "a.nii.gz", noise)
    damage(path, how)
    assert str(path) in refusal(read_nifti, path)


def test_missing_file(tmp_path):
    assert "none.nii" in refusal(read_nifti, tmp_path / "none.nii")


def test_other_formats_are_refused(tmp_path):
    path = tmp_path / "a.mgz"
    nibabel.save(nibabel.MGHImage(IMAGE.astype(np.float32), np.eye(4)), path)
    message = refusal(read_nifti, path)
    assert str(path) in message and "MGHImage" in message and "NIfTI" in message


def test_flat_image_is_refused(tmp_path):
    path = save(tmp_path / "a.nii", sitk.GetImageFromArray(IMAGE[0]))
    message = refusal(read_nifti, path)
    assert str(path) in message and "three axes" in message


def test_colour_is_refused(tmp_path):
    colour = np.zeros((2, 3, 4), [("R", "u1"), ("G", "u1"), ("B", "u1")])
    nibabel.save(nibabel.Nifti1Image(colour, np.eye(4)), tmp_path / "a.nii")
    message = refusal(read_nifti, tmp_path / "a.nii")
    assert "a.nii" in message and "export a grey image" in message


@pytest.mark.parametrize(
    ("offset", "values", "kind", "words"),
    [
        # qform_code and sform_code, then the rows of the sform.
        (252, [0, 0], "<i2", ("codes are 0", "expected an orientation", "export it again")),
        (280, [0] * 12, "<f4", ("no usable orientation", "repair the header")),
        (280, [np.nan] * 12, "<f4", ("no usable orientation",)),
    ],
)
def test_file_without_a_place_is_refused(tmp_path, offset, values, kind, words):
    path = save(tmp_path / "a.nii", IMAGE)
    content = bytearray(path.read_bytes())
    mended = np.array(values, kind).tobytes()
    content[offset : offset + len(mended)] = mended
    path.write_bytes(content)
    message = refusal(read_nifti, path)
    assert all(word in message for word in (str(path), *words))
