"""DICOM series and their labels: right voxels in every orientation, and refusals by name."""

import locale
import logging
import os

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from pydicom.uid import JPEGLosslessSV1, RLELossless, generate_uid

from dicom_files import (
    HU,
    LABEL,
    SPACING,
    TILTED,
    UPRIGHT,
    edit,
    set_pixels,
    store,
    write_itk_series,
    write_nifti,
    write_seg,
    write_series,
)
from labelnoise.data.prepare import prepare_dataset
from labelnoise.data.sources import dicom
from labelnoise.data.sources.dicom_headers import scan
from labelnoise.data.sources.dicom_series import arrange, read_series
from labelnoise.data.storage import Dataset
from labelnoise.errors import InputError
from refusals import assert_not_prepared
from settings import dataset_settings


@pytest.fixture(autouse=True)
def own_locale():
    """Keep the locale, which SimpleITK's DICOM writer sets to C for the whole process."""
    before = locale.setlocale(locale.LC_ALL)
    yield
    locale.setlocale(locale.LC_ALL, before)


def settings(root, **changes):
    given = {
        "source": "dicom",
        "folder": str(root / "scans"),
        "case": r"PANCREAS_(\d+)",
        "labels_folder": str(root / "labels"),
        "classes": {"pancreas": [1]},
        "window": [-1000, 1000],
        "select": "all",
        "split": {"train": 0.34, "validation": 0.33, "test": 0.33},
    }
    return dataset_settings(**given | changes)


def with_seg(root, **changes):
    return settings(root, label_kind="seg", labels_folder=None, **changes)


def read_only(found):
    (case,) = dicom.cases(found, 0)
    return case.read()


def assert_refused(root, found, *words):
    assert_not_prepared("psd", found, root, *words)


@pytest.fixture
def one(tmp_path):
    """One patient; the paths of its slices, inferior to superior."""
    paths = write_series(tmp_path / "scans" / "PANCREAS_0001" / "study", patient="PANCREAS_0001")
    write_nifti(tmp_path / "labels" / "label0001.nii.gz")
    return tmp_path, paths


@pytest.fixture
def more(one):
    """The one patient and two others, so that nothing but its own fault can stop the import."""
    root, paths = one
    for name in ("PANCREAS_0002", "PANCREAS_0003"):
        write_seg(root / "scans" / name / "seg", write_series(root / "scans" / name, patient=name))
        write_nifti(root / "labels" / f"label{name[-4:]}.nii.gz")
    return root, paths


@pytest.fixture
def three(tmp_path):
    """Pancreas-CT in small: three patients, labels in another orientation and slice order."""
    for number, axes in enumerate(("LPS", "LPI", "RAS"), start=1):
        name = f"PANCREAS_000{number}"
        write_series(tmp_path / "scans" / name / "a" / "b", np.roll(HU, number), axes, patient=name)
        label = np.roll(LABEL, number, axis=2)
        write_nifti(tmp_path / "labels" / f"label000{number}.nii.gz", label, "RAI")
    return tmp_path


# Orientation. Each file lies along other axes; what is read must be what was stated.


@pytest.mark.parametrize("turn", [UPRIGHT, TILTED], ids=["upright", "oblique"])
@pytest.mark.parametrize("label_axes", ["LPS", "RAS", "RAI", "SLA"])
@pytest.mark.parametrize("axes", ["LPS", "LPI", "RPS", "RAS", "LAI", "LIP", "PIL", "AIR"])
def test_any_orientation_gives_the_same_slices(tmp_path, axes, label_axes, turn):
    write_series(tmp_path / "scans", axes=axes, turn=turn, patient="PANCREAS_0001")
    write_nifti(tmp_path / "labels" / "label0001.nii.gz", axes=label_axes, turn=turn)
    images, labels, numbers, spacing = read_only(settings(tmp_path))
    np.testing.assert_array_equal(images, HU)
    np.testing.assert_array_equal(labels, LABEL)
    np.testing.assert_allclose(spacing, SPACING, rtol=1e-6)
    assert (images.dtype, labels.dtype) == (np.int16, np.uint8)
    assert numbers.tolist() == [0, 1, 2, 3, 4]


# HU runs to superior, posterior and left; slices are 2.5 mm apart and so in the acquired plane.
@pytest.mark.parametrize("label_kind", ["volumes", "seg"])
@pytest.mark.parametrize(
    ("plane", "turned"),
    [
        ("sagittal", lambda array_SPL: array_SPL[::-1].transpose(2, 0, 1)),
        ("coronal", lambda array_SPL: array_SPL[::-1].transpose(1, 0, 2)),
        ("acquired", lambda array_SPL: array_SPL),
    ],
)
def test_slices_in_another_plane(tmp_path, label_kind, plane, turned):
    paths = write_series(tmp_path / "scans", axes="LPI", patient="PANCREAS_0001")
    found = settings(tmp_path, plane=plane)
    if label_kind == "seg":
        write_seg(tmp_path / "scans" / "seg" / "1", paths, store(LABEL, "LPI")[0][..., None])
        found = with_seg(tmp_path, plane=plane)
    else:
        write_nifti(tmp_path / "labels" / "label0001.nii.gz", axes="RAI")
    images, labels, numbers, spacing = read_only(found)
    np.testing.assert_array_equal(images, turned(HU))
    np.testing.assert_array_equal(labels, turned(LABEL))
    assert numbers.tolist() == list(range(len(images)))
    order = {"sagittal": [2, 0, 1], "coronal": [1, 0, 2], "acquired": [0, 1, 2]}[plane]
    np.testing.assert_allclose(spacing, np.take(SPACING, order), rtol=1e-6)


@pytest.mark.parametrize("turn", [UPRIGHT, TILTED], ids=["upright", "oblique"])
@pytest.mark.parametrize("axes", ["LPS", "LPI", "RAS", "LIP"])
def test_series_of_another_writer(tmp_path, axes, turn):
    write_itk_series(tmp_path / "scans", axes=axes, turn=turn, patient="PANCREAS_0001")
    write_nifti(tmp_path / "labels" / "label0001.nii", axes="RAI", turn=turn)
    images, labels, _, _ = read_only(settings(tmp_path))
    np.testing.assert_array_equal(images, HU)
    np.testing.assert_array_equal(labels, LABEL)


@pytest.mark.parametrize("turn", [UPRIGHT, TILTED], ids=["upright", "oblique"])
@pytest.mark.parametrize("axes", ["LPS", "RAS", "LPI", "PIL"])
def test_affine_agrees_with_simpleitk(tmp_path, axes, turn):
    write_series(tmp_path, axes=axes, turn=turn)
    volume = read_series(arrange(scan(tmp_path).slices))
    image = sitk.ReadImage(sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(tmp_path)))
    for index in ((0, 0, 0), (1, 2, 3), (0, 3, 4)):
        x, y, z = image.TransformIndexToPhysicalPoint(index)
        np.testing.assert_allclose((volume.affine @ [*index, 1])[:3], [-x, -y, z], atol=1e-6)
        assert volume.array_IJK[index] == image[index]


def test_slices_by_hand(tmp_path):
    # Columns run to the right, rows to the front, slices up: two slices of 2 x 3.
    stored = np.array([[[1, 2, 3], [4, 5, 6]], [[7, 8, 9], [10, 11, 12]]], np.uint16)
    paths = write_series(tmp_path / "scans", np.zeros((2, 2, 3), np.int16), patient="PANCREAS_1")
    for path, pixels, height in zip(paths, stored, (8, 5), strict=True):
        dataset = pydicom.dcmread(path)
        dataset.ImagePositionPatient = [20, 10, height]
        dataset.ImageOrientationPatient = [-1, 0, 0, 0, -1, 0]
        set_pixels(dataset, pixels)
        dataset.save_as(path)
    image = sitk.GetImageFromArray(np.array([[[0, 1, 0], [0, 0, 0]], [[0, 0, 0], [1, 0, 0]]], "u1"))
    # Columns left, rows back, slices up from the corner at right, front and bottom.
    image.SetOrigin((20 - 2 * 0.8, 10 - 0.7, 5))
    image.SetSpacing((0.8, 0.7, 3))
    (tmp_path / "labels").mkdir()
    sitk.WriteImage(image, str(tmp_path / "labels" / "label1.nii.gz"))
    images, labels, _, spacing = read_only(settings(tmp_path))
    expected = np.array([[[12, 11, 10], [9, 8, 7]], [[6, 5, 4], [3, 2, 1]]]) - 1024
    np.testing.assert_array_equal(images, expected)
    np.testing.assert_array_equal(labels, [[[0, 1, 0], [0, 0, 0]], [[0, 0, 0], [1, 0, 0]]])
    np.testing.assert_allclose(spacing, [3, 0.7, 0.8])


@pytest.mark.parametrize("turn", [UPRIGHT, TILTED], ids=["upright", "oblique"])
@pytest.mark.parametrize("axes", ["LPS", "LPI", "RAS", "LIP"])
def test_segmentation_frames_go_to_their_positions(tmp_path, axes, turn):
    paths = write_series(tmp_path / "scans", axes=axes, turn=turn, patient="PANCREAS_0001")
    segment = store(LABEL, axes)[0][..., None]
    # Frames of 42 or 35 single bits do not end with a byte, those of a real scan do: see below.
    # highdicom leaves out the empty frames and orders the rest by itself.
    write_seg(tmp_path / "scans" / "seg" / "1", paths[::-1], segment[::-1])
    images, labels, numbers, spacing = read_only(with_seg(tmp_path))
    np.testing.assert_array_equal(images, HU)
    np.testing.assert_array_equal(labels, LABEL)
    np.testing.assert_allclose(spacing, SPACING, rtol=1e-6)
    assert numbers.tolist() == [0, 1, 2, 3, 4]


def test_tilted_gantry_keeps_its_slices(one):
    root, paths = one
    for number, path in enumerate(paths):
        edit(path, ImagePositionPatient=[-10, -20 + 0.5 * number, 30 + 2.5 * number])
    write_seg(root / "scans" / "seg", paths)
    images, labels, _, _ = read_only(with_seg(root))
    np.testing.assert_array_equal(images, HU)
    np.testing.assert_array_equal(labels, LABEL)


def test_segmentation_of_whole_bytes(tmp_path):
    wide = np.pad(LABEL, ((0, 0), (0, 0), (0, 1)))
    paths = write_series(tmp_path / "scans", np.pad(HU, ((0, 0), (0, 0), (0, 1))))
    write_seg(tmp_path / "scans" / "seg", paths, wide[..., None])
    np.testing.assert_array_equal(read_only(with_seg(tmp_path, case="(P1)"))[1], wide)


def test_segments_become_classes(one):
    root, paths = one
    parts = np.stack([LABEL, np.roll(LABEL, 1, axis=2), np.roll(LABEL, 3, axis=2)], -1)
    write_seg(root / "scans" / "seg", paths, parts, ("pancreas", "cyst", "duct"))
    # Where both claim a voxel, the higher class index wins, whatever the order of the segments.
    for first, second in ((1, 2), (2, 1)):
        found = with_seg(root, classes={"one": [first], "two": [second]}, ignore=[3])
        expected = np.where(parts[..., second - 1], 2, parts[..., first - 1])
        np.testing.assert_array_equal(read_only(found)[1], expected)


def test_label_values_become_classes(one):
    root, _ = one
    values = np.where(LABEL, np.arange(HU.size).reshape(HU.shape) % 3 + 1, 0).astype(np.uint8)
    write_nifti(root / "labels" / "label0001.nii.gz", values, "RAI")
    found = settings(root, classes={"cyst": [3], "pancreas": [1]}, ignore=[2])
    expected = np.select([values == 3, values == 1], [1, 2])
    np.testing.assert_array_equal(read_only(found)[1], expected)
    assert dicom.class_names(found) == ["background", "cyst", "pancreas"]


# Values


def test_fractional_slope_gives_float(tmp_path):
    hu = HU / 4
    write_series(tmp_path / "scans", hu, patient="PANCREAS_0001", slope=0.25, intercept=-500)
    write_nifti(tmp_path / "labels" / "label0001.nii.gz")
    images = read_only(settings(tmp_path))[0]
    assert images.dtype == np.float32
    np.testing.assert_array_equal(images, hu)


def test_values_beyond_16_bits_are_kept(one):
    root, paths = one
    dataset = pydicom.dcmread(paths[2])
    set_pixels(dataset, np.full((6, 7), 60000, np.uint16))
    dataset.save_as(paths[2])
    images = read_only(settings(root))[0]
    assert images.dtype == np.float32 and (images[2] == 60000 - 1024).all()
    np.testing.assert_array_equal(images[[0, 1, 3, 4]], HU[[0, 1, 3, 4]])


def test_compressed_slices(one):
    root, paths = one
    for path in paths:
        dataset = pydicom.dcmread(path)
        dataset.compress(RLELossless, generate_instance_uid=False)
        dataset.save_as(path)
    np.testing.assert_array_equal(read_only(settings(root))[0], HU)


# Cases


def test_dataset_from_three_patients(three):
    path = three / "psd.h5"
    prepare_dataset("psd", settings(three), 0, path, workers=2)
    with Dataset(path) as dataset:
        assert dataset.class_names == ["background", "pancreas"] and len(dataset) == 15
        for number in (1, 2, 3):
            rows = np.flatnonzero(dataset.case == f"case00{number}")
            assert dataset.source_cases()[f"case00{number}"] == f"000{number}"
            images, labels = dataset.read(rows)
            np.testing.assert_allclose(images[:, 0], np.roll(HU, number) / 1000, atol=1e-3)
            np.testing.assert_array_equal(labels, np.roll(LABEL, number, axis=2))
            assert dataset.slice[rows].tolist() == [0, 1, 2, 3, 4]
        assert dataset.provenance["orientation"].startswith("axial slices from inferior")


def test_cases_by_folder_or_series(three):
    found = settings(three, case_by="folder", case=r"(\d+)/a/b")
    assert [case.name for case in dicom.cases(found, 0)] == ["0001", "0002", "0003"]
    found = settings(three, case_by="SeriesInstanceUID", case="(.+)", unlabelled="skip")
    assert_refused(three, found, "3 of 3 cases have no label", "left over: 0001, 0002, 0003")


def test_one_folder_without_sub_folders_is_named(one):
    root, paths = one
    found = settings(root, folder=str(paths[0].parent), case_by="folder", case="(?P<case>study)")
    write_nifti(root / "labels" / "study.nii.gz")
    (case,) = dicom.cases(found | {"labels": r"(study)\.nii\.gz"}, 0)
    assert case.name == "study"


def test_other_files_are_skipped_and_counted(one, caplog):
    root, paths = one
    folder = paths[0].parent
    (folder / "LICENSE").write_text("CC BY 3.0, see the collection's page for how to cite it.")
    (folder / "empty").touch()
    for name, uid in (
        ("plan", "1.2.840.10008.5.1.4.1.1.481.3"),
        ("sr", "1.2.840.10008.5.1.4.1.1.88.33"),
    ):
        dataset = pydicom.dcmread(paths[0])
        dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = uid
        dataset.SeriesInstanceUID = generate_uid()
        del dataset.PixelData, dataset.Rows, dataset.ImagePositionPatient
        dataset.save_as(folder / name)
    scout = pydicom.dcmread(paths[0])
    scout.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    scout.save_as(folder / "scout")
    screen = pydicom.dcmread(paths[0])
    screen.SeriesInstanceUID = generate_uid()
    del screen.ImagePositionPatient
    screen.save_as(folder / "screen")
    with caplog.at_level(logging.INFO):
        np.testing.assert_array_equal(read_only(settings(root))[0], HU)
    for words in (
        "besides 5 slices",
        "2 files that are not DICOM",
        "1 DICOM files without an image (RT Structure Set Storage)",
        "1 DICOM files without an image (Comprehensive SR Storage)",
        "1 localizers",
        "1 images without a position",
    ):
        assert words in caplog.text


def test_one_of_two_series_is_chosen(one):
    root, paths = one
    late = write_series(paths[0].parent, HU[::-1], patient="PANCREAS_0001")
    for path in late:
        path.rename(path.with_name(f"late{path.name}"))
        edit(path.with_name(f"late{path.name}"), SeriesDescription="Arterial 1.0")
    write_series(paths[0].parent, patient="PANCREAS_0001")
    folder = paths[0].parent
    words = ("case 0001 has 2 series", "'Arterial 1.0', 5 slices", "'portal venous', 5", folder)
    assert_refused(root, settings(root), *words, "set `series_description`")
    assert_refused(root, settings(root, series_description="lung"), "0 series", "'lung'", folder)
    found = settings(root, series_description="(?i)arterial")
    np.testing.assert_array_equal(read_only(found)[0], HU[::-1])


def test_case_without_label(three, caplog):
    (three / "labels" / "label0002.nii.gz").unlink()
    write_nifti(three / "labels" / "label0009.nii.gz")
    refused = ("1 of 3 cases have no label (0002", "left over: 0009", "`unlabelled: skip`")
    assert_refused(three, settings(three), three / "scans", *refused)
    with caplog.at_level(logging.INFO):
        found = dicom.cases(settings(three, unlabelled="skip"), 0)
    assert [case.name for case in found] == ["0001", "0003"]
    assert "1 cases have no label and are left out" in caplog.text and "0002" not in caplog.text
    assert "1 labels belong to no case" in caplog.text and "0009" not in caplog.text


@pytest.mark.parametrize("ending", [".nrrd", ".mha"])
def test_labels_in_other_formats(one, ending):
    root, _ = one
    path = write_nifti(root / "labels" / f"label0001{ending}", axes="RAI")
    found = settings(root, labels=rf"label(\d+)\{ending}")
    np.testing.assert_array_equal(read_only(found)[1], LABEL)
    sitk.WriteImage(sitk.Compose(*[sitk.ReadImage(str(path)) * value for value in (0, 1)]), path)
    chosen = settings(root, labels=rf"label(\d+)\{ending}", label_channel=1)
    np.testing.assert_array_equal(read_only(chosen)[1], LABEL)
    with pytest.raises(InputError, match=r"2 channels .* set `label_channel`"):
        read_only(found)


def test_other_values_and_segments_become_background_if_asked(one):
    root, paths = one
    write_nifti(root / "labels" / "label0001.nii.gz", np.where(LABEL, LABEL, 117).astype(np.uint8))
    np.testing.assert_array_equal(read_only(settings(root, others="background"))[1], LABEL)
    segments = np.stack([LABEL, 1 - LABEL, LABEL], -1)
    write_seg(root / "scans" / "seg", paths, segments, ("pancreas", "duct", "again"))
    np.testing.assert_array_equal(read_only(with_seg(root, others="background"))[1], LABEL)


def test_pipe_among_the_slices(one):
    root, paths = one
    os.mkfifo(paths[0].with_name("pipe"))
    assert_refused(root, settings(root), paths[0].with_name("pipe"), "is a pipe", "remove it")


# Bad series


def test_missing_slice(one):
    root, paths = one
    paths[2].unlink()
    ends = (f"{paths[1].name} at 32.5 mm", f"{paths[3].name} at 37.5 mm", "5 mm apart")
    assert_refused(root, settings(root), paths[0].parent, *ends, "expected 2.5 mm", "download")


@pytest.mark.parametrize("shift", [0.2, -0.2])
def test_positions_may_be_rounded(one, shift):
    root, paths = one
    edit(paths[2], ImagePositionPatient=[-10, -20, 35 + shift])
    np.testing.assert_array_equal(read_only(settings(root))[1], LABEL)


def test_uneven_slices(one):
    root, paths = one
    edit(paths[2], ImagePositionPatient=[-10, -20, 35.5])
    assert_refused(root, settings(root), paths[1].name, paths[2].name, "uneven", "within 10%")


def test_two_slices_at_one_position(one):
    root, paths = one
    copy = paths[3].with_name("copy")
    copy.write_bytes(paths[3].read_bytes())
    assert_refused(root, settings(root), copy.parent, "copy", paths[3].name, "37.5 mm", "remove")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"PixelSpacing": [0.7, 0.9]}, ("PixelSpacing 0.7 x 0.9", "0.7 x 0.8")),
        ({"ImageOrientationPatient": [0, 1, 0, 1, 0, 0]}, ("ImageOrientationPatient",)),
        ({"FrameOfReferenceUID": "1.2.3"}, ("FrameOfReferenceUID 1.2.3",)),
    ],
)
def test_slices_that_differ(one, values, words):
    root, paths = one
    edit(paths[3], **values)
    assert_refused(root, settings(root), paths[3].name, *words, "remove the slices")


def test_slices_of_two_sizes(one):
    root, paths = one
    dataset = pydicom.dcmread(paths[3])
    set_pixels(dataset, np.zeros((6, 8), np.uint16))
    dataset.save_as(paths[3])
    assert_refused(root, settings(root), paths[3].name, "6 x 8", "6 x 7", "remove the slices")


def test_slice_off_the_line(one):
    root, paths = one
    edit(paths[2], ImagePositionPatient=[-9, -20, 35])
    assert_refused(root, settings(root), paths[2], "1 mm off the line", "remove it")


def test_slice_without_a_position(one):
    root, paths = one
    edit(paths[4], ImagePositionPatient=None)
    assert_refused(root, settings(root), paths[4], "has no ImagePositionPatient", "repair")


def test_orientation_that_is_none(one):
    root, paths = one
    for path in paths:
        edit(path, ImageOrientationPatient=[1, 0, 0, 1, 0, 0])
    assert_refused(root, settings(root), paths[0].parent, "not a pair of unit vectors")


def test_colour_images(one):
    root, paths = one
    for path in paths:
        edit(path, SamplesPerPixel=3)
    assert_refused(root, settings(root), paths[0].parent, "3 values per pixel")


def test_compression_without_a_decoder(one):
    root, paths = one
    dataset = pydicom.dcmread(paths[1])
    dataset.PixelData = pydicom.encaps.encapsulate([b"\xff\xd8\xff\xd9"])
    dataset["PixelData"].is_undefined_length = True
    dataset.file_meta.TransferSyntaxUID = JPEGLosslessSV1
    dataset.save_as(paths[1])
    words = ("JPEG Lossless", JPEGLosslessSV1, "install pylibjpeg", "pylibjpeg-libjpeg", "gdcmconv")
    assert_refused(root, settings(root), paths[1], *words)


@pytest.mark.parametrize("compressed", [False, True])
def test_truncated_pixels(more, compressed):
    root, paths = more
    if compressed:
        dataset = pydicom.dcmread(paths[1])
        dataset.compress(RLELossless, generate_instance_uid=False)
        dataset.save_as(paths[1])
    paths[1].write_bytes(paths[1].read_bytes()[:-30])
    assert_refused(root, settings(root), paths[1], "truncated", "download or export it again")


def test_truncated_header(one):
    root, paths = one
    content = paths[4].read_bytes()
    # SOP instance, patient, position and pixel spacing: the last slice must not vanish silently.
    for tag, words in (
        (b"\x08\x00\x18\x00", "cannot be read"),
        (b"\x10\x00\x20\x00", "cannot be read"),
        (b"\x20\x00\x32\x00", "cannot be read"),
        (b"\x28\x00\x30\x00", "download"),
    ):
        for more in (0, 6, 12):
            paths[4].write_bytes(content[: content.index(tag) + more])
            assert_refused(root, settings(root), paths[4], words)


def test_several_frames_in_one_file(one):
    root, paths = one
    enhanced = "1.2.840.10008.5.1.4.1.1.2.1"
    edit(paths[0], SOPClassUID=enhanced, ImagePositionPatient=None, NumberOfFrames=9)
    words = ("Enhanced CT Image of 9 frames", "single-frame DICOM", "`source: volumes`")
    assert_refused(root, settings(root), paths[0], *words)


def test_folder_without_series(one):
    root, _ = one
    nowhere = root / "nowhere"
    assert_refused(root, settings(root, folder=str(nowhere)), nowhere, "there is no folder")
    labels = root / "labels"
    words = ("holds no DICOM slice (1 files that are not DICOM)", "correct `folder`")
    assert_refused(root, settings(root, folder=str(labels)), labels, *words)


@pytest.mark.parametrize(("key", "other"), [("case", "PatientID"), ("labels", "labels")])
def test_patterns_that_match_nothing(one, key, other):
    root, _ = one
    assert_refused(root, settings(root, **{key: "never(x)"}), key, "never(x)", other)


def test_patient_without_a_name(one):
    root, paths = one
    edit(paths[0], PatientID="")
    assert_refused(root, settings(root), paths[0], "PatientID ''", "set `case_by`")


# Bad labels


def test_label_on_another_grid(more):
    root, paths = more
    path = root / "labels" / "label0001.nii.gz"
    for change in ({"shift": 0.8}, {"stack": LABEL[:4]}, {"turn": TILTED}):
        write_nifti(path, **change)
        assert_refused(
            root, settings(root), path, paths[0].parent, "not one grid", "pair the right"
        )


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (LABEL * np.float32(0.5), ("not whole numbers (0.5)", "without interpolation")),
        (LABEL * np.uint8(7), ("unknown label values (7)", "`ignore`")),
    ],
)
def test_label_values_that_are_no_class(more, values, words):
    root, _ = more
    path = write_nifti(root / "labels" / "label0001.nii.gz", values)
    assert_refused(root, settings(root), path, *words)


def test_truncated_label(more):
    root, _ = more
    path = root / "labels" / "label0001.nii.gz"
    path.write_bytes(path.read_bytes()[:-40])
    assert_refused(root, settings(root), path, "cannot be read", "again")


def test_no_foreground_anywhere(three):
    for path in (three / "labels").iterdir():
        write_nifti(path, LABEL * 0)
    assert_refused(three, settings(three), "psd", "pancreas has no pixel", "check the masks")
    assert_refused(three, settings(three, select="structure"), "no slice is left")


def test_two_labels_of_one_case(one):
    root, _ = one
    write_nifti(root / "labels" / "old" / "label0001.nii")
    words = ("label0001.nii.gz", "old/label0001.nii", "both labels of case 0001", "keep one")
    assert_refused(root, settings(root), *words)


def test_label_that_names_no_case(one):
    root, _ = one
    path = write_nifti(root / "labels" / "label.nii")
    found = settings(root, labels=r"label(\d+)?\.nii")
    assert_refused(root, found, path, "without naming a case", "correct the pattern")


def test_labels_folder_without_labels(one):
    root, _ = one
    place = root / "elsewhere"
    found = settings(root, labels_folder=str(place))
    assert_refused(root, found, place, "there is no folder", "labels_folder")
    place.mkdir()
    assert_refused(root, found, place, "no file whose whole name matches `labels`", "correct")
    assert_refused(root, found | {"label_kind": "seg"}, place, "no DICOM-SEG", "`label_kind`")


# Bad segmentations


def test_segment_that_is_no_class(more):
    root, paths = more
    segments = np.stack([LABEL] * 3, -1)
    path = write_seg(root / "scans" / "seg", paths, segments, ("pancreas", "duct", "cyst"))
    words = ("segment 2 (duct), 3 (cyst)", "expected only 1", "`ignore`", "`others: background`")
    assert_refused(root, with_seg(root), path, *words)


def test_segmentation_of_fractions(more):
    root, paths = more
    changes = {"segmentation_type": "FRACTIONAL"}
    path = write_seg(root / "scans" / "seg", paths, LABEL[..., None] * 0.5, **changes)
    assert_refused(root, with_seg(root), path, "type FRACTIONAL", "binary")


def test_segmentation_of_another_series(one, tmp_path):
    root, _ = one
    other = write_series(tmp_path / "other")
    write_seg(root / "scans" / "seg", other)
    assert_refused(root, with_seg(root), root / "scans", "1 of 1 cases have no label (0001")


def test_segmentation_off_the_grid(more):
    root, paths = more
    path = write_seg(root / "scans" / "seg", paths)
    whole = pydicom.dcmread(path)
    for (x, y, z), (rows, columns), between, words in (
        ((-9.6, -20, 32.5), (0.7, 0.8), 2.5, "between the voxels"),
        ((-10, -20, 33.5), (0.7, 0.8), 2.5, "between the voxels"),
        ((-10, -20, 45.0), (0.7, 0.8), 2.5, "outside the image"),
        ((-10, -20, 32.5), (1.4, 1.6), 2.5, "with other pixels"),
        ((-10, -20, 32.5), (0.7, 0.8), 5.0, "5 mm from the next, slices 2.5 mm"),
    ):
        shared = whole.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
        shared.PixelSpacing, shared.SpacingBetweenSlices = [rows, columns], between
        frame = whole.PerFrameFunctionalGroupsSequence[0].PlanePositionSequence[0]
        frame.ImagePositionPatient = [x, y, z]
        whole.save_as(path)
        assert_refused(root, with_seg(root), path, words, "grid", "resample")


def test_segmentation_in_another_frame_of_reference(more):
    root, paths = more
    path = write_seg(root / "scans" / "seg", paths)
    edit(path, FrameOfReferenceUID="1.2.3")
    assert_refused(root, with_seg(root), path, "FrameOfReferenceUID 1.2.3", "cannot be compared")


def test_segmentation_that_names_no_series(one):
    root, paths = one
    path = write_seg(root / "scans" / "seg", paths)
    edit(path, ReferencedSeriesSequence=None)
    assert_refused(root, with_seg(root), path, "does not name the series", "export it again")


@pytest.mark.parametrize("share", [0.7, 0.98])
def test_truncated_segmentation(more, share):
    root, paths = more
    path = write_seg(root / "scans" / "seg", paths, np.repeat(LABEL[..., None], 1, axis=-1))
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    assert_refused(root, with_seg(root), path, "again")


def test_two_segmentations_of_one_series(one):
    root, paths = one
    for name in ("first", "second"):
        write_seg(root / "scans" / name, paths)
    assert_refused(root, with_seg(root), "scans/first", "scans/second", "both labels of case 0001")


@pytest.mark.parametrize("kind", ["nifti", "seg"])
def test_a_series_per_channel(tmp_path, kind):
    study = tmp_path / "scans" / "PANCREAS_0001" / "study"
    paths = {}
    for shift, description in ((0, "t2 ax"), (100, "dwi b800")):
        place = study / description
        paths[description] = write_series(place, HU + shift, patient="PANCREAS_0001")
        for path in paths[description]:
            edit(path, SeriesDescription=description, FrameOfReferenceUID="1.2.3")
    if kind == "nifti":
        write_nifti(tmp_path / "labels" / "label0001.nii.gz")
    else:
        # Drawn on the channel that is not the first.
        write_seg(study / "seg", paths["t2 ax"])
    base = settings if kind == "nifti" else with_seg
    found = base(tmp_path, series_description={"DWI": "^dwi", "T2": "^t2"})
    (dwi, t2), labels, *_ = read_only(found)
    np.testing.assert_array_equal(dwi, HU + 100)
    np.testing.assert_array_equal(t2, HU)
    np.testing.assert_array_equal(labels, LABEL)
    same = found | {"series_description": {"DWI": "b800", "T2": "^dwi"}}
    assert_refused(tmp_path, same, "series_description.T2", "series_description.DWI", "both match")
    for path in paths["t2 ax"]:
        edit(path, FrameOfReferenceUID="1.2.4")
    if kind == "nifti":
        with pytest.raises(InputError, match=r"t2 ax has FrameOfReferenceUID 1\.2\.4, but .*dwi"):
            read_only(found)
