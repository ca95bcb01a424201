"""Files and folders that appear under their final name only when they are whole."""

import csv
import glob
import hashlib
import json
import os
import platform
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labelnoise.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

# The key of a record that holds the digest of all others.
SEAL = "sha256"


@contextmanager
def whole_file(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it on success, remove it on failure.

    The temporary name keeps the suffix, since libraries choose the format by it.

    Raises:
        OSError: the folder cannot be made or written.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.part-{os.getpid()}{path.suffix}")
    _sweep(path.parent, f".{path.stem}.part-", path.suffix)
    try:
        yield temporary
        sync(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def whole_folder(path: Path | str) -> Iterator[Path]:
    """Yield a temporary folder beside `path`; rename it on success, remove it on failure.

    An older folder of that name is replaced.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.part-{os.getpid()}")
    _sweep(path.parent, f".{path.name}.part-", "")
    temporary.mkdir(parents=True)
    try:
        yield temporary
        shutil.rmtree(path, ignore_errors=True)
        os.replace(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def scratch_folder(purpose: str) -> Iterator[Path]:
    """Yield an empty folder among the system's temporary files, and remove it at the end.

    Those that killed processes of this user left on this host are removed first.

    Args:
        purpose: a word in the folder's name.

    Raises:
        OSError: the folder cannot be made.
    """
    parent = Path(tempfile.gettempdir())
    # The host is in the name, since hosts may share the folder but not the numbers of processes.
    start = f"labelnoise-{purpose}-{os.getuid()}-{platform.node()}-"
    _sweep(parent, start, "")
    path = parent / f"{start}{os.getpid()}"
    try:
        # Here, since a signal may end the process as soon as the folder is there.
        path.mkdir(mode=0o700)
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def _sweep(folder: Path, start: str, end: str) -> None:
    """Delete what killed processes left under the name folder/start<process>end."""
    for part in folder.glob(f"{glob.escape(start)}*{glob.escape(end)}"):
        process = part.name.removeprefix(start).removesuffix(end)
        if process.isdigit() and not is_alive(int(process)):
            if part.is_dir():
                shutil.rmtree(part, ignore_errors=True)
            else:
                part.unlink(missing_ok=True)


def is_alive(process: int) -> bool:
    """Return whether another process with this number runs on this host."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return process != os.getpid() and not _is_zombie(process)


def _is_zombie(process: int) -> bool:
    """Return whether a process has ended and only waits for its parent to notice; Linux tells."""
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return False
    return state == "Z"


def write_text(path: Path | str, text: str) -> None:
    """Write text as a whole file."""
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path | str, content: Any) -> None:
    """Write content as indented JSON."""
    write_text(path, json.dumps(content, indent=2) + "\n")


def write_record(path: Path | str, content: Mapping[str, Any]) -> None:
    """Write a mapping as indented JSON with the SHA-256 of its values, which `read_json` checks."""
    plain = json.loads(json.dumps(content))
    write_json(path, {**plain, SEAL: _digest_of(plain)})


def _digest_of(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def sha256_of(path: Path | str) -> str:
    """Return the SHA-256 of a file's content, 64 hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_csv(path: Path | str, table: "pd.DataFrame") -> None:
    """Write a table at full precision, so that equal tables give equal files."""
    with whole_file(path) as temporary:
        table.to_csv(temporary, index=False, lineterminator="\n")


def write_rows(path: Path | str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows that all have the keys of the first as CSV, as `write_csv` writes their table.

    Without pandas, which a training does not need.
    """
    with whole_file(path) as temporary, open(temporary, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        # NaN, which is not equal to itself, is an empty cell.
        writer.writerows(
            {name: value if value == value else "" for name, value in row.items()} for row in rows
        )


def read_json(path: Path, keys: tuple[str, ...] = ()) -> dict[str, Any]:
    """Read a JSON object that holds `keys`, as `write_json` or `write_record` wrote it.

    Raises:
        InputError: the file is missing, is not JSON, lacks a key, or is a record whose values are
            not those that were written.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"{path} is missing; run the study's step that writes it.") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not whole JSON ({error}); delete it and run again.") from None
    if not isinstance(content, dict):
        raise InputError(f"{path} holds no JSON object; delete it and run again.")
    seal = content.pop(SEAL, None)
    if seal not in (None, _digest_of(content)):
        raise InputError(f"{path} is damaged or was edited; delete it and run again.")
    missing = [key for key in keys if key not in content]
    if missing:
        raise InputError(f"{path} lacks {', '.join(missing)}; delete it and run again.")
    return content


def check_writable(folder: Path) -> None:
    """Refuse a folder that could not be made or written.

    Raises:
        InputError: a part of the path is a file, or writing there is not permitted.
    """
    existing = next(path for path in (Path(folder), *Path(folder).parents) if path.exists())
    if not existing.is_dir():
        raise InputError(
            f"results cannot go to the folder {folder}, since {existing} is a file; move it away, "
            "or name another folder in the config: pathvars: {results: ...}."
        )
    if not os.access(existing, os.W_OK | os.X_OK):
        raise InputError(
            f"results cannot go to the folder {folder}, since writing to {existing.resolve()} is "
            "not permitted; correct its permissions, or name another folder in the config: "
            "pathvars: {results: ...}."
        )


def sync(path: Path) -> None:
    """Flush a file to the disk, so that its content is there before its final name is."""
    with open(path, "rb+") as handle:
        os.fsync(handle.fileno())
