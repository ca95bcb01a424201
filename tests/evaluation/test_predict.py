"""Masks in files: in the image's grid whatever its orientation, and in the world where it shines.

The network of these tests calls a pixel foreground where the image is brighter than 50, so the mask
of a bright ellipsoid has to be that ellipsoid.
"""

import logging

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
import torch
from PIL import Image

from dicom_files import HU, TILTED, write_series
from labelnoise import load_run, predict_file
from labelnoise.data.intensity import Intensity
from labelnoise.data.prepare import prepare_dataset
from labelnoise.data.sources.volumes import AXES
from labelnoise.data.storage import Dataset
from labelnoise.errors import InputError
from labelnoise.evaluation import predict
from labelnoise.training.checkpoints import TrainedNetwork
from settings import dataset_settings
from tiny import train, write_error
from volume_files import save, tilt

# Millimetres right, anterior and superior.
CENTRE, RADII = np.array([3.0, -4.0, 6.0]), np.array([26.0, 19.0, 22.0])
UPRIGHT, ROTATED = np.eye(3), tilt(20, 0) @ tilt(-15, 1) @ tilt(10, 2)
SPLIT = {"train": 0.34, "validation": 0.33, "test": 0.33}


class Levels(torch.nn.Module):
    """One class for each range of stored values; the first begins at -1, the others as given."""

    def __init__(self, *ends):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor([-2.0, *ends]))

    def forward(self, images_N1HW):
        # The class of the highest of these lines is that of the last end below the value.
        slopes_C = torch.arange(len(self.weight), dtype=torch.float32)
        offsets_C = torch.cumsum(torch.cat([torch.zeros(1), self.weight[1:]]), 0)
        return 200 * (images_N1HW * slopes_C.view(-1, 1, 1) - offsets_C.view(-1, 1, 1))


def bright(size, plane="axial", grid_size=None, spacing=None, ends=(0.0,), **files):
    """A network that calls foreground what is above 50, the middle of its window."""
    names = ["background", *(f"part{number}" for number in range(len(ends)))]
    files = {"source": "volumes", "classes": None, "channel": None, "one_slice": False} | files
    description = {
        "class_names": names,
        "intensity": Intensity.of_window(-100, 200).as_dict(),
        "grid": {"plane": plane, "size": grid_size, "spacing": spacing, "resize_labels": "area"},
        "size": list(size),
        "files": files,
    }
    return TrainedNetwork(Levels(*ends).eval(), description)


def ellipsoid(affine, shape):
    """Which voxels have their centre in the ellipsoid."""
    world = np.indices(shape).reshape(3, -1).T @ affine[:3, :3].T + affine[:3, 3]
    return ((((world - CENTRE) / RADII) ** 2).sum(axis=1) < 1).reshape(shape)


def write_volume(path, axes="RAS", spacing=(2, 2, 2), shape=(40, 36, 32), turn=UPRIGHT, **codes):
    """Write a bright ellipsoid; return which of its voxels are inside."""
    affine = np.eye(4)
    for axis, letter in enumerate(axes):
        column = np.zeros(3)
        column["RASLPI".index(letter) % 3] = spacing[axis] * (1 if letter in "RAS" else -1)
        affine[:3, axis] = turn @ column
    affine[:3, 3] = -affine[:3, :3] @ (np.array(shape) - 1) / 2
    inside = ellipsoid(affine, shape)
    image = nibabel.Nifti1Image(np.where(inside, 200, -100).astype(np.int16), affine)
    image.set_sform(affine, codes.get("sform", 1))
    image.set_qform(affine, codes.get("qform", 1))
    nibabel.save(image, path)
    return inside


def slice_shape(axes, shape, plane):
    """Height and width of a volume's slices in a plane."""
    letters = [{"L": "R", "P": "A", "I": "S"}.get(letter, letter) for letter in axes]
    rows, columns = ({"L": "R", "P": "A", "I": "S"}.get(c, c) for c in AXES[plane][1:])
    return shape[letters.index(rows)], shape[letters.index(columns)]


def dice(one, other):
    return 2 * (one & other).sum() / (one.sum() + other.sum())


@pytest.mark.parametrize("plane", ["axial", "sagittal", "coronal", "acquired"])
@pytest.mark.parametrize(
    ("axes", "spacing", "shape", "turn", "acquired"),
    [
        ("RAS", (2, 2, 2), (40, 36, 32), UPRIGHT, "axial"),
        ("LPS", (1.5, 2, 4), (50, 40, 20), ROTATED, "axial"),
        ("PIR", (4, 2, 1.5), (20, 36, 50), UPRIGHT, "coronal"),
        ("SAL", (2, 1.5, 4), (36, 44, 20), ROTATED, "sagittal"),
    ],
)
def test_the_mask_of_an_ellipsoid_is_that_ellipsoid(
    tmp_path, plane, axes, spacing, shape, turn, acquired
):
    inside = write_volume(tmp_path / "a.nii.gz", axes, spacing, shape, turn)
    size = slice_shape(axes, shape, acquired if plane == "acquired" else plane)
    (found,) = predict_file(bright(size, plane), tmp_path / "a.nii.gz", tmp_path / "m.nii.gz")
    mask = nibabel.load(tmp_path / "m.nii.gz")
    np.testing.assert_array_equal(np.asarray(mask.dataobj) == 1, inside)
    assert found.pixels == inside.sum()
    assert found.millilitres == pytest.approx(inside.sum() * np.prod(spacing) / 1000)
    assert found.millilitres == pytest.approx(4 / 3 * np.pi * RADII.prod() / 1000, rel=0.03)
    for settings in ({"grid_size": 64}, {"grid_size": 64, "spacing": [1.3, 1.3]}):
        network = bright((64, 64), plane, **settings)
        predict_file(network, tmp_path / "a.nii.gz", tmp_path / "m.nii")
        assert dice(np.asarray(nibabel.load(tmp_path / "m.nii").dataobj) == 1, inside) > 0.98


def test_a_mask_lies_exactly_where_its_image_lies(tmp_path):
    for codes in ({"sform": 1, "qform": 2}, {"sform": 0}, {"qform": 0, "sform": 4}):
        write_volume(tmp_path / "a.nii", "PIR", (1.7, 2.2, 3.1), turn=ROTATED, **codes)
        predict_file(bright((36, 40), "sagittal"), tmp_path / "a.nii", tmp_path / "m.nii")
        image, mask = nibabel.load(tmp_path / "a.nii"), nibabel.load(tmp_path / "m.nii")
        assert mask.shape == image.shape
        assert mask.get_data_dtype() == np.uint8
        for name in predict.PLACE:
            assert (mask.header[name] == image.header[name]).all(), name
        np.testing.assert_array_equal(mask.affine, image.affine)
        pair = [sitk.ReadImage(str(tmp_path / name)) for name in ("a.nii", "m.nii")]
        for ask in ("GetSize", "GetSpacing", "GetOrigin", "GetDirection"):
            assert getattr(pair[0], ask)() == getattr(pair[1], ask)()


def test_nothing_of_the_image_s_header_but_its_place_goes_into_the_mask(tmp_path):
    write_volume(tmp_path / "a.nii")
    image = nibabel.load(tmp_path / "a.nii")
    image.header["descrip"] = b"Jane Doe 1970"
    image.header["cal_max"] = 400
    image.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", b"Jane Doe"))
    nibabel.save(image, tmp_path / "named.nii")
    predict_file(bright((36, 40)), tmp_path / "named.nii", tmp_path / "m.nii")
    assert b"Jane" in (tmp_path / "named.nii").read_bytes()
    assert b"Jane" not in (tmp_path / "m.nii").read_bytes()
    assert nibabel.load(tmp_path / "m.nii").header["cal_max"] == 0


def test_equal_masks_are_equal_bytes(tmp_path):
    write_volume(tmp_path / "a.nii")
    for name in ("one.nii.gz", "two.nii.gz"):
        predict_file(bright((36, 40)), tmp_path / "a.nii", tmp_path / name, batch_size=len(name))
    assert (tmp_path / "one.nii.gz").read_bytes() == (tmp_path / "two.nii.gz").read_bytes()


def test_axes_of_length_1_and_channels(tmp_path):
    write_volume(tmp_path / "a.nii")
    image = nibabel.load(tmp_path / "a.nii")
    voxels = np.asarray(image.dataobj)
    nibabel.save(nibabel.Nifti1Image(voxels[..., None], image.affine), tmp_path / "one.nii")
    two = np.stack([np.zeros_like(voxels), voxels], axis=3)
    nibabel.save(nibabel.Nifti1Image(two, image.affine), tmp_path / "two.nii")
    for name, channel, shape in (("one", None, (40, 36, 32, 1)), ("two", 1, (40, 36, 32))):
        network = bright((36, 40), channel=channel)
        predict_file(network, tmp_path / f"{name}.nii", tmp_path / "m.nii")
        mask = nibabel.load(tmp_path / "m.nii")
        assert mask.shape == shape
        np.testing.assert_array_equal(np.asarray(mask.dataobj).reshape(voxels.shape), voxels > 50)
    # A file of one channel holds the one that was chosen, as those of nnU-Net do.
    predict_file(bright((36, 40), channel=1), tmp_path / "a.nii", tmp_path / "m.nii")
    with pytest.raises(InputError, match="holds 2 channels"):
        predict_file(bright((36, 40)), tmp_path / "two.nii", tmp_path / "m.nii")


def test_what_lies_beyond_the_field_of_view_is_background_and_said(tmp_path, caplog):
    inside = write_volume(tmp_path / "a.nii")
    network = bright((16, 16), grid_size=16, spacing=[2.0, 2.0])
    with caplog.at_level(logging.WARNING):
        predict_file(network, tmp_path / "a.nii", tmp_path / "m.nii")
    mask = np.asarray(nibabel.load(tmp_path / "m.nii").dataobj) == 1
    kept = np.zeros(inside.shape, bool)
    kept[12:28, 10:26] = True
    np.testing.assert_array_equal(mask, inside & kept)
    # 16 x 16 of 36 x 40 pixels are seen.
    assert "a.nii: 82.2 % of each slice lies beyond the field of view" in caplog.text


def picture(folder, values=((-100, 40, 60), (100, 180, 200))):
    """A picture of 2 x 3 pixels of these values, as 32-bit TIFF, since they are below 0."""
    path = folder / "p.tif"
    Image.fromarray(np.array(values, np.float32)).save(path)
    return path


@pytest.mark.parametrize(
    ("classes", "values"),
    [
        (None, [1, 2]),
        ({"part0": [255], "part1": [100]}, [255, 100]),
        ({"part0": [1, 3], "part1": [2]}, [1, 2]),
        ({"part0": [1000], "part1": [7]}, [1000, 7]),
        ({"part0": [-1], "part1": [7]}, [1, 2]),
    ],
)
def test_pictures_and_the_values_of_masks(tmp_path, classes, values):
    network = bright((2, 3), None, ends=(0.0, 0.75), source="images", classes=classes)
    found = predict_file(network, picture(tmp_path), tmp_path / "m.png")
    first, second = values
    with Image.open(tmp_path / "m.png") as mask:
        np.testing.assert_array_equal(mask, [[0, 0, first], [first, second, second]])
    assert [(each.value, each.pixels, each.millilitres) for each in found] == [
        (first, 2, None),
        (second, 2, None),
    ]


def test_the_threshold_moves_the_decision(tmp_path):
    # The odds of a pixel of value v are e^(200 (v - 50) / 150).
    path = picture(tmp_path, [[49, 50, 51]])
    for threshold, expected in ((0.5, [0, 0, 1]), (0.1, [1, 1, 1]), (0.9, [0, 0, 0])):
        network = bright((1, 3), None, source="images")
        predict_file(network, path, tmp_path / "m.png", threshold=threshold)
        with Image.open(tmp_path / "m.png") as mask:
            assert np.asarray(mask).tolist() == [expected]
    with pytest.raises(InputError, match="the threshold is 1, expected a probability"):
        predict_file(network, path, tmp_path / "m.png", threshold=1)


def test_a_picture_is_a_case_where_the_cases_of_training_were_single_pictures(tmp_path):
    by_case = {"intensity": Intensity("zscore", "case").as_dict()}
    known = bright((2, 3), None, source="images", one_slice=True).description | by_case
    path = picture(tmp_path, [[0, 0, 0], [0, 0, 9]])
    predict_file(TrainedNetwork(Levels(0.0), known), path, tmp_path / "m.png")
    with Image.open(tmp_path / "m.png") as mask:
        assert np.asarray(mask).tolist() == [[0, 0, 0], [0, 0, 1]]


class FirstAndLast(torch.nn.Module):
    """Foreground where the first channel is above, and the last one below, the middle."""

    def forward(self, images_NKHW):
        is_both = (images_NKHW[:, 0] > 0) & (images_NKHW[:, -1] < 0)
        foreground_NHW = torch.where(is_both, 9.0, -9.0)
        return torch.stack([-foreground_NHW, foreground_NHW], dim=1)


def coloured(description, channels):
    windows = [Intensity.of_window(0, 200).as_dict()] * len(channels)
    about = {"channels": channels, "intensity": windows}
    return TrainedNetwork(FirstAndLast(), description | about)


def test_a_picture_in_colour_is_seen_in_colour(tmp_path):
    pixels = np.array([[[255, 0, 0], [255, 0, 255], [0, 0, 0]]], np.uint8)
    Image.fromarray(pixels).save(tmp_path / "c.png")
    known = bright((1, 3), None, source="images").description
    network = coloured(known, ["red", "green", "blue"])
    predict_file(network, tmp_path / "c.png", tmp_path / "m.png")
    with Image.open(tmp_path / "m.png") as mask:
        assert np.asarray(mask).tolist() == [[1, 0, 0]]
    Image.fromarray(np.full((1, 3), 60000, np.uint16)).save(tmp_path / "deep.png")
    with pytest.raises(InputError, match=r"deep\.png is grey of more than 8 bits"):
        predict_file(network, tmp_path / "deep.png", tmp_path / "m.png")


def test_volumes_of_several_channels_are_taken_as_arrays_alone(tmp_path):
    write_volume(tmp_path / "a.nii")
    network = coloured(bright((36, 40)).description, ["T1", "FLAIR"])
    with pytest.raises(InputError, match=r"T1, FLAIR of volumes, .* give arrays"):
        predict_file(network, tmp_path / "a.nii", tmp_path / "m.nii")
    images_SKHW = np.stack([np.full((2, 36, 40), 150.0), np.full((2, 36, 40), 50.0)], axis=1)
    assert (network.predict(images_SKHW, spacing_3=(1, 1, 1))[:, 1] > 0.99).all()


def test_formats_that_are_not_nifti_give_the_same_mask(tmp_path):
    write_volume(tmp_path / "a.nii.gz", "LPS", shape=(24, 24, 30))
    sitk.WriteImage(sitk.ReadImage(str(tmp_path / "a.nii.gz")), str(tmp_path / "a.nrrd"))
    np.save(tmp_path / "a.npy", np.zeros((5, 24, 24), np.int16))
    network = bright((24, 24))
    masks = []
    for ending in ("nii.gz", "nrrd"):
        predict_file(network, tmp_path / f"a.{ending}", tmp_path / f"{ending[:2]}.nii.gz")
        masks.append(nibabel.load(tmp_path / f"{ending[:2]}.nii.gz"))
    assert np.asarray(masks[0].dataobj).any()
    np.testing.assert_array_equal(*(np.asarray(mask.dataobj) for mask in masks))
    np.testing.assert_allclose(*(mask.affine for mask in masks), atol=1e-5)
    with pytest.raises(InputError, match=r"a\.npy does not say how it lies in the patient"):
        predict_file(network, tmp_path / "a.npy", tmp_path / "m.nii.gz")


def test_a_folder_of_one_dicom_series_is_an_image(tmp_path):
    write_series(tmp_path / "scan", HU, turn=TILTED)
    predict_file(bright(HU.shape[1:], source="dicom"), tmp_path / "scan", tmp_path / "m.nii.gz")
    mask = sitk.DICOMOrient(sitk.ReadImage(str(tmp_path / "m.nii.gz")), "LPS")
    np.testing.assert_array_equal(sitk.GetArrayFromImage(mask) == 1, HU > 50)
    series = sitk.ImageSeriesReader()
    series.SetFileNames(series.GetGDCMSeriesFileNames(str(tmp_path / "scan")))
    image = sitk.DICOMOrient(series.Execute(), "LPS")
    for ask in ("GetSpacing", "GetOrigin", "GetDirection"):
        np.testing.assert_allclose(getattr(mask, ask)(), getattr(image, ask)(), atol=1e-4)


def broken(description, **changes):
    return TrainedNetwork(Levels(0.0), description | changes)


def test_refusals(tmp_path):
    write_volume(tmp_path / "a.nii")
    network = bright((36, 40))
    known = network.description
    (tmp_path / "text.nii").write_text("no volume")
    (tmp_path / "empty").mkdir()
    write_series(tmp_path / "scans" / "one", HU)
    write_series(tmp_path / "scans" / "two", HU)
    holes = np.full((40, 36, 32), np.nan, np.float32)
    nibabel.save(nibabel.Nifti1Image(holes, np.diag([2, 2, 2, 1])), tmp_path / "holes.nii")
    picture(tmp_path)
    for trained, image, mask, says in (
        (network, "a.nii", "m.mha", r"ends in '.mha', expected .nii.gz or .nii; rename it, or"),
        (network, "a.nii", "m", "ends in 'no suffix'"),
        (network, "a.nii", "a.nii", "is the image itself"),
        (network, "b.nii", "m.nii", r"there is no .*b\.nii"),
        (network, "text.nii", "m.nii", r"text\.nii cannot be read"),
        (network, "p.tif", "m.nii", r"p\.tif cannot be read .* expected a whole NIfTI file"),
        (network, "empty", "m.nii", "empty holds 0 DICOM series"),
        (network, "scans", "m.nii", "scans holds 2 DICOM series .*, expected one"),
        (network, "holes.nii", "m.nii", r"holes\.nii: slice 0 holds 1440 pixels of NaN"),
        (bright((64, 64)), "a.nii", "m.nii", r"a\.nii: the slices are 36 x 40 .* on 64 x 64"),
        (broken(known, grid=None), "a.nii", "m.nii", "does not say how its training images were"),
        (broken(known, files=None), "a.nii", "m.nii", "does not say how its training images were"),
        (bright((36, 40), None, source="mni152"), "a.nii", "m.nii", "trained on `source: mni152`"),
        (bright((2, 3), None, source="images"), "p.tif", "m.nii", "expected .png"),
        (
            broken(
                bright((2, 3), None, source="images").description,
                intensity=Intensity("zscore", "case").as_dict(),
            ),
            "p.tif",
            "m.png",
            "scales each case by all of its slices",
        ),
    ):
        with pytest.raises(InputError, match=says):
            predict_file(trained, tmp_path / image, tmp_path / mask)
        assert not list(tmp_path.glob("*m.*")), says


def test_a_trained_run_masks_the_file_of_a_case_as_it_is_tested(tmp_path):
    rng = np.random.default_rng(0)
    paths = {}
    for case in range(5):
        label = np.zeros((4, 20, 24), np.uint8)
        label[:, 5 + case : 13, 6:16] = 1
        image = (100 * label + rng.normal(0, 30, label.shape)).astype(np.float32)
        paths[str(case)] = save(tmp_path / f"volume-{case}.nii", image)
        save(tmp_path / f"segmentation-{case}.nii", 3 * label)
    settings = dataset_settings(
        source="volumes",
        case_names="source",
        folder=str(tmp_path),
        classes={"disc": [3]},
        normalise="zscore",
        split=SPLIT,
    )
    files = {"dataset": tmp_path / "data.h5", "labels": tmp_path / "labels.h5"}
    prepare_dataset("discs", settings, 0, files["dataset"])
    write_error(files["labels"], files["dataset"])
    run = load_run(train(tmp_path / "run", files).path)
    assert run.description["files"] == {
        "source": "volumes",
        "classes": {"disc": [3]},
        "channel": None,
        "one_slice": False,
    }
    with Dataset(files["dataset"]) as data:
        case = data.case[data.rows("test")[0]]
        images_SHW, _ = data.read(np.flatnonzero(data.case == case))
    disc_SHW = run.predict_scaled(images_SHW)[:, 1]
    # Three epochs teach it too little to find a pixel at 0.5.
    middle = float(np.median(disc_SHW))
    predict_file(run, paths[case], tmp_path / "m.nii.gz", threshold=middle)
    mask_SHW = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "m.nii.gz")))
    np.testing.assert_array_equal(mask_SHW, np.where(disc_SHW > middle, 3, 0))
    assert set(np.unique(mask_SHW)) == {0, 3}
