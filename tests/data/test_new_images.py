"""New images: what is refused, and that they become exactly what a dataset would hold of them."""

from pathlib import Path

import numpy as np
import pytest

from labelnoise.data.intensity import Intensity, Scale
from labelnoise.data.new_images import Preparation, check_images, check_spacing
from labelnoise.data.prepare import prepare_dataset
from labelnoise.data.sources.nifti_files import read_nifti
from labelnoise.data.sources.volumes import resolve_plane, slices_of
from labelnoise.data.storage import Dataset
from labelnoise.errors import InputError
from settings import dataset_settings
from volume_files import save

WINDOW = {"image": Intensity.of_window(-100, 300)}


@pytest.mark.parametrize(
    ("images", "says"),
    [
        ("scan.nii.gz", "the images are a path, .* use `labelnoise.predict_file"),
        (Path("scan.nii.gz"), "the images are a path"),
        (np.full((1, 4, 4), "7"), "of type <U1, expected an array of whole or floating"),
        (np.full((1, 4, 4), None), "of type object"),
        (np.ones((1, 4, 4), bool), "of type bool"),
        (np.ones((1, 4, 4), complex), "of type complex128"),
        ([np.ones((4, 4)), np.ones((4, 5))], "of different sizes"),
        (np.ones(4), r"shape \(4,\), expected \(slices, height, width\)"),
        (np.ones((1, 2, 3, 4)), r"shape \(1, 2, 3, 4\)"),
        (np.ones((0, 4, 4)), r"shape \(0, 4, 4\)"),
        (np.array([np.ones((2, 2)), [[1, np.nan], [np.inf, 2]]]), "slice 1 holds 2 pixels of NaN"),
    ],
)
def test_what_is_no_image_is_refused(images, says):
    with pytest.raises(InputError, match=says):
        check_images(images)


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.int64, np.float16, np.float64, list])
def test_real_numbers_are_images_and_one_slice_is_a_case(kind):
    image = [[1, 2], [3, 4]]
    image = image if kind is list else np.array(image, kind)
    np.testing.assert_array_equal(check_images(image), [[[[1, 2], [3, 4]]]])


@pytest.mark.parametrize("spacing", [(1, 1), (1, 0, 1), (1, 1, -1), (1, 1, np.inf), "abc", 3.0])
def test_a_spacing_is_three_positive_numbers(spacing):
    with pytest.raises(InputError, match="expected three positive numbers"):
        check_spacing(spacing)


def test_an_unknown_spacing_is_none_or_nan():
    assert np.isnan(check_spacing(None)).all()
    np.testing.assert_array_equal(check_spacing((np.nan, 1, 2)), [np.nan, 1, 2])


def grid(size=None, spacing=None):
    return {"plane": "axial", "size": size, "spacing": spacing}


@pytest.mark.parametrize(
    ("settings", "spacing_3", "says"),
    [
        (
            grid(),
            None,
            r"are 69 x 69 pixels .* was trained on 64 x 64, on a dataset without `size`",
        ),
        (grid(spacing=[0.5, 0.5]), None, "trained on pixels of 0.5 x 0.5 mm, but the spacing of"),
        (grid(spacing=[0.5, 0.5]), (5, np.nan, 1), "give `spacing_3`, the mm between slices"),
        (grid(64, spacing=[0.5, 0.5]), None, "the spacing of these slices is not known"),
        (grid(spacing=[0.5, 0.5]), (5, 1, 1), "69 x 69 pixels .*, 138 x 138 at its spacing, but"),
    ],
)
def test_slices_that_the_dataset_would_not_take_are_refused(settings, spacing_3, says):
    preparation = Preparation(WINDOW, (64, 64), settings)
    with pytest.raises(InputError, match=says):
        preparation.fit(np.zeros((2, 1, 69, 69)), spacing_3)


def test_slices_come_to_the_size_of_the_dataset():
    images = np.zeros((2, 1, 69, 50))
    for settings in (grid(64), grid(64, [2.0, 2.0])):
        case = Preparation(WINDOW, (64, 64), settings).fit(images, (5, 1, 1))
        assert case.read(slice(0, 2)).shape == (2, 1, 64, 64)
    # Nothing is known of checkpoints from before, so slices stay as they are.
    assert Preparation(WINDOW).fit(images).read(slice(1, 2)).shape == (1, 1, 69, 50)


def test_values_beyond_what_a_dataset_holds_are_refused():
    as_they_are = {"image": Intensity("none", scale=Scale())}
    case = Preparation(as_they_are).fit(np.full((1, 1, 2, 2), 70000.0))
    with pytest.raises(InputError, match=r"a value is 70000, .*stored up to 65504"):
        case.read(slice(0, 1))


def test_values_all_alike_say_nothing_where_each_case_has_its_scale():
    with pytest.raises(InputError, match="nearly all 5"):
        Preparation({"image": Intensity("zscore", "case")}).fit(np.full((1, 1, 2, 2), 5.0))


@pytest.mark.parametrize(
    "changes",
    [
        {"window": [-50, 150]},
        {"normalise": "zscore", "plane": "sagittal", "size": 20},
        {"normalise": "percentile", "plane": "acquired", "spacing": [0.9, 1.1], "size": 24},
        {"normalise": {"method": "zscore", "by": "dataset"}, "plane": "coronal", "size": 16},
    ],
)
def test_a_case_becomes_what_its_dataset_holds_of_it(tmp_path, changes):
    rng = np.random.default_rng(0)
    paths = []
    for case in range(3):
        image = rng.normal(50, 60, (6, 12, 14)).astype(np.float32)
        label = (rng.random(image.shape) > 0.5).astype(np.uint8)
        paths.append(save(tmp_path / f"volume-{case}.nii", image, spacing=(2.5, 0.8, 0.7)))
        save(tmp_path / f"segmentation-{case}.nii", label, spacing=(2.5, 0.8, 0.7))
    given = {"source": "volumes", "folder": str(tmp_path), "classes": {"liver": [1]}}
    given["case_names"] = "source"
    given |= {"select": "all", "split": {"train": 0.4, "validation": 0.3, "test": 0.3}}
    settings = dataset_settings(**given, **changes)
    prepare_dataset("livers", settings, 0, tmp_path / "data.h5")
    with Dataset(tmp_path / "data.h5") as data:
        preparation = Preparation(data.intensities, data.shape, data.provenance["grid"])
        for number, path in enumerate(paths):
            volume = read_nifti(path)
            plane = resolve_plane(volume, data.provenance["grid"]["plane"], "")
            images_SHW, spacing_3 = slices_of(volume, plane)
            case = preparation.fit(check_images(images_SHW), spacing_3)
            rows = np.flatnonzero(data.case == str(number))
            stored = data.read(rows)[0]
            assert len(stored) == len(images_SHW)
            # By parts, as networks take them.
            found = [case.read(slice(start, start + 4)) for start in range(0, len(stored), 4)]
            np.testing.assert_array_equal(np.concatenate(found), stored)


def test_every_channel_is_prepared_by_its_own_intensity(tmp_path):
    rng = np.random.default_rng(0)
    for case in range(3):
        for name, offset in (("t1", 0), ("t2", 500)):
            image = rng.normal(offset, 60, (4, 12, 14)).astype(np.float32)
            save(tmp_path / f"{case}_{name}.nii", image, spacing=(3, 0.8, 0.7))
        label = (rng.random(image.shape) > 0.5).astype(np.uint8)
        save(tmp_path / f"segmentation-{case}.nii", label, spacing=(3, 0.8, 0.7))
    settings = dataset_settings(
        source="volumes",
        folder=str(tmp_path),
        classes={"liver": [1]},
        case_names="source",
        images={"T1": r"(\d)_t1\.nii", "T2": r"(\d)_t2\.nii"},
        normalise={"T1": "window", "T2": "zscore"},
        window={"T1": [-50, 150]},
        size=20,
        split={"train": 0.4, "validation": 0.3, "test": 0.3},
    )
    prepare_dataset("livers", settings, 0, tmp_path / "data.h5")
    with Dataset(tmp_path / "data.h5") as data:
        preparation = Preparation(data.intensities, data.shape, data.provenance["grid"])
        paths = [tmp_path / f"1_{name}.nii" for name in ("t1", "t2")]
        channels = [slices_of(read_nifti(path))[0] for path in paths]
        images_SKHW = check_images(np.stack(channels, axis=1), data.channels)
        stored = data.read(np.flatnonzero(data.case == "1"))[0]
        found = preparation.fit(images_SKHW, (3, 0.8, 0.7)).read(slice(0, 4))
        # Means are summed in another order.
        np.testing.assert_allclose(found, stored, atol=2**-10)


def test_the_channels_of_an_image_have_to_be_those_of_the_network():
    assert check_images(np.ones((2, 1, 3, 4))).shape == (2, 1, 3, 4)
    assert check_images(np.ones((5, 2, 3, 4)), ["T1", "T2"]).shape == (5, 2, 3, 4)
    for shape in ((3, 4), (2, 3, 4), (5, 1, 3, 4), (5, 3, 3, 4), (0, 2, 3, 4)):
        with pytest.raises(InputError, match=r"expected \(slices, 2, .* channels T1, T2"):
            check_images(np.ones(shape), ["T1", "T2"])
    images = np.ones((2, 2, 3, 4))
    images[1, 1, 0, 0] = np.nan
    with pytest.raises(InputError, match="slice 1 holds 1 pixels of NaN"):
        check_images(images, ["T1", "T2"])
