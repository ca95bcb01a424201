"""Pairs of image and mask files, with the case in the file name.

Images are PNG, TIFF, JPEG or BMP, grey of 8 or 16 bits or 32-bit float; colour becomes luminance
by ITU-R 601, L = 0.299 R + 0.587 G + 0.114 B, and transparency is ignored. With `colour: rgb` a
slice has the channels red, green and blue, of 8 bits; grey of 8 bits is all three of them, since
many programs save a picture without colour as grey. Masks hold one value per class: grey, palette
indices, or colour whose channels are equal. A pair shares its name up to the ending, or what {name}
stands for in `image_name` and `mask_name`; images and masks then may lie in one folder. The case is
read from that name.
"""

import logging
from collections import Counter, defaultdict
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from labelnoise.config.given import label_settings
from labelnoise.data.colour import luminance
from labelnoise.data.sources import Case, Settings, folders
from labelnoise.data.sources.folders import check_file, describe_folder, shown_folder
from labelnoise.data.sources.label_values import to_class_indices
from labelnoise.data.sources.patterns import match_all
from labelnoise.errors import InputError, reason

logger = logging.getLogger(__name__)

SUFFIXES = (".png", ".tif", ".tiff", ".jpg", ".jpeg", ".bmp")
LOSSY = (".jpg", ".jpeg")
GREY_MODES = ("1", "L", "I", "F", "I;16", "I;16B", "I;16L")
# Modes of masks that are read where their channels are equal.
EQUAL_MODES = ("RGB", "RGBA", "LA")
COLOUR_MODES = ("RGB", "RGBA", "LA", "P", "PA", "CMYK", "YCbCr")
# Grey that becomes RGB without loss.
GREY_OF_8_BITS = ("1", "L")


class_names = folders.class_names


def cases(settings: Settings, seed: int) -> list[Case]:
    """Return one case per value of the `case` pattern, in the order of names; no seed is used.

    Raises:
        InputError: a folder is missing or empty, an image or mask has no partner, or a name does
            not match the pattern.
    """
    pairs, pattern = _pairs(settings), settings["case"]
    matches = match_all(pattern, pairs, "`case`")
    masks = {name: mask for name, (_, mask) in pairs.items()}
    if "given" in settings:
        settings = label_settings(settings)
        masks = _given_masks(settings)
        if spare := set(masks) - set(pairs):
            logger.info("%d of %d masks belong to no image", len(spare), len(masks))
    slices, counted = defaultdict(list), Counter()
    for name in sorted(pairs):
        image = pairs[name][0]
        case, number = _parse(matches[name], image, pattern)
        number = counted[case] if number is None else number
        counted[case] += 1
        if name in masks:
            slices[case].append((number, image, masks[name]))
    meaning = {key: settings[key] for key in ("classes", "ignore", "others")}
    read = partial(_read, meaning=meaning, colour=settings["colour"])
    return [
        Case(name, partial(read, files), numbers=tuple(number for number, *_ in files))
        for name, files in sorted((name, sorted(files)) for name, files in slices.items())
    ]


def describe(settings: Settings) -> dict:
    """Return the provenance: the folder as the config names it, and mask values."""
    what = f"image and mask files in {shown_folder(settings['folder'])}"
    return describe_folder(settings, what)


def _pairs(settings):
    """Return {name that image and mask share: (image path, mask path)}."""
    folder = Path(settings["folder"])
    images, masks = _named_files(folder, settings)
    for kind, other, lonely in (
        ("images", "mask", sorted(set(images) - set(masks))),
        ("masks", "image", sorted(set(masks) - set(images))),
    ):
        if lonely:
            raise InputError(
                f"{folder}: {len(lonely)} {kind} have no {other} ({_some(lonely)}); a pair shares "
                f"{_shared(settings)}, so add each missing {other} or remove the rest"
                f"{_hint(images, masks)}."
            )
    _check_lossless(masks.values())
    return {name: (images[name], masks[name]) for name in images}


def _given_masks(settings):
    """Return {name that image and mask share: path} of given masks; other files do not count."""
    files = _files(Path(settings["labels_folder"]), "mask_name")
    masks, _ = _split(files, settings["mask_name"])
    _check_lossless(masks.values())
    return masks


def _check_lossless(masks):
    for mask in masks:
        if mask.suffix.lower() in LOSSY:
            raise InputError(
                f"{mask} is a JPEG, expected a lossless mask: JPEG changes values at every "
                "boundary, which would be label errors of its own; export the masks as PNG."
            )


def _named_files(folder, settings):
    """Return {name: path} of the images and of the masks."""
    kinds = ("image", "mask")
    places = {kind: folder / settings[f"{kind}s"] for kind in kinds}
    patterns = {kind: settings[f"{kind}_name"] for kind in kinds}
    files = {kind: _files(places[kind], f"{kind}s") for kind in kinds}
    if files["image"] == files["mask"]:
        if patterns["image"] == patterns["mask"]:
            raise InputError(
                f"{places['image']} holds images and masks alike, expected names that tell them "
                "apart; set `mask_name`, such as '{name}_mask', or give each a folder."
            )
        # In one folder `{name}_mask` fits masks alone, but `{name}` fits the masks too.
        first, second = sorted(kinds, key=lambda kind: -len(patterns[kind]))
        chosen, rest = _split(files[first], patterns[first])
        named = {first: chosen}
        named[second], strays = _split(rest, patterns[second])
        found = [(second, strays)]
    else:
        splits = {kind: _split(files[kind], patterns[kind]) for kind in kinds}
        named = {kind: splits[kind][0] for kind in kinds}
        found = [(kind, splits[kind][1]) for kind in kinds]
    for kind, strays in found:
        if strays:
            raise InputError(
                f"{places[kind]}: {len(strays)} files are not named as `{kind}_name` "
                f"{patterns[kind]!r} says ({_some(sorted(strays))}); correct `{kind}_name`, or "
                "move them elsewhere."
            )
    return named["image"], named["mask"]


def _split(files, pattern):
    """Return {name: path} of the files whose stem fits a pattern, and {stem: path} of the rest."""
    before, after = pattern.split("{name}")
    named, rest = {}, {}
    for stem, path in files.items():
        name = stem[len(before) : len(stem) - len(after)]
        if name and before + name + after == stem:
            named[name] = path
        else:
            rest[stem] = path
    return named, rest


def _shared(settings):
    names = [f"`{key}` {settings[key]!r}" for key in ("image_name", "mask_name")]
    if settings["image_name"] == settings["mask_name"] == "{name}":
        return "its name up to the suffix"
    return f"what {{name}} stands for in {' and '.join(names)}"


def _hint(images, masks):
    """Return which `mask_name` or `image_name` would pair the files, if one does."""
    for key, short, long in (("mask_name", images, masks), ("image_name", masks, images)):
        tried = sorted(set(short) - set(long))[:20]
        fits = Counter(
            name.replace(part, "{name}", 1)
            for part in tried
            for name in set(long) - set(short)
            if part in name
        )
        for pattern, times in fits.most_common(1):
            if 2 * times >= len(tried):
                return f", or set `{key}: {pattern!r}`, which fits the names here"
    return ""


def _some(names):
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")


def _files(folder, key):
    """Return {stem: path} of the image files of a folder."""
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder, expected one; correct `folder` or `{key}`.")
    found = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in SUFFIXES or path.name.startswith("."):
            continue
        check_file(path, "an image file")
        if path.stem in found:
            raise InputError(
                f"{path} and {found[path.stem].name} share one name up to the suffix, expected "
                "one file each; remove one of them."
            )
        found[path.stem] = path
    if not found:
        raise InputError(
            f"{folder} holds no image file, expected {', '.join(SUFFIXES)}; correct `folder` or "
            f"`{key}`."
        )
    return found


def _parse(match, path, pattern):
    """Return the case's name, and the slice number or None if the pattern has no group for it."""
    groups, case = (match.groups, match.case) if match else ({}, None)
    number = groups.get("slice", "0")
    if not case or number is None or not number.isdecimal():
        raise InputError(
            f"{path}: the name does not match `case` {pattern!r}, expected a case"
            f"{' and a whole slice number' if '(?P<slice>' in pattern else ''}; correct the "
            "pattern, or rename or remove the file."
        )
    return case, int(number) if "slice" in groups else None


def _read(slices, meaning, colour):
    """Read the slices of one case, [(number, image path, mask path)]."""
    images, labels = [], []
    for _, image_path, mask_path in slices:
        image, mask_HW = read_image(image_path, colour), read_mask(mask_path)
        _check_size(image_path, image, f"its mask {mask_path.name}", mask_HW)
        _check_size(image_path, image, "the first of its case", images[0] if images else image)
        images.append(image)
        # As one slice, since values are looked up slab by slab.
        labels.append(to_class_indices(mask_HW[None], where=str(mask_path), **meaning)[0])
    stacked = np.stack(images)
    # A view of each channel; nothing is copied.
    channels = list(np.moveaxis(stacked, 3, 0)) if colour == "rgb" else stacked
    return channels, np.stack(labels), np.array([number for number, _, _ in slices])


def _check_size(path, image, other, other_image):
    """Refuse two images, (H, W) or (H, W, channels), of different height or width."""
    if image.shape[:2] != other_image.shape[:2]:
        sizes = " but ".join(f"{a.shape[0]} x {a.shape[1]}" for a in (image, other_image))
        raise InputError(
            f"{path}: it is {sizes.replace(' but ', f' (height x width) but {other} is ')}; give "
            "both one size."
        )


def read_image(path: Path, colour: str = "grey") -> np.ndarray:
    """Return the values of an image file.

    Args:
        colour: "grey" for grey values (H, W), float32, or "rgb" for red, green and blue (H, W, 3),
            uint8.

    Raises:
        InputError: it is no whole image file, holds several images, or is grey of more than 8 bits
            where it should be colour.
    """
    image, _ = open_picture(path)
    if colour == "rgb":
        if image.mode not in (*COLOUR_MODES, *GREY_OF_8_BITS):
            raise InputError(
                f"{path} is grey of more than 8 bits (mode {image.mode}), expected a colour image, "
                "as `colour` is rgb; leave `colour` out, or convert the image to RGB."
            )
        return np.asarray(image.convert("RGB"))
    if image.mode in COLOUR_MODES:
        return luminance(*np.moveaxis(np.asarray(image.convert("RGB"), np.float32), 2, 0))
    return np.asarray(image, np.float32)


def read_mask(path: Path) -> np.ndarray:
    """Return mask values (H, W): grey levels or palette indices.

    Raises:
        InputError: it is no whole image file, holds several images, or a colour image.
    """
    mask, is_cut = open_picture(path)
    if mask.mode == "1":
        return np.asarray(mask).astype(np.uint8) * 255
    if mask.mode in (*GREY_MODES, "P"):
        return np.asarray(mask)
    if mask.mode not in EQUAL_MODES:
        raise _refuse_colour(path, f"mode {mask.mode}")
    if is_cut:
        raise _refuse_colour(path, f"mode {mask.mode} of 16 bits, of which 8 are read")
    levels_HWC = np.asarray(mask)
    opacity_HW = levels_HWC[..., -1] if mask.mode.endswith("A") else np.uint8(255)
    levels_HWC = levels_HWC[..., : len(mask.mode.removesuffix("A"))]
    values_HW = levels_HWC[..., 0]
    if (levels_HWC != values_HW[..., None]).any():
        raise _refuse_colour(path, f"mode {mask.mode}, channels that differ")
    if ((opacity_HW != 255) & (values_HW != 0)).any():
        raise _refuse_colour(path, f"mode {mask.mode}, structures that are transparent")
    return values_HW


def _refuse_colour(path, found):
    return InputError(
        f"{path} is a colour image ({found}), expected a mask with one value per pixel; export it "
        "as a grey or palette PNG."
    )


def open_picture(path: Path) -> tuple[Image.Image, bool]:
    """Return an image, and whether it is colour of 16 bits, of which Pillow reads the upper 8.

    Raises:
        InputError: it is no whole image file, or holds several images.
    """
    try:
        image = Image.open(path)
        frames = getattr(image, "n_frames", 1)
        is_cut = image.mode in EQUAL_MODES and any(";16" in str(tile.args) for tile in image.tile)
        image.load()
    # Each format of Pillow has its own ways to fail on a file that is no such format.
    except Exception as error:
        known = "not an image" if isinstance(error, UnidentifiedImageError) else reason(error)
        raise InputError(
            f"{path} cannot be read ({known}), expected a whole image file; replace or remove it."
        ) from None
    if frames > 1 or image.mode not in (*GREY_MODES, *COLOUR_MODES):
        raise InputError(
            f"{path} holds {frames} images of mode {image.mode}, expected one grey or colour "
            "image; export its slices as single files."
        )
    return image, is_cut
