"""What sources of files in a folder share: files found and paired by case, classes, provenance.

A pattern is a regular expression of the config; a group of it reads the case from a file's name.
"""

import logging
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from labelnoise.data.sources import Settings
from labelnoise.data.sources.patterns import match_all
from labelnoise.errors import InputError

logger = logging.getLogger(__name__)


def walk(folder: Path, above: frozenset[tuple[int, int]] = frozenset()) -> Iterator[Path]:
    """Yield the files below a folder in the order of names, without hidden ones such as macOS's.

    Links are followed, but not one that leads back to a folder that it lies in.

    Args:
        above: device and number of the folders that this one lies in.

    Raises:
        InputError: a folder cannot be listed.
    """
    try:
        found = folder.stat()
        names = sorted(name for name in os.listdir(folder) if not name.startswith("."))
    except OSError as error:
        raise InputError(
            f"the folder {folder} cannot be listed ({error.strerror}), expected one that may be "
            "read; correct its permissions, or remove it."
        ) from None
    identity = (found.st_dev, found.st_ino)
    if identity in above:
        logger.warning("%s leads back to a folder that it lies in, and is left out", folder)
        return
    inside = [folder / name for name in names]
    are_folders = [path.is_dir() for path in inside]
    yield from (path for path, is_folder in zip(inside, are_folders, strict=True) if not is_folder)
    for path, is_folder in zip(inside, are_folders, strict=True):
        if is_folder:
            yield from walk(path, above | {identity})


def check_file(path: Path, what: str = "a file") -> None:
    """Refuse what is no file of data: to open a pipe would wait for ever.

    Args:
        what: what it should be, for the message.

    Raises:
        InputError: it is missing, a folder, a pipe, a socket or a device.
    """
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        found = f"is a broken link ({reason})" if path.is_symlink() else f"cannot be read: {reason}"
    else:
        if stat.S_ISREG(mode):
            return
        kinds = {stat.S_IFDIR: "folder", stat.S_IFIFO: "pipe", stat.S_IFSOCK: "socket"}
        found = f"is a {kinds.get(stat.S_IFMT(mode), 'device')}"
    raise InputError(f"{path} {found}, expected {what}; put the file there, or remove it.")


def find_files(folder: Path, pattern: str, key: str, folder_key: str) -> list[tuple[str, Path]]:
    """Return the case and path of all files, over all sub-folders, whose whole name matches.

    A pattern with a slash is matched to the path below the folder instead, for those who name the
    case by a folder, such as TotalSegmentator's s0001/ct.nii.gz.

    Args:
        key: what the pattern comes from, for messages, such as a key of the config.
        folder_key: what the folder comes from.

    Raises:
        InputError: the folder is missing, nothing matches, what matches is no file, or a match
            names no case.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder, expected one; correct {folder_key}.")
    by_path = "/" in pattern
    names = {
        path: path.relative_to(folder).as_posix() if by_path else path.name for path in walk(folder)
    }
    found, matches = [], match_all(pattern, names.values(), key, whole=True)
    for path, name in names.items():
        match = matches[name]
        if match is None:
            continue
        check_file(path)
        if match.case:
            found.append((match.case, path))
        else:
            raise InputError(
                f"{path} matches {key} {pattern!r} without naming a case; correct the pattern."
            )
    if not found:
        raise InputError(
            f"{folder} holds no file whose whole {'path' if by_path else 'name'} matches {key}, "
            f"{pattern!r}; correct {folder_key}, or {key}."
        )
    return found


def find_cases(folder: Path, pattern: str, key: str, folder_key: str) -> dict[str, Path]:
    """Map each case to its one file; arguments as for `find_files`.

    Raises:
        InputError: as `find_files`, or a case has two files.
    """
    paths = {}
    for case, path in find_files(folder, pattern, key, folder_key):
        if case in paths:
            raise InputError(
                f"{path} and {paths[case]} are both case {case!r}, expected one file each; "
                f"remove one of them, or correct the pattern {key}."
            )
        paths[case] = path
    return paths


def pair_up(
    where: str | Path, images: Mapping[str, Path], labels: Mapping[str, Path], settings: Settings
) -> dict[str, tuple[Path, Path]]:
    """Map each case that has image and label to both paths, in the order of names.

    Args:
        where: the place, for messages.
        images, labels: {case: path}.
        settings: with `unlabelled`, "refuse" or "skip" images without a label; of given labels
            whatever has no partner is left out, which `given.prepare_given` reports.

    Raises:
        InputError: labels have no image, or images no label and `unlabelled` is "refuse".
    """
    if "given" in settings:
        if spare := set(labels) - set(images):
            logger.info("%d of %d labels belong to no image", len(spare), len(labels))
        return {name: (images[name], labels[name]) for name in sorted({*images} & {*labels})}
    missing = sorted(set(labels) - set(images))
    if missing:
        raise InputError(
            f"{where}: {len(missing)} labels have no image "
            f"({list_names(labels[name] for name in missing)}), expected pairs; add each missing "
            "image or remove the label."
        )
    missing = sorted(set(images) - set(labels))
    if missing:
        found = f"{len(missing)} of {len(images)} images have no label"
        if settings["unlabelled"] == "refuse":
            listed = list_names(images[name] for name in missing)
            raise InputError(
                f"{where}: {found} ({listed}), expected one each; add the labels, or set "
                "`unlabelled: skip` to leave these images out."
            )
        # Logs name no patient.
        logger.warning("%s and are left out; `unlabelled: refuse` names them", found)
    return {name: (images[name], labels[name]) for name in sorted(labels)}


def list_names(paths: Iterable[Path]) -> str:
    """Return the names of all files, none left out: the user must find each of them."""
    return ", ".join(path.name for path in paths)


def class_names(settings: Settings) -> list[str]:
    """Return the class names of a source whose structures the config lists."""
    return ["background", *settings["classes"]]


def shown_folder(folder: str) -> str:
    """Return a folder as a provenance names it: as the config does, but no absolute path.

    Where data lie on a machine tells of who keeps them, and nothing of the data.
    """
    return Path(folder).name if Path(folder).is_absolute() else folder


def pair_settings(settings: Settings) -> dict[str, Any]:
    """Return the settings of a source of volumes that say how labels and slices are read."""
    return {key: settings[key] for key in ("classes", "ignore", "others", "label_channel", "plane")}


def describe_folder(settings: Settings, what: str, **more: Any) -> dict:
    """Return the provenance of files in a folder, whose content only the user knows."""
    return {
        "what": what,
        "licence": "not known to this project; see the folder's own documents",
        "classes": {name: list(values) for name, values in settings["classes"].items()},
        "ignore": list(settings["ignore"]),
        "others": settings["others"],
        **more,
    }
