"""Libraries that some studies need and others do without, each with a list of its own in envs/."""

import importlib.util

from labelnoise.errors import InputError


def require(library: str, key: str) -> None:
    """Refuse to go on without a library, before anything runs.

    Args:
        library: its name, in small letters that of the target of `make` that installs it.
        key: of the config, that asks for it.

    Raises:
        InputError: it is not installed.
    """
    if importlib.util.find_spec(library) is None:
        raise InputError(
            f"config key '{key}' needs {library}, which is not installed; run `make "
            f"{library.lower()}`, or leave it out."
        )
