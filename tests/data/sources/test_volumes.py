"""Volumes: one orientation whatever the file's, labels on the image's grid."""

from itertools import permutations, product

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from labelnoise.data.sources.nifti_files import read_nifti
from labelnoise.data.sources.volumes import (
    Volume,
    acquired_plane,
    labelled_slices,
    match_grid,
    slices_of,
    volume_of,
)
from refusals import refusal
from volume_files import IMAGE, LABEL, SPACING, assert_is, save, tilt, to_sitk

CLASSES = {"liver": [1], "tumour": [2]}
# All 48 ways to store a volume along the axes of the body, by where its axes come from.
ORIENTATIONS = [
    "".join(letters) for axes in permutations(("RL", "AP", "SI")) for letters in product(*axes)
]


# Orientation


def test_file_along_left_posterior_superior(tmp_path):
    assert_is(read_nifti(save(tmp_path / "a.nii.gz", IMAGE)), IMAGE)


def test_point_of_the_body_is_where_it_should_be(tmp_path):
    image = to_sitk(np.zeros((5, 6, 7), np.int16), (3, 2, 1), origin=(10, 20, 30))
    # 5 mm further left, 2 mm further back and 9 mm higher than the first voxel.
    image[image.TransformPhysicalPointToIndex((15, 22, 39))] = 1
    for orientation in ("LPS", "RAS", "PIR", "SAL"):
        path = save(tmp_path / "a.nii", sitk.DICOMOrient(image, orientation))
        slices, _ = slices_of(read_nifti(path))
        assert np.argwhere(slices).tolist() == [[3, 1, 5]]


@pytest.mark.parametrize("plane", ["axial", "sagittal", "coronal"])
def test_slices_turn_back_to_their_volume(plane):
    array = np.arange(24).reshape(2, 3, 4)
    for orientation in ORIENTATIONS:
        affine = np.zeros((4, 4))
        for axis, letter in enumerate(orientation):
            affine["RASLPI".index(letter) % 3, axis] = 1 if letter in "RAS" else -1
        affine[3, 3] = 1
        slices, _ = slices_of(Volume(array, affine), plane)
        np.testing.assert_array_equal(volume_of(slices, affine, plane), array)


def test_all_48_orientations(tmp_path):
    assert len(ORIENTATIONS) == 48
    shapes = set()
    for orientation in ORIENTATIONS:
        stored = sitk.DICOMOrient(to_sitk(IMAGE), orientation)
        shapes.add(stored.GetSize())
        assert_is(read_nifti(save(tmp_path / "a.nii", stored)), IMAGE)
    assert len(shapes) == 6


@pytest.mark.parametrize(
    ("stored", "spacing", "direction"),
    [
        pytest.param(IMAGE[::-1], SPACING, np.diag([1, 1, -1]), id="slices reversed"),
        pytest.param(IMAGE[:, :, ::-1], SPACING, np.diag([-1, 1, 1]), id="columns reversed"),
        pytest.param(IMAGE[:, ::-1], SPACING, np.diag([1, -1, 1]), id="rows reversed"),
        # Columns of `direction` say where x, y and z of the file point to.
        pytest.param(
            IMAGE.transpose(1, 0, 2),
            (0.8, 2.5, 0.7),
            [[1, 0, 0], [0, 0, 1], [0, 1, 0]],
            id="coronal",
        ),
        pytest.param(
            IMAGE.transpose(2, 0, 1)[:, ::-1],
            (0.7, 2.5, 0.8),
            [[0, 0, 1], [1, 0, 0], [0, -1, 0]],
            id="sagittal, head first",
        ),
    ],
)
def test_turned_by_hand(tmp_path, stored, spacing, direction):
    path = save(
        tmp_path / "a.nii", np.ascontiguousarray(stored), spacing=spacing, direction=direction
    )
    assert_is(read_nifti(path), IMAGE)


@pytest.mark.parametrize("degrees", [-30, -12, 20])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_oblique_keeps_its_own_grid(tmp_path, degrees, axis):
    for orientation in ("LPS", "RAI", "PSR"):
        upright = sitk.DICOMOrient(to_sitk(IMAGE), orientation)
        direction = tilt(degrees, axis) @ np.reshape(upright.GetDirection(), (3, 3))
        upright.SetDirection(direction.ravel().tolist())
        assert_is(read_nifti(save(tmp_path / "a.nii", upright)), IMAGE)


def test_gantry_tilt_shears_the_grid(tmp_path):
    # Slices stay upright and shift along y; ITK refuses such grids, so nibabel writes this one.
    affine = np.array([[-0.7, 0, 0, 0], [0, -0.8, 0.6, 0], [0, 0, 2.4, 0], [0, 0, 0, 1]])
    nibabel.save(nibabel.Nifti1Image(IMAGE.T.copy(), affine), tmp_path / "a.nii")
    assert_is(read_nifti(tmp_path / "a.nii"), IMAGE, (np.hypot(0.6, 2.4), 0.8, 0.7))


def test_turning_copies_nothing():
    volume = Volume(IMAGE.T.copy(), np.diag([-1.0, -1, -1, 1]))
    assert np.shares_memory(slices_of(volume)[0], volume.array_IJK)


# Planes

# IMAGE runs to superior, posterior and left; a plane's slices, rows and columns are, by hand:
IN_PLANE = {
    "axial": (IMAGE, SPACING),
    "sagittal": (IMAGE[::-1].transpose(2, 0, 1), (0.7, 2.5, 0.8)),
    "coronal": (IMAGE[::-1].transpose(1, 0, 2), (0.8, 2.5, 0.7)),
}


@pytest.mark.parametrize("plane", IN_PLANE)
def test_planes_whatever_the_orientation_of_the_file(tmp_path, plane):
    expected, spacing = IN_PLANE[plane]
    for orientation in ORIENTATIONS:
        stored = sitk.DICOMOrient(to_sitk(IMAGE), orientation)
        slices, found = slices_of(read_nifti(save(tmp_path / "a.nii", stored)), plane)
        np.testing.assert_array_equal(slices, expected)
        np.testing.assert_allclose(found, spacing, rtol=1e-6)


@pytest.mark.parametrize(
    ("plane", "corner"),
    [("axial", (4, 0, 0)), ("sagittal", (0, 0, 0)), ("coronal", (0, 0, 0))],
)
@pytest.mark.parametrize("degrees", [0, 20])
def test_the_top_front_right_corner_of_the_body(tmp_path, plane, corner, degrees):
    image = to_sitk(np.zeros((5, 6, 7), np.int16), (3, 2, 1))
    # ITK's indices run along left, posterior and superior.
    image[0, 0, 4] = 1
    image.SetDirection(tilt(degrees, 1).ravel().tolist())
    for orientation in ("LPS", "RAS", "LAS", "PIR"):
        path = save(tmp_path / "a.nii", sitk.DICOMOrient(image, orientation))
        slices, _ = slices_of(read_nifti(path), plane)
        assert np.argwhere(slices).tolist() == [list(corner)]


@pytest.mark.parametrize(
    ("spacing", "plane"),
    [
        ((5, 1, 1), "axial"),
        ((3, 3, 12), "sagittal"),
        ((1, 4, 0.9), "coronal"),
        ((1, 1, 1.005), "axial"),
        ((1, 3, 3), "sagittal"),
        ((2, 0.5, 2), "axial"),
    ],
)
def test_acquired_is_the_plane_of_the_two_finest_axes(tmp_path, spacing, plane):
    for orientation in ("LPS", "RAS", "SPR"):
        stored = sitk.DICOMOrient(to_sitk(IMAGE, spacing), orientation)
        found = read_nifti(save(tmp_path / "a.nii", stored))
        assert acquired_plane(found) == plane
        expected, _ = IN_PLANE[plane]
        np.testing.assert_array_equal(slices_of(found, plane)[0], expected)


def test_acquired_slices_are_said_and_taken(tmp_path, caplog):
    caplog.set_level("INFO")
    image = read_nifti(save(tmp_path / "a.nii", IMAGE, spacing=(3, 3, 12)))
    label = read_nifti(save(tmp_path / "b.nii", LABEL, spacing=(3, 3, 12)))
    images, _, _, spacing = labelled_slices(image, label, CLASSES, "a.nii", plane="acquired")
    np.testing.assert_array_equal(images, IN_PLANE["sagittal"][0])
    np.testing.assert_allclose(spacing, (12, 3, 3))
    assert "a.nii: acquired in sagittal slices, voxels of 12 x 3 x 3 mm" in caplog.text


@pytest.mark.parametrize("plane", IN_PLANE)
def test_labels_lie_in_the_plane_of_their_image(tmp_path, plane):
    image = read_nifti(save(tmp_path / "a.nii", sitk.DICOMOrient(to_sitk(IMAGE), "RAS")))
    label = read_nifti(save(tmp_path / "b.nii", sitk.DICOMOrient(to_sitk(LABEL), "PIR")))
    images, labels, numbers, spacing = labelled_slices(image, label, CLASSES, "x", plane=plane)
    np.testing.assert_array_equal(images, IN_PLANE[plane][0])
    # Whatever the plane, a value of the image is where its label is.
    assert dict(zip(images.ravel().tolist(), labels.ravel().tolist(), strict=True)) == dict(
        zip(IMAGE.ravel().tolist(), LABEL.ravel().tolist(), strict=True)
    )
    assert numbers.tolist() == list(range(len(images)))
    np.testing.assert_allclose(spacing, IN_PLANE[plane][1], rtol=1e-6)


# Labels on the image's grid


@pytest.mark.parametrize("image_orientation", ["LPS", "RAS", "ASL"])
def test_label_in_another_orientation(tmp_path, image_orientation):
    image = read_nifti(
        save(tmp_path / "image.nii", sitk.DICOMOrient(to_sitk(IMAGE), image_orientation))
    )
    for orientation in ORIENTATIONS:
        path = save(tmp_path / "label.nii", sitk.DICOMOrient(to_sitk(LABEL), orientation))
        images, labels, numbers, spacing = labelled_slices(image, read_nifti(path), CLASSES, "x")
        np.testing.assert_array_equal(images, IMAGE)
        np.testing.assert_array_equal(labels, LABEL)
        assert numbers.tolist() == [0, 1] and labels.dtype == np.uint8
        np.testing.assert_allclose(spacing, SPACING, rtol=1e-6)


def test_oblique_label_in_another_orientation(tmp_path):
    turn = tilt(25, 0) @ tilt(-10, 2)
    files = {}
    for name, array, orientation in (("image", IMAGE, "LPS"), ("label", LABEL, "SRA")):
        stored = sitk.DICOMOrient(to_sitk(array, origin=(0, 0, 0)), orientation)
        stored.SetOrigin((turn @ stored.GetOrigin()).tolist())
        stored.SetDirection((turn @ np.reshape(stored.GetDirection(), (3, 3))).ravel().tolist())
        files[name] = read_nifti(save(tmp_path / f"{name}.nii", stored))
    _, labels, *_ = labelled_slices(files["image"], files["label"], CLASSES, "x")
    np.testing.assert_array_equal(labels, LABEL)


def volume(array_SHW=LABEL, shift=(0, 0, 0), scale=1.0, turn=None):
    affine = np.diag([-0.7 * scale, -0.8, 2.5, 1.0])
    affine[:3, 3] = shift
    if turn is not None:
        affine[:3, :3] = turn @ affine[:3, :3]
    return Volume(array_SHW.T.copy(), affine)


def test_rounded_headers_are_one_grid():
    # A twentieth of a voxel, as rounding to 0.01 mm over many slices makes.
    label = volume(shift=(0.035, 0, 0.12))
    np.testing.assert_array_equal(match_grid(volume(), label, "x"), LABEL.T)


@pytest.mark.parametrize(
    "label",
    [
        pytest.param(volume(shift=(0.35, 0, 0)), id="half a pixel off"),
        pytest.param(volume(shift=(0, 0, 2.5)), id="a slice off"),
        pytest.param(volume(scale=1.06), id="other spacing"),
        pytest.param(volume(LABEL[:1]), id="a slice fewer"),
        pytest.param(volume(turn=tilt(8, 0)), id="tilted"),
        pytest.param(volume(turn=tilt(45, 2)), id="between two orientations"),
        pytest.param(volume(turn=np.diag([-1, 1, 1])), id="mirrored about the first voxel"),
    ],
)
def test_other_grids_are_refused(label):
    message = refusal(match_grid, volume(IMAGE), label, "label-7.nii and image-7.nii")
    for word in (
        "label-7.nii and image-7.nii",
        "0.7 x 0.8 x 2.5 mm",
        "4 x 3 x 2",
        "(0, 0, 0)",
        "(-1, 0, 0)",
        "resample the label",
        "nearest",
    ):
        assert word in message
