"""Where slices come from: a module per kind of source data, all with the same functions.

A source module has `cases(settings, seed)` -> list of Case, `class_names(settings)` -> list of str
with "background" first, and `describe(settings)` -> dict of provenance. One that names channels
itself, where the config alone does not, has `channel_names(settings)` -> list of str, too.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from labelnoise.config import channels
from labelnoise.errors import InputError

if TYPE_CHECKING:
    import numpy as np

# The settings of one dataset, checked and completed by `labelnoise.config`.
Settings = Mapping[str, Any]
# Structures in the order of their class index, with the label values that mean them.
Classes = Mapping[str, list[int]]
# Sources whose module has another name, as that of the source is what all of them share.
MODULES = {"volumes": "volume_pairs"}
# What to download for the paper's two datasets, by their names in studies/labels18.yaml.
DOWNLOADS = {
    "lis": "the training data of the LiTS challenge (volume-N.nii with segmentation-N.nii)",
    "psd": "NIH Pancreas-CT from The Cancer Imaging Archive (PANCREAS_0001/... of DICOM files, and "
    "label0001.nii.gz ...)",
}


@dataclass(frozen=True)
class Case:
    """A patient or scan: all its slices go to one split.

    Attributes:
        name: unique in its dataset.
        read: returns images (S, H, W) of any real number type in source units, or, where the
            dataset names its channels, a list of these, one for each; labels (S, H, W) uint8 class
            indices, slice numbers (S,) and, where the source knows it, the spacing (3,) of slices,
            rows and columns in mm, NaN where it does not.
        split: "train", "validation" or "test" where the source decides, else None.
        numbers: the slice numbers, where each slice is a file of its own, else None.
    """

    name: str
    read: Callable[[], tuple]
    split: str | None = None
    numbers: tuple[int, ...] | None = None


def open_source(name: str) -> ModuleType:
    """Import a source module by its name, so that only the one in use loads its libraries."""
    return importlib.import_module(f"labelnoise.data.sources.{MODULES.get(name, name)}")


def channel_names(source: ModuleType, settings: Settings) -> list[str]:
    """Return the names of a dataset's channels in their order; "image" for one without a name."""
    return channels.channel_names(settings) or source.channel_names(settings)


def split_channels(images: np.ndarray | list[np.ndarray]) -> list[np.ndarray]:
    """Return the images (S, H, W) of each channel, of what `Case.read` returns."""
    return images if isinstance(images, list) else [images]


def check_folder(name: str, settings: Settings) -> None:
    """Refuse a dataset whose folder of source data does not exist, and say how to get it.

    Raises:
        InputError: a folder that the settings name does not exist.
    """
    for key in ("folder", "labels_folder"):
        folder = settings.get(key)
        if folder is not None and not Path(folder).is_dir():
            what = f"download {DOWNLOADS[name]}" if name in DOWNLOADS else "get its data"
            raise InputError(
                f"dataset {name}: there is no folder {folder}; {what} and put or link it there, or "
                f"name another folder in the config: datasets.{name}.{key}."
            )
