"""Where slices come from: a module per kind of source data, all with the same functions.

A source module has `cases(settings, seed)` -> list of Case, `class_names(settings)` -> list of str
with "background" first, and `describe(settings)` -> dict of provenance.
"""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

# The settings of one dataset, checked and completed by `labelnoise.config`.
Settings = Mapping[str, Any]
# Structures in the order of their class index, with the label values that mean them.
Classes = Mapping[str, list[int]]


@dataclass(frozen=True)
class Case:
    """A patient or scan: all its slices go to one split.

    Attributes:
        name: unique in its dataset.
        read: returns images (S, H, W) of any real number type in source units, labels (S, H, W)
            uint8 class indices, slice numbers (S,) and, where the source knows it, the spacing (3,)
            of slices, rows and columns in mm.
        split: "train", "validation" or "test" where the source decides, else None.
    """

    name: str
    read: Callable[[], tuple]
    split: str | None = None


def open_source(name: str) -> ModuleType:
    """Import a source module by its name, so that only the one in use loads its libraries."""
    return importlib.import_module(f"labelnoise.data.sources.{name}")
