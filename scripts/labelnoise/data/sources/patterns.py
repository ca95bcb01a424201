"""Files below a folder, and the cases that patterns of the config read from their names."""

import os
import re
from pathlib import Path

from labelnoise.errors import InputError


def walk(folder):
    """All files below a folder in the order of names, but hidden ones such as macOS leaves."""
    for place, folders, names in os.walk(folder, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if not name.startswith("."):
                yield Path(place) / name


def compile_pattern(key, text, example, groups=1):
    """Compile a regular expression of the config.

    Args:
        key: its key, for messages.
        text: the expression.
        example: one that works, for messages.
        groups: how many groups it needs at least.

    Raises:
        InputError: it is no regular expression, or has no group that names the case.
    """
    try:
        pattern = re.compile(text)
    except re.error as error:
        raise InputError(
            f"`{key}` is {text!r}, which is no regular expression ({error}); correct it."
        ) from None
    if pattern.groups < groups:
        raise InputError(
            f"`{key}` is {text!r}, which has no group; put the part that names the case in "
            f"parentheses, such as '{example}'."
        )
    return pattern


def case_of(match):
    """The group `case` of a match, or else its first; None without a match."""
    if match is None:
        return None
    return match["case"] if "case" in match.re.groupindex else match[1]
