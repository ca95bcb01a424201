"""Label files written again: other labels, and nothing else that another reader could tell."""

import gzip

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image

from labelnoise.data.label_files import check_output, output_name, read_labels
from labelnoise.errors import InputError
from refusals import refusal
from volume_files import LABEL, SPACING, save, tilt, to_sitk

# What LABEL becomes in these tests.
WRONG = np.where(LABEL == 2, 1, 2 * (LABEL == 1)).astype(np.uint8)


def rewritten(path, name, wrong=WRONG):
    """Write other labels to a file of that name beside `path`, and return its path."""
    image = read_labels(path)
    target = path.with_name(name)
    image.write(target, wrong.astype(image.values_SHW.dtype))
    return target


def header_of(image):
    """All that a NIfTI header holds, and what follows it."""
    return image.header.binaryblock, [each.get_content() for each in image.header.extensions]


def nifti(path, dtype=np.uint8, turn="LPS", big=False):
    """A NIfTI file of LABEL with all that a header can say."""
    save(path, sitk.DICOMOrient(to_sitk(LABEL, direction=tilt(20, 2)), turn))
    image = nibabel.load(path)
    header = nibabel.Nifti1Header(endianness=">") if big else image.header.copy()
    made = nibabel.Nifti1Image(np.asarray(image.dataobj).astype(dtype), None, header)
    made.set_qform(image.affine, 1)
    made.set_sform(image.affine + 1e-3, 2)
    made.header["descrip"] = b"seen by two"
    made.header["intent_code"] = 1002
    made.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", b"a name"))
    made.set_data_dtype(dtype)
    nibabel.save(made, path)
    return path


@pytest.mark.parametrize("turn", ["LPS", "RAS", "SAR"])
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int64, np.float32, np.float64])
def test_nifti_keeps_every_byte_of_its_header(tmp_path, dtype, turn):
    path = nifti(tmp_path / "a.nii", dtype, turn)
    target = rewritten(path, "b.nii.gz")
    before, after = nibabel.load(path), nibabel.load(target)
    assert header_of(before) == header_of(after)
    assert after.get_data_dtype() == dtype
    for form in ("get_qform", "get_sform"):
        np.testing.assert_array_equal(
            getattr(before, form)(coded=True)[0], getattr(after, form)(coded=True)[0]
        )
    back = sitk.DICOMOrient(sitk.ReadImage(str(target)), "LPS")
    np.testing.assert_array_equal(sitk.GetArrayFromImage(back), WRONG)


def test_nifti_of_the_other_byte_order_and_scaled(tmp_path):
    path = nifti(tmp_path / "a.nii", np.int16, big=True)
    after = nibabel.load(rewritten(path, "b.nii"))
    assert after.header.endianness == ">"
    np.testing.assert_array_equal(read_labels(tmp_path / "b.nii").values_SHW, WRONG)
    # Stored 1, 3 and 5 mean 0, 1 and 2.
    image = nibabel.load(path)
    stored = 2 * np.asarray(image.dataobj) + 1
    scaled = nibabel.Nifti1Image(stored.astype(np.int16), image.affine)
    scaled.header.set_slope_inter(0.5, -0.5)
    raw = scaled.to_bytes()
    (tmp_path / "s.nii").write_bytes(raw[:352] + stored.astype("<i2").tobytes(order="F"))
    np.testing.assert_array_equal(read_labels(tmp_path / "s.nii").values_SHW, LABEL)
    after = nibabel.load(rewritten(tmp_path / "s.nii", "t.nii"))
    assert (after.dataobj.slope, after.dataobj.inter) == (0.5, -0.5)
    np.testing.assert_array_equal(read_labels(tmp_path / "t.nii").values_SHW, WRONG)


def test_the_spacing_is_that_of_slices_rows_and_columns(tmp_path):
    for name in ("a.nii", "a.nrrd", "a.mha"):
        found = read_labels(save(tmp_path / name, LABEL))
        np.testing.assert_array_equal(found.values_SHW, LABEL)
        np.testing.assert_allclose(found.spacing_3, SPACING, rtol=1e-6)


def test_slices_are_in_the_plane_of_the_finest_axes(tmp_path):
    # Coronal slices, 2.5 mm apart.
    image = to_sitk(LABEL, direction=[[1, 0, 0], [0, 0, 1], [0, -1, 0]])
    found = read_labels(save(tmp_path / "a.nii", image))
    np.testing.assert_array_equal(found.values_SHW, LABEL)
    assert read_labels(tmp_path / "a.nii", "axial").values_SHW.shape == (3, 2, 4)


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("ending", [".nrrd", ".nhdr", ".mha", ".mhd"])
def test_raw_formats_keep_their_fields(tmp_path, ending, compressed):
    image = to_sitk(LABEL.astype(np.int16), direction=tilt(20, 0))
    image.SetMetaData("Reader", "the second")
    path = tmp_path / f"a{ending}"
    sitk.WriteImage(image, str(path), compressed)
    target = rewritten(path, output_name(f"b{ending}"))
    assert target.suffix in (".nrrd", ".mha")
    after = sitk.ReadImage(str(target))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(after), WRONG)
    before = sitk.ReadImage(str(path))
    assert after.GetPixelID() == before.GetPixelID()
    for ask in ("GetSpacing", "GetOrigin", "GetDirection", "GetMetaDataKeys"):
        assert getattr(after, ask)() == getattr(before, ask)()
    assert after.GetMetaData("Reader") == "the second"
    if path.suffix == target.suffix and not (compressed and ending == ".mha"):
        text = path.read_bytes()
        end = text.index(b"\n\n") if ending == ".nrrd" else text.index(b"LOCAL")
        assert target.read_bytes().startswith(text[:end])


def test_extents_of_segments_become_the_whole_volume(tmp_path):
    image = to_sitk(LABEL)
    path = tmp_path / "a.seg.nrrd"
    sitk.WriteImage(image, str(path))
    text = path.read_bytes()
    fields = b"Segment0_Extent:=0 1 0 1 0 0\nSegment0_LabelValue:=1\n\n"
    path.write_bytes(text.replace(b"\n\n", b"\n" + fields, 1))
    after = rewritten(path, "b.seg.nrrd").read_bytes()
    assert b"Segment0_Extent:=0 3 0 2 0 1\nSegment0_LabelValue:=1\n\n" in after


def test_equal_labels_are_equal_bytes(tmp_path):
    for name, source in (("nii.gz", "a.nii.gz"), ("nrrd", "a.nrrd"), ("mha", "a.mha")):
        path = tmp_path / source
        sitk.WriteImage(to_sitk(LABEL), str(path), True)
        one, two = rewritten(path, f"b.{name}"), rewritten(path, f"other.{name}")
        assert one.read_bytes() == two.read_bytes()


# Pictures

HW = LABEL[1]
PALETTE = [0, 0, 0, 200, 10, 10, 10, 200, 10]


def picture(path, mode, values=HW, **kept):
    arrays = {"I;16": np.uint16, "I": np.int32, "F": np.float32}
    if mode == "1":
        image = Image.fromarray(values > 0)
    elif mode in ("RGB", "RGBA", "LA"):
        image = Image.fromarray(values).convert(mode)
    else:
        image = Image.fromarray(values.astype(arrays.get(mode, np.uint8)))
    if mode == "P":
        image.putpalette(PALETTE)
    image.save(path, **kept)
    return path


@pytest.mark.parametrize(
    ("name", "mode", "kept"),
    [
        ("a.png", "L", {"dpi": (300, 300)}),
        ("a.png", "P", {"transparency": 0}),
        ("a.png", "1", {}),
        ("a.png", "I;16", {}),
        ("a.png", "RGB", {}),
        ("a.png", "RGBA", {}),
        ("a.png", "LA", {}),
        ("a.tif", "L", {"compression": "tiff_lzw", "description": "ImageJ=1", "dpi": (72, 36)}),
        ("a.tif", "I;16", {"compression": "tiff_adobe_deflate"}),
        ("a.tiff", "I", {}),
        ("a.tif", "F", {}),
        ("a.bmp", "L", {}),
    ],
)
def test_pictures_keep_mode_palette_and_resolution(tmp_path, name, mode, kept):
    path = picture(tmp_path / name, mode, **kept)
    before = Image.open(path)
    values = read_labels(path).values_SHW
    assert values.shape == (1, 3, 4)
    assert np.isnan(read_labels(path).spacing_3).all()
    levels = np.unique(values)
    wrong = levels[::-1][np.searchsorted(levels, values)]
    target = rewritten(path, f"b{path.suffix}", wrong)
    after = Image.open(target)
    assert (after.mode, after.size, after.format) == (before.mode, before.size, before.format)
    assert after.getpalette() == before.getpalette()
    for key in ("dpi", "compression", "transparency"):
        assert after.info.get(key) == before.info.get(key)
    if mode == "F":
        assert np.asarray(after).dtype == np.float32
    for tag in (270, 282, 283) if before.format == "TIFF" else ():
        assert after.tag_v2.get(tag) == before.tag_v2.get(tag)
    np.testing.assert_array_equal(read_labels(target).values_SHW, wrong)


def test_a_structure_on_what_was_transparent_is_opaque(tmp_path):
    levels = np.array([[[0, 0, 0, 0], [1, 1, 1, 255]]], np.uint8)
    Image.fromarray(levels).save(tmp_path / "a.png")
    target = rewritten(tmp_path / "a.png", "b.png", np.array([[[1, 0]]]))
    found = np.asarray(Image.open(target))
    np.testing.assert_array_equal(found, [[[1, 1, 1, 255], [0, 0, 0, 255]]])


# Refusals


def test_what_is_no_label_file_is_refused_by_name(tmp_path):
    save(tmp_path / "half.nii", LABEL + 0.5)
    save(tmp_path / "wide.nii", np.full(LABEL.shape, 2**24 + 1, np.int64))
    Image.fromarray(np.zeros((2, 2), np.uint8)).save(tmp_path / "a.jpg")
    Image.fromarray(np.array([[[1, 2, 3]]], np.uint8)).save(tmp_path / "colour.png")
    save(tmp_path / "cut.nii.gz", np.random.default_rng(0).integers(0, 9, (9, 9, 9)))
    whole = (tmp_path / "cut.nii.gz").read_bytes()
    (tmp_path / "cut.nii.gz").write_bytes(whole[: len(whole) // 2])
    two = sitk.JoinSeries([to_sitk(LABEL), to_sitk(LABEL)])
    sitk.WriteImage(two, str(tmp_path / "two.nii"))
    for name, says in (
        ("none.nii", "cannot be read: No such file"),
        ("a.txt", "ends in '.txt', expected a label file, one of .nii.gz, .nii, .nrrd"),
        ("a.jpg", "ends in '.jpg'"),
        ("half.nii", "the labels are not whole numbers (0.5, 1.5"),
        ("wide.nii", "holds the label value 16777216, expected at most 16777215"),
        ("colour.png", "is a colour image"),
        ("cut.nii.gz", "cannot be read"),
        ("two.nii", "holds 2 channels"),
    ):
        said = refusal(read_labels, tmp_path / name)
        assert says in said and name in said and "\n" not in said


def test_outputs_of_another_format_and_in_place_are_refused(tmp_path):
    path = save(tmp_path / "a.nii", LABEL)
    (tmp_path / "folder.nii").mkdir()
    for name, says in (
        ("b.nrrd", "ends in '.nrrd', expected .nii.gz or .nii, the format of a.nii"),
        ("b", "ends in 'no suffix'"),
        ("a.nii", "is the input itself"),
        ("folder.nii", "is a folder"),
    ):
        assert says in refusal(check_output, path, tmp_path / name)
    check_output(path, tmp_path / "b.nii.gz")
    with pytest.raises(InputError, match=r"expected \.mha, the format of a\.mhd"):
        check_output(tmp_path / "a.mhd", tmp_path / "b.mhd")


def test_nothing_half_is_left_of_labels_that_cannot_be_written(tmp_path):
    path = save(tmp_path / "a.nii.gz", LABEL)
    broken = LABEL.astype(object)
    broken[1, 2, 3] = "two"
    for labels, says in ((LABEL[:1], "labels"), (broken, "invalid literal")):
        with pytest.raises(ValueError, match=says):
            read_labels(path).write(tmp_path / "b.nii.gz", labels)
    assert [each.name for each in tmp_path.iterdir()] == ["a.nii.gz"]
    assert gzip.decompress(path.read_bytes())
