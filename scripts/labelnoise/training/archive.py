"""Files that torch saves: zip archives, whose checksums torch itself does not look at."""

import zipfile
from pathlib import Path
from typing import Any

import torch

from labelnoise.errors import InputError
from labelnoise.files import whole_file

# Bytes that are checked at a time.
BLOCK = 1 << 20


def write_archive(path: Path, content: Any) -> None:
    """Write what `torch.save` can; the file appears whole or not at all."""
    # Through a file of Python's, which says why a write fails.
    with whole_file(path) as temporary, open(temporary, "wb") as file:
        torch.save(content, file)


def read_archive(path: Path) -> Any:
    """Read what `write_archive` wrote, onto the CPU, once all of its checksums were found right.

    Raises:
        FileNotFoundError: there is no such file.
        InputError: it is damaged or no archive; a clause that follows on the file's name.
    """
    try:
        _check(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise
    # A damaged file fails in many ways inside zipfile, pickle and torch; all mean the same.
    except Exception as error:
        what = str(error).splitlines() or [""]
        raise InputError(
            f"is damaged or not whole ({type(error).__name__}: {what[0][:100]})"
        ) from error


def _check(path: Path) -> None:
    """Read every part of an archive, which compares it with its CRC-32."""
    with zipfile.ZipFile(path) as archive:
        for part in archive.infolist():
            if part.external_attr or part.compress_type != zipfile.ZIP_STORED:
                # torch would take it for a folder, say, and leave its values to chance.
                raise zipfile.BadZipFile(f"{part.filename} is not stored as torch stores it")
            with archive.open(part) as content:
                while content.read(BLOCK):
                    pass
