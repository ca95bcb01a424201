"""Pairs of image and mask files in two folders, with the case in the file name.

Images are PNG, TIFF, JPEG or BMP, grey of 8 or 16 bits or 32-bit float; colour becomes luminance
by ITU-R 601, L = 0.299 R + 0.587 G + 0.114 B, and transparency is ignored. Masks hold one value
per class: grey, or palette indices. A pair shares its name up to the suffix.
"""

import re
from collections import defaultdict
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from labelnoise.data.sources import Case, Settings, folders
from labelnoise.data.sources.folders import case_of, describe_folder
from labelnoise.errors import InputError

SUFFIXES = (".png", ".tif", ".tiff", ".jpg", ".jpeg", ".bmp")
LOSSY = (".jpg", ".jpeg")
GREY_MODES = ("1", "L", "I", "F", "I;16", "I;16B", "I;16L")
COLOUR_MODES = ("RGB", "RGBA", "LA", "P", "PA", "CMYK", "YCbCr")


class_names = folders.class_names


def cases(settings: Settings, seed: int) -> list[Case]:
    """Return one case per value of the `case` pattern, in the order of names; no seed is used.

    Raises:
        InputError: a folder is missing or empty, an image or mask has no partner, or a name does
            not match the pattern.
    """
    pairs, pattern = _pairs(settings), re.compile(settings["case"])
    slices = defaultdict(list)
    for stem in sorted(pairs):
        case, number = _parse(stem, pairs[stem][0], pattern)
        number = len(slices[case]) if number is None else number
        slices[case].append((number, *pairs[stem]))
    classes = settings["classes"]
    return [Case(name, partial(_read, sorted(slices[name]), classes)) for name in sorted(slices)]


def describe(settings: Settings) -> dict:
    """Return the provenance: the folder as the config names it, and mask values."""
    return describe_folder(settings, f"image and mask files in {settings['folder']}")


def _pairs(settings):
    folder = Path(settings["folder"])
    images = _files(folder / settings["images"], "images")
    masks = _files(folder / settings["masks"], "masks")
    for kind, other, lonely in (
        ("images", "mask", sorted(set(images) - set(masks))),
        ("masks", "image", sorted(set(masks) - set(images))),
    ):
        if lonely:
            names = ", ".join(lonely[:3]) + (", ..." if len(lonely) > 3 else "")
            raise InputError(
                f"{folder}: {len(lonely)} {kind} have no {other} ({names}); a pair shares its "
                f"name up to the suffix, so add each missing {other} or remove the rest."
            )
    for mask in masks.values():
        if mask.suffix.lower() in LOSSY:
            raise InputError(
                f"{mask} is a JPEG, expected a lossless mask: JPEG changes values at every "
                "boundary, which would be label errors of its own; export the masks as PNG."
            )
    return {stem: (images[stem], masks[stem]) for stem in images}


def _files(folder, key):
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder, expected one; correct `folder` or `{key}`.")
    found = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in SUFFIXES or path.name.startswith("."):
            continue
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


def _parse(stem, path, pattern):
    """Return the case's name, and the slice number or None if the pattern has no group for it."""
    match = pattern.search(stem)
    groups, case = match.groupdict() if match else {}, case_of(match)
    number = groups.get("slice", "0")
    if not case or number is None or not number.isdecimal():
        raise InputError(
            f"{path}: the name does not match `case` {pattern.pattern!r}, expected a case"
            f"{' and a whole slice number' if 'slice' in pattern.groupindex else ''}; correct the "
            "pattern, or rename or remove the file."
        )
    return case, int(number) if "slice" in groups else None


def _read(slices, classes):
    """Read the slices of one case, [(number, image path, mask path)]."""
    images, labels = [], []
    for _, image_path, mask_path in slices:
        image_HW, mask_HW = read_image(image_path), _read_mask(mask_path)
        _check_size(image_path, image_HW, f"its mask {mask_path.name}", mask_HW)
        _check_size(
            image_path, image_HW, "the first of its case", images[0] if images else image_HW
        )
        images.append(image_HW)
        labels.append(_to_classes(mask_path, mask_HW, classes))
    return np.stack(images), np.stack(labels), np.array([number for number, _, _ in slices])


def _check_size(path, image_HW, other, other_HW):
    if image_HW.shape != other_HW.shape:
        sizes = " but ".join(f"{a.shape[0]} x {a.shape[1]}" for a in (image_HW, other_HW))
        raise InputError(
            f"{path}: it is {sizes.replace(' but ', f' (height x width) but {other} is ')}; give "
            "both one size."
        )


def read_image(path: Path) -> np.ndarray:
    """Return the grey values of an image file, (H, W), float32.

    Raises:
        InputError: it is no whole image file, or holds several images.
    """
    image = _open(path)
    if image.mode in COLOUR_MODES:
        red, green, blue = np.moveaxis(np.asarray(image.convert("RGB"), np.float32), 2, 0)
        return 0.299 * red + 0.587 * green + 0.114 * blue
    return np.asarray(image, np.float32)


def _read_mask(path):
    """Return mask values (H, W): grey levels or palette indices."""
    mask = _open(path)
    if mask.mode not in (*GREY_MODES, "P"):
        raise InputError(
            f"{path} is a colour image (mode {mask.mode}), expected a mask with one value per "
            "pixel; export it as a grey or palette PNG."
        )
    values_HW = np.asarray(mask)
    return values_HW.astype(np.uint8) * 255 if mask.mode == "1" else values_HW


def _open(path):
    try:
        image = Image.open(path)
        frames = getattr(image, "n_frames", 1)
        image.load()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        known = "not an image" if isinstance(error, UnidentifiedImageError) else str(error)
        raise InputError(
            f"{path} cannot be read ({known}), expected a whole image file; replace or remove it."
        ) from None
    if frames > 1 or image.mode not in (*GREY_MODES, *COLOUR_MODES):
        raise InputError(
            f"{path} holds {frames} images of mode {image.mode}, expected one grey or colour "
            "image; export its slices as single files."
        )
    return image


def _to_classes(path, values_HW, classes):
    """Return class indices (H, W), uint8: 0 is background, then classes in the config's order."""
    labels_HW = np.zeros(values_HW.shape, np.uint8)
    known_HW = values_HW == 0
    for index, values in enumerate(classes.values(), start=1):
        member_HW = np.isin(values_HW, values)
        labels_HW[member_HW] = index
        known_HW |= member_HW
    if not known_HW.all():
        strange = np.unique(values_HW[~known_HW])
        raise InputError(
            f"{path}: it holds {len(strange)} values outside `classes`, such as "
            f"{', '.join(f'{value:g}' for value in strange[:3])}, expected 0 and "
            f"{', '.join(str(v) for values in classes.values() for v in values)}; add the values "
            "to a class, or correct the mask."
        )
    return labels_HW
