"""Pairs of volume files: found by name, imported in one orientation, refused by name."""

import gzip

import numpy as np
import pytest
import SimpleITK as sitk

from labelnoise.data.prepare import prepare_dataset
from labelnoise.data.sources import volume_pairs
from labelnoise.data.sources.volumes import ORIENTATIONS
from labelnoise.data.storage import SPLITS, Dataset
from labelnoise.errors import InputError
from labelnoise.evaluation.surfaces import Geometry, geometry
from refusals import assert_not_prepared
from settings import dataset_settings
from volume_files import IMAGE, LABEL, SPACING, save, tilt, to_sitk

FRACTIONS = {"train": 0.5, "validation": 0.25, "test": 0.25}
LIVER = (LABEL > 0).astype(np.uint8)


@pytest.fixture
def folder(tmp_path):
    """Four cases named as LiTS names them, in two batches and two suffixes."""
    place = tmp_path / "lits"
    for case in range(4):
        batch, suffix = f"Training Batch {1 + case // 2}", (".nii", ".nii.gz")[case % 2]
        save(place / batch / f"volume-{case}{suffix}", IMAGE + case)
        save(place / batch / f"segmentation-{case}{suffix}", LABEL)
    return place


def settings(place, **changes):
    given = {"folder": str(place), "classes": {"liver": [1, 2]}, "window": [-20, 20]}
    return dataset_settings(**{"source": "volumes", "split": FRACTIONS} | given | changes)


def file_of(folder, name):
    return next(folder.rglob(name))


def assert_refused(place, *words, **changes):
    assert_not_prepared("lis", settings(place, **changes), place.parent, *words)


def test_cases_are_read(folder):
    cases = volume_pairs.cases(settings(folder), 0)
    assert [case.name for case in cases] == ["0", "1", "2", "3"]
    assert [case.split for case in cases] == [None] * 4
    for number, case in enumerate(cases):
        images, labels, numbers, spacing = case.read()
        assert images.dtype == np.int16 and labels.dtype == np.uint8
        np.testing.assert_array_equal(images, IMAGE + number)
        np.testing.assert_array_equal(labels, LIVER)
        assert numbers.tolist() == [0, 1]
        np.testing.assert_allclose(spacing, SPACING, rtol=1e-6)


def test_dataset_from_volumes(folder, tmp_path):
    path, again = tmp_path / "lis.h5", tmp_path / "again.h5"
    prepare_dataset("lis", settings(folder), 0, path)
    prepare_dataset("lis", settings(folder), 0, again, workers=3)
    assert path.read_bytes() == again.read_bytes()
    dataset = Dataset(path)
    assert len(dataset) == 8 and dataset.class_names == ["background", "liver"]
    assert [len(dataset.rows(split)) for split in SPLITS] == [4, 2, 2]
    assert dataset.slice.tolist() == [0, 1] * 4
    np.testing.assert_allclose(dataset.spacing, [SPACING] * 8, rtol=1e-6)
    for case in range(4):
        images, labels = dataset.read(np.flatnonzero(dataset.case == f"case00{case + 1}"))
        np.testing.assert_allclose(images[:, 0], (IMAGE + case) / 20, atol=2**-11)
        np.testing.assert_array_equal(labels, LIVER)
    assert dataset.provenance["orientation"] == ORIENTATIONS["axial"]
    assert dataset.provenance["classes"] == {"liver": [1, 2]}


@pytest.mark.parametrize("orientation", ["LPS", "RAS", "LAS", "oblique"])
@pytest.mark.parametrize(
    "changes",
    [
        {"plane": "axial"},
        {"plane": "sagittal"},
        {"plane": "coronal"},
        {"plane": "acquired"},
        {"plane": "sagittal", "size": 40},
        {"plane": "coronal", "spacing": [2, 2]},
        {"plane": "axial", "spacing": [3, 2.5], "size": 32},
    ],
    ids=str,
)
def test_a_ball_stays_a_ball_in_mm(tmp_path, orientation, changes):
    # 60 x 64 x 66 mm in voxels of 3 x 2 x 1.5 mm, superior, posterior and left.
    shape, spacing, radius, centre = (20, 32, 44), (3.0, 2.0, 1.5), 20.0, (28.0, 33.0, 35.0)
    places = np.indices(shape) * np.reshape(spacing, (3, 1, 1, 1))
    distance = np.sqrt(((places - np.reshape(centre, (3, 1, 1, 1))) ** 2).sum(axis=0))
    ball = (distance < radius).astype(np.uint8)
    for case in range(4):
        for name, array in (("volume", (80 - distance).astype(np.float32)), ("segmentation", ball)):
            image = to_sitk(array, spacing)
            if orientation == "oblique":
                image.SetDirection((tilt(15, 0) @ tilt(-10, 2)).ravel().tolist())
            else:
                image = sitk.DICOMOrient(image, orientation)
            save(tmp_path / "lits" / f"{name}-{case}.nii", image)
    given = {"classes": {"ball": [1]}, "window": [0, 80], **changes}
    prepare_dataset("lis", settings(tmp_path / "lits", **given), 0, tmp_path / "x.h5")
    dataset = Dataset(tmp_path / "x.h5")
    rows = np.flatnonzero(dataset.case == "case001")
    labels = dataset.read_labels(rows)
    spacing_3 = dataset.spacing[rows[0]].astype(float)
    inside = np.argwhere(labels) * spacing_3
    # Volume 4/3 pi r^3; along every axis a variance of r^2 / 5, but for the voxels' own corners.
    assert len(inside) * spacing_3.prod() == pytest.approx(4 / 3 * np.pi * radius**3, rel=0.02)
    np.testing.assert_allclose(inside.var(axis=0), radius**2 / 5, rtol=0.05)
    # The image is brightest in the centre of the ball.
    images = dataset.read(rows)[0][:, 0]
    brightest = np.argwhere(images == images.max()).mean(axis=0) * spacing_3
    np.testing.assert_allclose(inside.mean(axis=0), brightest, atol=spacing_3.max())
    assert geometry(dataset, rows) == Geometry("mm", True)


def test_spacing_follows_the_size(folder, tmp_path):
    # Slices of 3 x 4 pixels, 2.4 x 2.8 mm, are padded to 2.8 x 2.8 mm: 16 x 16 square pixels.
    prepare_dataset("lis", settings(folder, size=16), 0, tmp_path / "lis.h5")
    np.testing.assert_allclose(
        Dataset(tmp_path / "lis.h5").spacing, [[2.5, 0.175, 0.175]] * 8, rtol=1e-6
    )


@pytest.mark.parametrize(
    ("image_as", "label_as"), [("RAS", "LPS"), ("LPI", "RAS"), ("ASL", "LPS"), ("LPS", "SRP")]
)
def test_orientation_of_image_and_label(folder, image_as, label_as):
    tilted = tilt(14, 0)
    for name, array, orientation in (
        ("volume-0.nii", IMAGE, image_as),
        ("segmentation-0.nii", LABEL, label_as),
    ):
        stored = sitk.DICOMOrient(to_sitk(array, origin=(0, 0, 0)), orientation)
        stored.SetOrigin((tilted @ stored.GetOrigin()).tolist())
        direction = tilted @ np.reshape(stored.GetDirection(), (3, 3))
        stored.SetDirection(direction.ravel().tolist())
        save(file_of(folder, name), stored)
    images, labels, *_ = volume_pairs.cases(settings(folder), 0)[0].read()
    np.testing.assert_array_equal(images, IMAGE)
    np.testing.assert_array_equal(labels, LIVER)


def test_structures_and_ignored_values(folder):
    changes = {"classes": {"tumour": [2]}, "ignore": [1]}
    _, labels, *_ = volume_pairs.cases(settings(folder, **changes), 0)[0].read()
    np.testing.assert_array_equal(labels, LABEL == 2)
    changes = {"classes": {"tumour": [2], "liver": [1]}}
    _, labels, *_ = volume_pairs.cases(settings(folder, **changes), 0)[0].read()
    np.testing.assert_array_equal(labels, np.array([0, 2, 1])[LABEL])
    names = volume_pairs.class_names(settings(folder, **changes))
    assert names == ["background", "tumour", "liver"]


def test_labels_in_a_folder_of_their_own(tmp_path):
    for case in ("anna", "berta"):
        save(tmp_path / "ct" / f"{case}.nii.gz", IMAGE)
        save(tmp_path / "drawn" / f"{case}.nii.gz", LABEL)
    pattern = r"(.+)\.nii\.gz"
    changes = {"images": pattern, "labels": pattern, "labels_folder": str(tmp_path / "drawn")}
    cases = volume_pairs.cases(settings(tmp_path / "ct", **changes), 0)
    assert [case.name for case in cases] == ["anna", "berta"]
    np.testing.assert_array_equal(cases[0].read()[1], LIVER)


def test_other_files_are_passed_over(folder):
    (folder / "volume-9.nii.txt").write_text("notes")
    (folder / "Training Batch 1" / "._volume-0.nii").write_text("left by macOS")
    (folder / "__volume-7.nii").write_text("the whole name has to match")
    assert len(volume_pairs.cases(settings(folder), 0)) == 4


@pytest.mark.parametrize("ending", [".nrrd", ".mha", ".npy"])
def test_dataset_from_other_formats(tmp_path, ending):
    for case in range(3):
        for name, array in (("volume", IMAGE), ("segmentation", LABEL)):
            path = tmp_path / "data" / f"{name}-{case}{ending}"
            path.parent.mkdir(exist_ok=True)
            np.save(path, array) if ending == ".npy" else save(path, array)
    patterns = {"images": rf"volume-(\d)\{ending}", "labels": rf"segmentation-(\d)\{ending}"}
    prepare_dataset("x", settings(tmp_path / "data", **patterns), 0, tmp_path / "x.h5")
    dataset = Dataset(tmp_path / "x.h5")
    np.testing.assert_array_equal(dataset.read_labels(range(6)), [*LIVER] * 3)
    if ending == ".npy":
        # Distances are in pixels then.
        assert np.isnan(dataset.spacing).all()
        assert "of unknown size" in dataset.provenance["orientation"]
    else:
        np.testing.assert_allclose(dataset.spacing, [SPACING] * 6, rtol=1e-6)
        assert dataset.provenance["orientation"] == ORIENTATIONS["axial"]


def test_one_organ_of_many(folder):
    # As TotalSegmentator has them: 117 values, of which one is of interest.
    many = np.where(LABEL == 1, 5, np.arange(LABEL.size).reshape(LABEL.shape) + 94)
    save(file_of(folder, "segmentation-0.nii"), many.astype(np.uint8))
    found = settings(folder, classes={"liver": [5]}, others="background")
    np.testing.assert_array_equal(volume_pairs.cases(found, 0)[0].read()[1], LABEL == 1)
    words = ("(96, 97, 99-105, 107-117)", "only 0, 5", "`others: background`")
    found = settings(folder, classes={"liver": [5]})
    with pytest.raises(InputError) as error:
        volume_pairs.cases(found, 0)[0].read()
    assert all(word in str(error.value) for word in words), error.value


def test_empty_slices_are_left_out_or_kept(folder, tmp_path):
    label = LABEL.copy()
    label[0] = 0
    image = IMAGE.copy()
    # A slice that nobody uses may be empty, as padded scans have them.
    image[0] = -1000
    save(file_of(folder, "segmentation-0.nii"), label)
    save(file_of(folder, "volume-0.nii"), image)
    prepare_dataset("lis", settings(folder), 0, tmp_path / "lis.h5")
    dataset = Dataset(tmp_path / "lis.h5")
    assert dataset.slice[dataset.case == "case001"].tolist() == [1]
    save(file_of(folder, "volume-0.nii"), IMAGE)
    prepare_dataset("lis", settings(folder, select="all"), 0, tmp_path / "lis.h5")
    assert len(Dataset(tmp_path / "lis.h5")) == 8


# Bad input


def test_images_without_labels_are_counted_and_listed(folder):
    for case in (1, 2):
        next(folder.rglob(f"segmentation-{case}.*")).unlink()
    words = ("2 of 4 images have no label", "volume-1.nii.gz, volume-2.nii", "unlabelled: skip")
    assert_refused(folder, folder, *words)


def test_images_without_labels_are_skipped_if_asked(folder, caplog):
    save(folder / "volume-130.nii.gz", IMAGE)
    cases = volume_pairs.cases(settings(folder, unlabelled="skip"), 0)
    assert [case.name for case in cases] == ["0", "1", "2", "3"]
    assert "1 of 5 images have no label" in caplog.text and "volume-130" not in caplog.text


def test_labels_without_images(folder):
    file_of(folder, "volume-2.nii").unlink()
    words = (folder, "1 labels have no image", "segmentation-2.nii", "remove the label")
    assert_refused(folder, *words, unlabelled="skip")


@pytest.mark.parametrize("key", ["folder", "labels_folder"])
def test_missing_folder(folder, key):
    assert_refused(folder, "there is no folder nowhere", f".{key}.", **{key: "nowhere"})


@pytest.mark.parametrize("key", ["images", "labels"])
def test_nothing_matches(folder, key):
    words = (folder, "no file whose whole name", f"`{key}`", "correct")
    assert_refused(folder, *words, **{key: r"scan(\d+)\.nii"})


def test_pattern_that_names_no_case(folder):
    pattern = r"volume-(\d*)x?.*\.nii(\.gz)?|(other)"
    path = save(folder / "volume-none.nii", IMAGE)
    assert_refused(folder, path, "`images`", "without naming a case", images=pattern)


def test_case_twice(folder):
    save(folder / "volume-1.nii", IMAGE)
    words = (folder / "volume-1.nii", "volume-1.nii.gz", "both case '1'", "remove one")
    assert_refused(folder, *words)


def test_file_that_is_image_and_label(folder):
    words = ("segmentation-0.nii", "both `images` and `labels`", "no name matches both")
    assert_refused(folder, *words, images=r"(.+)\.nii(\.gz)?")


def test_other_grid(folder):
    path = save(file_of(folder, "segmentation-2.nii"), LABEL, origin=(-30, -20, 102.5))
    words = (path, "volume-2.nii", "4 x 3 x 2 voxels of 0.7 x 0.8 x 2.5 mm", "102.5", "resample")
    assert_refused(folder, *words)


def test_label_with_a_slice_missing(folder):
    path = save(file_of(folder, "segmentation-3.nii.gz"), LABEL[:1])
    assert_refused(folder, path, "4 x 3 x 1", "4 x 3 x 2", "pair the right files")


def test_labels_that_are_not_whole(folder):
    path = save(file_of(folder, "segmentation-1.nii.gz"), LABEL * np.float32(0.75))
    assert_refused(folder, path, "not whole numbers (0.75)", "without interpolation")


def test_unknown_label_value(folder):
    path = save(file_of(folder, "segmentation-0.nii"), LABEL * 3)
    assert_refused(
        folder, path, "2 unknown label values (3, 6)", "only 0-2", "`others: background`"
    )


@pytest.mark.parametrize("name", ["volume-1.nii.gz", "segmentation-1.nii.gz"])
@pytest.mark.parametrize("how", ["truncated", "text", "text in gzip"])
def test_damaged_file(folder, name, how):
    path = file_of(folder, name)
    broken = {
        "truncated": path.read_bytes()[:-12],
        "text": b"<html>404 not found</html>" * 40,
        "text in gzip": gzip.compress(b"<html>404 not found</html>" * 40),
    }
    path.write_bytes(broken[how])
    assert_refused(folder, path, "cannot be read", "download or export it again")


def test_several_channels(folder):
    path = file_of(folder, "volume-0.nii")
    save(path, sitk.JoinSeries([to_sitk(IMAGE)] * 2))
    assert_refused(folder, path, "2 channels", "set `channel`", "one channel")
    (image, *_) = (case.read()[0] for case in volume_pairs.cases(settings(folder, channel=0), 0))
    np.testing.assert_array_equal(image, IMAGE)


def test_no_foreground_anywhere(folder):
    for path in folder.rglob("segmentation-*"):
        save(path, LABEL * 0)
    assert_refused(folder, "dataset lis", "no slice is left", "`select: all`")
    assert_refused(folder, "liver has no pixel", "check the masks", select="all")


def test_left_out_cases_are_counted(folder, tmp_path, caplog):
    save(folder / "volume-8.nii", IMAGE)
    save(folder / "segmentation-8.nii", LABEL * 0)
    split = {"train": 0.6, "validation": 0.2, "test": 0.2}
    # A seed that puts the empty case among the three of the training split.
    prepare_dataset("lis", settings(folder, split=split), 0, tmp_path / "lis.h5")
    assert "1 of 5 cases are left out, as none of their slices shows a structure: case005" in (
        caplog.text
    )


SEQUENCES = {"T1": r"(\d)_t1\.nii\.gz", "FLAIR": r"(\d)_flair\.nii\.gz"}


@pytest.fixture
def sequences(tmp_path):
    """Four cases of T1 and FLAIR, which is stored with its axes flipped and permuted."""
    place = tmp_path / "brains"
    for case in range(4):
        save(place / f"{case}_t1.nii.gz", IMAGE + case)
        save(place / f"{case}_flair.nii.gz", sitk.DICOMOrient(to_sitk(100 - IMAGE), "PIR"))
        save(place / f"segmentation-{case}.nii", LABEL)
    return place


def test_a_channel_per_sequence_on_one_grid(sequences, tmp_path):
    window = {"FLAIR": [60, 140], "T1": [-32, 32]}
    found = settings(sequences, images=SEQUENCES, window=window)
    images, labels, numbers, spacing = volume_pairs.cases(found, 0)[2].read()
    np.testing.assert_array_equal(images[0], IMAGE + 2)
    np.testing.assert_array_equal(images[1], 100 - IMAGE)
    np.testing.assert_array_equal(labels, LIVER)
    assert numbers.tolist() == [0, 1]
    np.testing.assert_allclose(spacing, SPACING, rtol=1e-6)
    prepare_dataset("brains", found, 0, tmp_path / "brains.h5")
    dataset = Dataset(tmp_path / "brains.h5")
    # In the order of `images`, whatever that of `window`.
    assert dataset.channels == ["T1", "FLAIR"]
    images, _ = dataset.read(np.flatnonzero(dataset.case == "case003"))
    np.testing.assert_allclose(images[:, 0], (IMAGE + 2) / 32, atol=2**-11)
    np.testing.assert_allclose(images[:, 1], -IMAGE / 40, atol=2**-11)


@pytest.mark.parametrize("plane", ["sagittal", "coronal"])
def test_channels_are_sliced_alike(sequences, plane):
    found = settings(sequences, images=SEQUENCES, plane=plane)
    (first, second), *_ = volume_pairs.cases(found, 0)[0].read()
    np.testing.assert_array_equal(first, 100 - second)


@pytest.mark.parametrize(
    "other", [to_sitk(IMAGE, origin=(-30, -20, 101)), to_sitk(IMAGE[:, :, :3]), to_sitk(IMAGE[:1])]
)
def test_channels_on_two_grids_are_refused(sequences, other):
    save(sequences / "1_flair.nii.gz", other)
    words = ("1_flair.nii.gz, a channel beside ", "1_t1.nii.gz", "this channel's grid", "resample")
    assert_refused(sequences, *words, images=SEQUENCES)


def test_each_case_needs_each_channel(sequences):
    (sequences / "3_flair.nii.gz").unlink()
    assert_refused(sequences, "`images.FLAIR`", "segmentation-3.nii", images=SEQUENCES)
    file_of(sequences, "segmentation-3.nii").unlink()
    assert_refused(sequences, "`images.T1`: 1 of 4 images", "3_t1.nii.gz", images=SEQUENCES)
    left = settings(sequences, images=SEQUENCES, unlabelled="skip")
    assert [case.name for case in volume_pairs.cases(left, 0)] == ["0", "1", "2"]


def test_a_file_is_of_one_channel(sequences):
    patterns = SEQUENCES | {"FLAIR": r"(\d)_(t1|flair)\.nii\.gz"}
    assert_refused(sequences, "`images.FLAIR`", "both case '0'", images=patterns)
    assert_refused(
        sequences,
        "0_t1.nii.gz matches both `images.T1` and `images.FLAIR`",
        images=dict.fromkeys(SEQUENCES, SEQUENCES["T1"]),
    )
