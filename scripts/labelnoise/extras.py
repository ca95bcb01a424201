"""Libraries that some studies need and others do without, each with a list of its own in envs/."""

import importlib.util

from labelnoise.errors import InputError


def require(library: str, key: str, target: str = "") -> None:
    """Refuse to go on without a library, before anything runs.

    Args:
        library: its name.
        key: of the config, that asks for it.
        target: of `make`, that installs it; without it the library's name in small letters.

    Raises:
        InputError: it is not installed.
    """
    if importlib.util.find_spec(library) is None:
        raise InputError(
            f"config key '{key}' needs {library}, which is not installed; run `make "
            f"{target or library.lower()}`, or leave it out."
        )
