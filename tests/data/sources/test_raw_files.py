"""NRRD and MetaImage: voxels and places as other readers have them, damage refused by name."""

import gzip
import zlib

import numpy as np
import pytest
import SimpleITK as sitk

from labelnoise.data.sources.nifti_files import read_nifti
from labelnoise.data.sources.raw_files import read_raw
from labelnoise.errors import InputError
from volume_files import IMAGE, assert_is, tilt, to_sitk

ENDINGS = pytest.mark.parametrize("ending", [".nrrd", ".nhdr", ".mha", ".mhd"])
NOISE = np.random.default_rng(0).integers(0, 999, (20, 21, 22)).astype(np.int16)
# Voxels of 0.7 x 0.8 x 2.5 mm that lie along left, posterior and superior, as text.
META = """ObjectType = Image
NDims = 3
BinaryData = True
BinaryDataByteOrderMSB = False
CompressedData = False
TransformMatrix = 1 0 0 0 1 0 0 0 1
Offset = -30 -20 100
ElementSpacing = 0.7 0.8 2.5
DimSize = 4 3 2
ElementType = MET_SHORT
ElementDataFile = LOCAL
"""
NRRD = """NRRD0004
# a comment: of no field
type: short
dimension: 3
space: left-posterior-superior
sizes: 4 3 2
space directions: (0.7,0,0) (0,0.8,0) (0,0,2.5)
kinds: domain domain domain
endian: little
encoding: raw
space origin: (-30,-20,100)
encoding of the user:=bzip2

"""
TEXTS = {".mha": META, ".nrrd": NRRD}


def write(path, image, compressed=False):
    sitk.WriteImage(image, str(path), compressed)
    return path


def by_hand(path, *changes, voxels=None):
    """Write one of the texts above, each (old, new) of the changes made, and voxels."""
    text = TEXTS[path.suffix]
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path.write_bytes(text.encode() + (IMAGE.tobytes() if voxels is None else voxels))
    return path


def assert_refused(path, *words, **kwargs):
    with pytest.raises(InputError) as error:
        read_raw(path, **kwargs)
    for word in (path.name, *words):
        assert str(word) in str(error.value)
    assert "\n" not in str(error.value)


# Voxels and places


@ENDINGS
@pytest.mark.parametrize("compressed", [False, True])
def test_voxels_lie_where_nibabel_and_simpleitk_put_them(tmp_path, ending, compressed):
    turns = (np.eye(3), tilt(20, 0) @ tilt(-35, 2), tilt(90, 1))
    for orientation in ("LPS", "RAS", "ASL", "SRP", "LPI"):
        for turn in turns:
            image = sitk.DICOMOrient(to_sitk(IMAGE), orientation)
            image.SetDirection((turn @ np.reshape(image.GetDirection(), (3, 3))).ravel().tolist())
            found = read_raw(write(tmp_path / f"a{ending}", image, compressed))
            twin = read_nifti(write(tmp_path / "a.nii", image))
            np.testing.assert_array_equal(found.array_IJK, twin.array_IJK)
            np.testing.assert_allclose(found.affine, twin.affine, atol=1e-4)
            for index in ((0, 0, 0), (1, 2, 1)):
                x, y, z = image.TransformIndexToPhysicalPoint(index)
                np.testing.assert_allclose((found.affine @ [*index, 1])[:3], [-x, -y, z])


@ENDINGS
@pytest.mark.parametrize("kind", ["u1", "i1", "i2", "u2", "i4", "u4", "f4", "f8", "i8"])
def test_stored_types(tmp_path, ending, kind):
    image = to_sitk((IMAGE + 7).astype(kind))
    found = read_raw(write(tmp_path / f"a{ending}", image, True))
    assert found.array_IJK.dtype == (np.float32 if kind[1] == "8" else kind)
    assert_is(found, IMAGE + 7)


@pytest.mark.parametrize("ending", TEXTS)
def test_headers_by_hand(tmp_path, ending):
    path = tmp_path / f"a{ending}"
    assert_is(read_raw(by_hand(path)), IMAGE)
    np.testing.assert_allclose(read_raw(path).affine[:3, 3], [30, 20, 100])
    order = {".mha": ("MSB = False", "MSB = True"), ".nrrd": ("little", "big")}[ending]
    big = by_hand(path, order, voxels=IMAGE.astype(">i2").tobytes())
    assert_is(read_raw(big), IMAGE)


def test_right_anterior_superior(tmp_path):
    # The first voxel is the last along left and posterior: 3 x 0.7 and 2 x 0.8 mm further.
    changes = (
        ("left-posterior-superior", "right-anterior-superior"),
        ("(-30,-20,100)", "(27.9,18.4,100)"),
    )
    voxels = IMAGE[:, ::-1, ::-1].tobytes()
    found = read_raw(by_hand(tmp_path / "a.nrrd", *changes, voxels=voxels))
    assert_is(found, IMAGE)
    np.testing.assert_allclose(found.affine[:3, 3], [27.9, 18.4, 100])


def test_negative_spacing_turns_the_axis(tmp_path):
    change = ("ElementSpacing = 0.7 0.8", "ElementSpacing = 0.7 -0.8")
    voxels = IMAGE[:, ::-1].tobytes()
    assert_is(read_raw(by_hand(tmp_path / "a.mha", change, voxels=voxels)), IMAGE)


@pytest.mark.parametrize("ending", [".mhd", ".nhdr"])
def test_data_in_another_folder(tmp_path, ending):
    (tmp_path / "voxels").mkdir()
    path = write(tmp_path / f"a{ending}", to_sitk(IMAGE))
    (tmp_path / "a.raw").rename(tmp_path / "voxels" / "b.raw")
    path.write_text(path.read_text().replace("a.raw", "voxels/b.raw"))
    assert_is(read_raw(path), IMAGE)
    (tmp_path / "voxels" / "b.raw").unlink()
    assert_refused(path, tmp_path / "voxels" / "b.raw", f"the voxels of a{ending}")


def test_gzip_of_several_streams(tmp_path):
    raw = IMAGE.tobytes()
    voxels = gzip.compress(raw[:20]) + gzip.compress(raw[20:])
    path = by_hand(tmp_path / "a.nrrd", ("encoding: raw", "encoding: gzip"), voxels=voxels)
    assert_is(read_raw(path), IMAGE)


# Channels


@pytest.mark.parametrize(
    ("ending", "how"),
    [
        # SimpleITK names no anatomical space for four axes in NRRD.
        *((ending, "fourth axis") for ending in (".mha", ".mhd")),
        *((ending, "vectors") for ending in (".mha", ".mhd", ".nrrd", ".nhdr")),
    ],
)
def test_channel_is_chosen(tmp_path, ending, how):
    images = [to_sitk(IMAGE + 100 * c) for c in range(3)]
    image = sitk.JoinSeries(images) if how == "fourth axis" else sitk.Compose(images)
    path = write(tmp_path / f"a{ending}", image, True)
    for channel in range(3):
        assert_is(read_raw(path, channel), IMAGE + 100 * channel)
    assert_refused(path, "3 channels", "set `label_channel`", "to 2", key="label_channel")
    assert_refused(path, "`channel` is 3", channel=3)


def test_single_fourth_axis_is_dropped(tmp_path):
    assert_is(read_raw(write(tmp_path / "a.mha", sitk.JoinSeries([to_sitk(IMAGE)]))), IMAGE)


@pytest.mark.parametrize("place", range(4))
def test_channels_along_any_axis_of_nrrd(tmp_path, place):
    """3D Slicer puts them first, other tools last, and the format allows any place."""
    sizes, vectors = ["4", "3", "2"], ["(0.7,0,0)", "(0,0.8,0)", "(0,0,2.5)"]
    kinds = ["domain"] * 3
    kinds.insert(place, "list")
    sizes.insert(place, "5")
    vectors.insert(place, "none")
    changes = (
        ("dimension: 3", "dimension: 4"),
        ("sizes: 4 3 2", f"sizes: {' '.join(sizes)}"),
        ("(0.7,0,0) (0,0.8,0) (0,0,2.5)", " ".join(vectors)),
        ("kinds: domain domain domain", f"kinds: {' '.join(kinds)}"),
    )
    stack = np.stack([IMAGE + 100 * channel for channel in range(5)], 3 - place)
    path = by_hand(tmp_path / "a.nrrd", *changes, voxels=stack.tobytes())
    assert_is(read_raw(path, channel=3), IMAGE + 300)
    ours = sitk.GetArrayFromImage(sitk.VectorIndexSelectionCast(sitk.ReadImage(str(path)), 3))
    np.testing.assert_array_equal(ours, IMAGE + 300)
    assert_refused(path, "5 channels")


def segmentation(path, layers):
    changes = (
        ("dimension: 3", "dimension: 4"),
        ("sizes: ", f"sizes: {layers} "),
        ("directions: ", "directions: none "),
        ("kinds: ", "kinds: list "),
        ("encoding of", "Segment0_ID:=liver\nSegment0_LabelValue:=1\nencoding of"),
    )
    hand = path.with_name("hand.nrrd")
    voxels = np.stack([IMAGE + layer for layer in range(layers)], -1).tobytes()
    return by_hand(hand, *changes, voxels=voxels).rename(path)


def test_segmentations_of_3d_slicer(tmp_path):
    assert_is(read_raw(segmentation(tmp_path / "one.seg.nrrd", 1)), IMAGE)
    two = segmentation(tmp_path / "two.seg.nrrd", 2)
    words = ("segments that overlap, in 2 layers", "export it from 3D Slicer", "`label_channel`")
    assert_refused(two, *words, key="label_channel")
    assert_is(read_raw(two, channel=1), IMAGE + 1)


# Damage


@ENDINGS
@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("share", [0, 0.4, 0.999])
def test_truncated_voxels(tmp_path, ending, compressed, share):
    path = write(tmp_path / f"a{ending}", to_sitk(NOISE), compressed)
    data = max(tmp_path.iterdir(), key=lambda file: file.stat().st_size)
    content = data.read_bytes()
    data.write_bytes(content[: int(share * len(content))])
    assert_refused(path, "cannot be read", "download or export it again")


@ENDINGS
def test_damage_that_itk_does_not_notice(tmp_path, ending):
    path = write(tmp_path / f"a{ending}", to_sitk(NOISE), True)
    data = max(tmp_path.iterdir(), key=lambda file: file.stat().st_size)
    content, middle = data.read_bytes(), data.stat().st_size // 2
    data.write_bytes(content[:middle] + bytes(12) + content[middle + 12 :])
    if ending != ".nhdr":
        assert (sitk.GetArrayFromImage(sitk.ReadImage(str(path))) != NOISE).any()
    assert_refused(path, "cannot be read", "download or export it again")


LARGE = str(10**6)


@pytest.mark.parametrize(
    ("ending", "old", "new", "words"),
    [
        (".mha", "DimSize = 4 3 2", f"DimSize = {LARGE} {LARGE} 2", ("take 48 bytes",)),
        (".mha", "DimSize = 4 3 2", "DimSize = 4 -3 2", ("cannot be read",)),
        (".mha", "NDims = 3", "NDims = 300000", ("300000 axes",)),
        (".mha", "NDims = 3", "NDims = 2", ("2 axes of 4 3 2 voxels",)),
        (".mha", "0.7 0.8 2.5", "0.7 0 2.5", ("no usable orientation",)),
        (".mha", "0.7 0.8 2.5", "0.7 nan 2.5", ("no usable orientation",)),
        (".mha", "ElementSpacing = 0.7 0.8 2.5\n", "", ("no ElementSpacing", "export it again")),
        (".mha", "1 0 0 0 1 0", "1 0 0 1 0 0", ("no usable orientation",)),
        (".mha", "BinaryData = True", "BinaryData = False", ("binarydata is False",)),
        (".mha", "ElementDataFile = LOCAL\n", "", ("cannot be read",)),
        (".mha", "= LOCAL", "= a%03d.raw 1 2 1", ("in several files",)),
        (".mha", "MET_SHORT", "MET_NOTHING", ("cannot be read",)),
        (".mha", "ObjectType = Image", "<html>404 not found</html>", ("cannot be read",)),
        (".nrrd", "sizes: 4 3 2", f"sizes: {LARGE} {LARGE} 2", ("take 48 bytes",)),
        (".nrrd", "sizes: 4 3 2", "sizes: 4 3 0", ("cannot be read",)),
        (".nrrd", "dimension: 3", "dimension: 300000", ("cannot be read",)),
        (".nrrd", "(0,0.8,0)", "(0,0,0)", ("no usable orientation",)),
        (".nrrd", "(0,0.8,0)", "(nan,nan,nan)", ("no usable orientation",)),
        (".nrrd", "(0,0.8,0)", "(1.4,0,0)", ("no usable orientation",)),
        (".nrrd", "space: left-posterior-superior", "space dimension: 3", ("how it lies",)),
        (".nrrd", "left-posterior-superior", "scanner-xyz", ("its space is scanner-xyz",)),
        (".nrrd", "encoding: raw", "encoding: ascii", ("encoding is ascii", "raw, gzip, gz")),
        (".nrrd", "encoding: raw", "encoding: raw\nbyte skip: 8", ("byteskip is 8",)),
        (".nrrd", "encoding: raw", "encoding: raw\ndata file: LIST", ("in several files",)),
        (".nrrd", "NRRD0004", "NRRD", ("does not begin with NRRD",)),
        (".nrrd", "type: short", "type: block", ("cannot be read",)),
    ],
)
def test_headers_that_make_no_volume(tmp_path, ending, old, new, words):
    assert_refused(by_hand(tmp_path / f"a{ending}", (old, new)), *words)


@pytest.mark.parametrize("ending", TEXTS)
def test_compressed_voxels_beyond_the_header(tmp_path, ending):
    """As a bomb has them: what counts is that no more is decompressed than the header says."""
    change = {
        ".mha": ("CompressedData = False", "CompressedData = True"),
        ".nrrd": ("encoding: raw", "encoding: gzip"),
    }[ending]
    voxels = {".mha": zlib, ".nrrd": gzip}[ending].compress(bytes(10**8))
    assert_refused(
        by_hand(tmp_path / f"a{ending}", change, voxels=voxels),
        "more compressed voxels than its header",
    )


def test_complex_voxels(tmp_path):
    image = sitk.Cast(to_sitk(IMAGE), sitk.sitkComplexFloat32)
    assert_refused(write(tmp_path / "a.mha", image), "2 channels")
