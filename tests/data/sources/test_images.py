"""The image-pair source: what files of all sorts are read as, and what is refused by name."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from labelnoise.data.prepare import prepare_dataset
from labelnoise.data.sources import images
from labelnoise.data.storage import SPLITS, Dataset
from labelnoise.errors import InputError
from refusals import assert_not_prepared
from settings import dataset_settings

SHARED = Path(__file__).parents[4] / "shared" / "data"
RNG = np.random.default_rng(0)
IMAGE = RNG.integers(0, 256, (6, 8)).astype(np.uint8)
MASK = np.zeros((6, 8), np.uint8)
MASK[2:4, 3:6] = 255


def save(path, array, **kwargs):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = array if isinstance(array, Image.Image) else Image.fromarray(array)
    image.save(path, **kwargs)
    return path


@pytest.fixture
def folder(tmp_path):
    """Four cases of two slices."""
    for case in range(4):
        for number in (9, 10):
            name = f"p{case}_s{number}.png"
            save(tmp_path / "pairs" / "images" / name, np.roll(IMAGE, case + number))
            save(tmp_path / "pairs" / "masks" / name, np.roll(MASK, case, axis=1))
    return tmp_path / "pairs"


def settings(place, **changes):
    given = {
        "source": "images",
        "folder": str(place),
        "case": r"(p\d+)_s(?P<slice>\d+)",
        "classes": {"organ": [255]},
        "window": [0, 255],
    }
    return dataset_settings(**given | changes)


def read(folder, case=0, **changes):
    return images.cases(settings(folder, **changes), 0)[case].read()


def assert_refused(place, *words, **changes):
    assert_not_prepared("pairs", settings(place, **changes), place.parent, *words)


def test_pairs_become_cases(folder):
    cases = images.cases(settings(folder), 0)
    assert [case.name for case in cases] == ["p0", "p1", "p2", "p3"]
    pixels, labels, numbers = cases[1].read()
    assert pixels.dtype == np.float32 and labels.dtype == np.uint8
    np.testing.assert_array_equal(pixels, [np.roll(IMAGE, 10), np.roll(IMAGE, 11)])
    np.testing.assert_array_equal(labels, [np.roll(MASK, 1, axis=1) > 0] * 2)
    # By number, although "s10" sorts before "s9" among the names.
    assert numbers.tolist() == [9, 10]


def test_dataset_from_pairs(folder, tmp_path):
    path = tmp_path / "data.h5"
    prepare_dataset("pairs", settings(folder), 0, path)
    dataset = Dataset(path)
    assert len(dataset) == 8 and dataset.shape == (6, 8)
    assert dataset.foreground_fraction[1] == 6 / 48
    again = tmp_path / "again.h5"
    prepare_dataset("pairs", settings(folder), 0, again)
    assert path.read_bytes() == again.read_bytes()


def test_named_case_group_and_slices_in_the_order_of_names(folder):
    pattern = r"s\d+|(?P<case>p\d)"
    cases = images.cases(settings(folder, case=pattern), 0)
    assert [case.name for case in cases] == ["p0", "p1", "p2", "p3"]
    pixels, _, numbers = cases[1].read()
    assert numbers.tolist() == [0, 1]
    np.testing.assert_array_equal(pixels[0], np.roll(IMAGE, 11))


def test_classes_map_mask_values(folder):
    mask = np.array([[0, 1, 2], [3, 0, 7]], np.uint8)
    for path in (folder / "images").glob("p0*"):
        save(path, IMAGE[:2, :3])
    for path in (folder / "masks").glob("p0*"):
        save(path, mask)
    classes = {"liver": [1, 2], "kidney": [7], "spleen": [3]}
    _, labels, _ = read(folder, classes=classes)
    np.testing.assert_array_equal(labels[0], [[0, 1, 1], [3, 0, 2]])
    assert images.class_names({"classes": classes}) == ["background", "liver", "kidney", "spleen"]


@pytest.mark.parametrize("suffix", [".png", ".tif", ".TIFF", ".bmp"])
def test_formats(folder, suffix):
    for kind, array in (("images", IMAGE), ("masks", MASK)):
        for path in (folder / kind).glob("p0*"):
            path.unlink()
            save(path.with_suffix(suffix), array)
    pixels, labels, _ = read(folder)
    np.testing.assert_array_equal(pixels[0], IMAGE)
    np.testing.assert_array_equal(labels[0], MASK > 0)


def test_16_bit_images_keep_their_values(folder):
    deep = IMAGE.astype(np.uint16) * 250
    for path in (folder / "images").glob("p0*"):
        save(path, deep)
    np.testing.assert_array_equal(read(folder)[0][0], deep)


def test_jpeg_images_are_read(folder):
    smooth = np.full((6, 8), 90, np.uint8)
    smooth[:, 4:] = 160
    for path in (folder / "images").glob("p0*"):
        path.unlink()
        save(path.with_suffix(".jpg"), smooth, quality=95)
    np.testing.assert_allclose(read(folder)[0][0], smooth, atol=6)


def test_colour_becomes_luminance(folder):
    colour = RNG.integers(0, 256, (6, 8, 3)).astype(np.uint8)
    for path in (folder / "images").glob("p0*"):
        save(path, colour)
    np.testing.assert_allclose(read(folder)[0][0], colour @ [0.299, 0.587, 0.114], rtol=1e-6)


def test_palette_masks_are_read_as_indices(folder):
    mask = Image.fromarray((MASK > 0).astype(np.uint8), "P")
    mask.putpalette([200, 0, 0, 10, 20, 30])
    for path in (folder / "masks").glob("*.png"):
        save(path, mask)
    np.testing.assert_array_equal(read(folder, classes={"organ": [1]})[1][0], MASK > 0)


def test_one_bit_masks_are_0_and_255(folder):
    for path in (folder / "masks").glob("*.png"):
        save(path, Image.fromarray(MASK > 0))
    np.testing.assert_array_equal(read(folder)[1][0], MASK > 0)


def test_other_files_are_passed_over(folder):
    (folder / "images" / "README.txt").write_text("notes")
    (folder / "images" / ".hidden.png").write_text("no image")
    assert len(images.cases(settings(folder), 0)) == 4


def test_masks_of_equal_channels_are_grey(folder):
    transparent = np.where(MASK > 0, 255, 0).astype(np.uint8)
    for mode, channels in (
        ("RGB", [MASK] * 3),
        ("RGBA", [MASK] * 3 + [np.full_like(MASK, 255)]),
        # Background may be transparent, as drawing programs save it.
        ("RGBA", [MASK] * 3 + [transparent]),
        ("LA", [MASK, transparent]),
    ):
        for path in (folder / "masks").glob("*.png"):
            save(path, Image.fromarray(np.stack(channels, -1)))
            assert Image.open(path).mode == mode
        np.testing.assert_array_equal(read(folder)[1][0], MASK > 0)


def rename(folder, pattern):
    for path in folder.glob("*.png"):
        path.rename(path.with_name(f"{pattern.replace('{name}', path.stem)}.png"))


@pytest.mark.parametrize(
    ("image_name", "mask_name"),
    [("{name}", "{name}_mask"), ("{name}", "seg-{name}"), ("{name}_img", "m_{name}_1")],
)
@pytest.mark.parametrize("together", [False, True])
def test_names_with_more_than_a_pair_shares(folder, image_name, mask_name, together):
    before = [case.read() for case in images.cases(settings(folder), 0)]
    rename(folder / "images", image_name)
    rename(folder / "masks", mask_name)
    changes = {"image_name": image_name, "mask_name": mask_name}
    if together:
        for path in (folder / "masks").iterdir():
            path.rename(folder / "images" / path.name)
        changes["masks"] = "images"
    cases = images.cases(settings(folder, **changes), 0)
    assert [case.name for case in cases] == ["p0", "p1", "p2", "p3"]
    for case, expected in zip(cases, before, strict=True):
        for found, array in zip(case.read(), expected, strict=True):
            np.testing.assert_array_equal(found, array)


def test_other_mask_values_become_background_if_asked(folder):
    mask = np.zeros((6, 8), np.uint8)
    mask[2, 3:6], mask[4] = (7, 255, 8), 9
    for path in (folder / "masks").glob("*.png"):
        save(path, mask)
    words = ("3 unknown label values (7-9)", "only 0, 255", "`others: background`")
    assert_refused(folder, *words)
    np.testing.assert_array_equal(read(folder, others="background")[1][0], mask == 255)
    assert_refused(folder, "1 unknown label values (9)", ignore=[7, 8])


# Bad input


@pytest.mark.parametrize("kind", ["mask", "image"])
def test_names_that_a_setting_would_pair(folder, kind):
    key = f"{kind}_name"
    rename(folder / f"{kind}s", "{name}_seg")
    words = ("8 images have no mask", f"set `{key}: '{{name}}_seg'`", "fits the names here")
    assert_refused(folder, *words)
    assert len(images.cases(settings(folder, **{key: "{name}_seg"}), 0)) == 4
    save(folder / f"{kind}s" / "p9_s1.png", MASK)
    words = ("1 files are not named as", f"`{key}` '{{name}}_seg'", "(p9_s1)", "elsewhere")
    assert_refused(folder, *words, **{key: "{name}_seg"})


def test_one_folder_for_images_and_masks_needs_a_name(folder):
    assert_refused(folder, "images and masks alike", "'{name}_mask'", masks="images")


@pytest.mark.parametrize("pattern", ["_mask", "{name}{name}", "masks/{name}", "{case}_{name}", ""])
def test_names_that_hold_no_name(folder, pattern):
    with pytest.raises(InputError) as error:
        settings(folder, mask_name=pattern)
    assert "mask_name" in str(error.value) and "in which {name} stands once" in str(error.value)


def test_images_without_masks(folder):
    for number in (9, 10):
        (folder / "masks" / f"p2_s{number}.png").unlink()
    assert_refused(folder, folder, "2 images have no mask", "p2_s10, p2_s9", "add each missing")


def test_masks_without_images(folder):
    for path in (folder / "images").glob("p[012]*"):
        path.unlink()
    assert_refused(folder, "6 masks have no image", "p0_s10, p0_s9, p1_s10, ...", "remove the rest")


def test_missing_folder(folder):
    assert_refused(folder, "there is no folder nowhere", ".folder.", folder="nowhere")


@pytest.mark.parametrize("key", ["images", "masks"])
def test_missing_folder_of_images_or_masks(folder, key):
    assert_refused(folder, "nowhere", "is not a folder", f"`{key}`", **{key: "nowhere"})


def test_empty_folder(folder):
    (folder / "none").mkdir()
    assert_refused(folder, folder / "none", "no image file", ".png", "correct", images="none")


def test_pattern_that_does_not_match(folder):
    assert_refused(
        folder, "p0_s10.png", r"'lis_(p\\d+)'", "correct the pattern", case=r"lis_(p\d+)"
    )


def test_slice_group_that_is_no_number(folder):
    assert_refused(folder, "p0_s10.png", "whole slice number", case=r"(p\d)_(?P<slice>s\d+)")


def test_slice_number_twice(folder):
    save(folder / "images" / "p0_s09.png", IMAGE)
    save(folder / "masks" / "p0_s09.png", MASK)
    assert_refused(folder, "slice 9 of case 'p0' comes 2 times", "remove the duplicates")


def test_one_name_in_two_formats(folder):
    save(folder / "images" / "p0_s9.tif", IMAGE)
    assert_refused(folder, "p0_s9.tif", "p0_s9.png", "remove one")


@pytest.mark.parametrize("kind", ["images", "masks"])
@pytest.mark.parametrize("share", [0, 0.6])
def test_truncated_file(folder, kind, share):
    path = folder / kind / "p1_s9.png"
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    assert_refused(folder, path, "cannot be read", "replace or remove")


def test_text_named_png(folder):
    path = folder / "images" / "p1_s9.png"
    path.write_text("not an image")
    assert_refused(folder, path, "not an image", "replace or remove")


def test_colour_mask(folder):
    colour = np.stack([MASK, MASK, MASK // 2], -1)
    path = save(folder / "masks" / "p1_s9.png", colour)
    words = ("colour image (mode RGB, channels that differ)", "export it as a grey or palette PNG")
    assert_refused(folder, path, *words)


def test_mask_whose_structure_is_transparent(folder):
    half = np.full_like(MASK, 128)
    path = save(folder / "masks" / "p1_s9.png", np.stack([MASK, MASK, MASK, half], -1))
    assert_refused(folder, path, "structures that are transparent", "grey or palette PNG")


def test_colour_mask_of_16_bits(folder):
    """Pillow reads the upper 8 of them, which makes 1 to 255 background."""
    path = folder / "masks" / "p1_s9.png"
    path.write_bytes(png_of_16_bits(np.stack([MASK.astype(">u2")] * 3, -1)))
    assert_refused(folder, path, "16 bits", "grey or palette PNG")


def png_of_16_bits(levels_HWC):
    def chunk(kind, content):
        checksum = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)

    height, width, _ = levels_HWC.shape
    head = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    rows = b"".join(b"\0" + row.tobytes() for row in levels_HWC)
    parts = ((b"IHDR", head), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


def test_jpeg_mask(folder):
    (folder / "masks" / "p1_s9.png").unlink()
    path = save(folder / "masks" / "p1_s9.jpg", MASK)
    assert_refused(folder, path, "JPEG", "boundary", "export the masks as PNG")


def test_several_images_in_one_file(folder):
    (folder / "images" / "p1_s9.png").unlink()
    path = folder / "images" / "p1_s9.tif"
    save(path, IMAGE, save_all=True, append_images=[Image.fromarray(IMAGE)])
    assert_refused(folder, path, "holds 2 images", "single files")


def test_mask_value_outside_the_classes(folder):
    path = save(folder / "masks" / "p1_s9.png", np.where(MASK > 0, 254, 0).astype(np.uint8))
    assert_refused(folder, path, "(254)", "only 0, 255", "`others: background`")


def test_mask_of_another_size(folder):
    save(folder / "masks" / "p1_s9.png", MASK[:, :7])
    assert_refused(folder, "p1_s9.png", "6 x 8", "its mask", "6 x 7", "one size")


def test_case_of_two_sizes(folder):
    save(folder / "images" / "p1_s10.png", IMAGE[:5])
    save(folder / "masks" / "p1_s10.png", MASK[:5])
    assert_refused(folder, "p1_s10.png", "5 x 8", "first of its case", "6 x 8")


# Real slices, where they are


def real(name, *values):
    absent = not (SHARED / name).is_dir()
    reason = f"real slices of {name} are not at ../shared/data/{name}"
    return pytest.param(name, *values, marks=pytest.mark.skipif(absent, reason=reason), id=name)


@pytest.mark.parametrize(
    ("name", "slices", "cases", "shape", "share"),
    [real("lis", 441, 89, (256, 256), 0.07), real("psd", 401, 44, (512, 512), 0.005)],
)
def test_real_slices(tmp_path, name, slices, cases, shape, share):
    pattern = rf"{name}_(?P<case>p\d+)_s(?P<slice>\d+)"
    found = settings(SHARED / name, case=pattern, size=32, select="all", classes={"organ": [255]})
    assert len(images.cases(found, 0)) == cases
    pixels, labels, numbers = images.cases(found, 0)[0].read()
    assert pixels.shape[1:] == shape and labels.any(axis=(1, 2)).all()
    assert np.all(np.diff(numbers) > 0)
    path = tmp_path / "real.h5"
    prepare_dataset(name, found, 0, path)
    dataset = Dataset(path)
    assert len(dataset) == slices
    groups = [set(dataset.case[dataset.rows(split)]) for split in SPLITS]
    assert sum(map(len, groups)) == len(set.union(*groups)) == cases
    assert dataset.foreground_fraction[1] == pytest.approx(share, rel=0.3)


COLOURS = RNG.integers(0, 256, (6, 8, 3)).astype(np.uint8)


def paint(folder, make):
    for path in (folder / "images").iterdir():
        save(path, make(path.stem))
    return folder


def test_rgb_keeps_three_channels(folder, tmp_path):
    paint(folder, lambda stem: np.roll(COLOURS, int(stem[1]), axis=2))
    channels, labels, _ = read(folder, 1, colour="rgb")
    assert [channel.shape for channel in channels] == [(2, 6, 8)] * 3 == [labels.shape] * 3
    for channel, place in zip(channels, (2, 0, 1), strict=True):
        np.testing.assert_array_equal(channel, [COLOURS[..., place]] * 2)
    path = tmp_path / "data.h5"
    window = {"green": [0, 512], "red": [0, 256], "blue": [0, 256]}
    prepare_dataset("pairs", settings(folder, colour="rgb", window=window), 0, path)
    dataset = Dataset(path)
    assert dataset.channels == ["red", "green", "blue"]
    images, _ = dataset.read(np.flatnonzero(dataset.case == "case001"))
    np.testing.assert_array_equal(images[0, 0], COLOURS[..., 0] / 128 - 1)
    np.testing.assert_array_equal(images[1, 1], COLOURS[..., 1] / 256 - 1)
    np.testing.assert_array_equal(images[1, 2], COLOURS[..., 2] / 128 - 1)


@pytest.mark.parametrize("mode", ["RGBA", "P", "L", "LA", "1"])
def test_rgb_of_other_colours(folder, mode):
    def make(stem):
        image = Image.fromarray(COLOURS).convert(mode)
        if "A" in mode:
            image.putalpha(7)
        return image

    channels, *_ = read(paint(folder, make), colour="rgb")
    expected = np.asarray(Image.fromarray(COLOURS).convert(mode.removesuffix("A")).convert("RGB"))
    np.testing.assert_array_equal(np.stack(channels, axis=-1)[0], expected)
    assert (channels[0] == channels[2]).all() == (mode in ("L", "LA", "1"))


def test_grey_of_16_bits_is_no_colour(folder):
    paint(folder, lambda stem: IMAGE.astype(np.uint16) * 256)
    assert_refused(folder, ".png", "grey of more than 8 bits", "leave `colour` out", colour="rgb")


def test_windows_of_colours_are_checked_with_the_config():
    with pytest.raises(InputError, match=r"names the channel 'yellow'.*red, green, blue"):
        settings("x", colour="rgb", window={"yellow": [0, 1]})
