"""What sources of files in a folder share: files found and paired by case, classes, provenance.

A pattern is a regular expression of the config; a group of it reads the case from a file's name.
"""

import logging
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from labelnoise.data.sources import Settings
from labelnoise.errors import InputError

logger = logging.getLogger(__name__)


def walk(folder: Path) -> Iterator[Path]:
    """Yield the files below a folder in the order of names, without hidden ones such as macOS's."""
    for place, folders, names in os.walk(folder, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if not name.startswith("."):
                yield Path(place) / name


def case_of(match: re.Match | None) -> str | None:
    """Return the group `case` of a match, or else its first; None without a match."""
    if match is None:
        return None
    return match["case"] if "case" in match.re.groupindex else match[1]


def find_files(folder: Path, pattern: str, key: str, folder_key: str) -> list[tuple[str, Path]]:
    """Return the case and path of all files, over all sub-folders, whose whole name matches.

    Args:
        key: what the pattern comes from, for messages, such as a key of the config.
        folder_key: what the folder comes from.

    Raises:
        InputError: the folder is missing, nothing matches, or a match names no case.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder, expected one; correct {folder_key}.")
    found = []
    for path in walk(folder):
        match = re.fullmatch(pattern, path.name)
        case = case_of(match)
        if case:
            found.append((case, path))
        elif match:
            raise InputError(
                f"{path} matches {key} {pattern!r} without naming a case; correct the pattern."
            )
    if not found:
        raise InputError(
            f"{folder} holds no file whose whole name matches {key}, {pattern!r}; correct "
            f"{folder_key}, or {key}."
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
    where: str | Path, images: Mapping[str, Path], labels: Mapping[str, Path], unlabelled: str
) -> dict[str, tuple[Path, Path]]:
    """Map each case that has image and label to both paths, in the order of names.

    Args:
        where: the place, for messages.
        images, labels: {case: path}.
        unlabelled: "refuse" or "skip" images without a label.

    Raises:
        InputError: labels have no image, or images no label and `unlabelled` is "refuse".
    """
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
        if unlabelled == "refuse":
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


def describe_folder(settings: Settings, what: str, **more: Any) -> dict:
    """Return the provenance of files in a folder, whose content only the user knows."""
    return {
        "what": what,
        "licence": "not known to this project; see the folder's own documents",
        "classes": {name: list(values) for name, values in settings["classes"].items()},
        **more,
    }
