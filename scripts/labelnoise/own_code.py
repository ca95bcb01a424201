"""Code of the user's own: kinds of label error and networks in Python files beside the config.

A name with a dot, such as `mykinds.shave`, is what mykinds.py defines as `shave`. The file is found
when a study is read, and no other file or installed package is ever loaded by such a name. The
digest of its bytes goes wherever results depend on it, so that they are made again when it changes.

Which files are in use is kept for the whole process, as Python keeps its modules; a process that
another one starts is told by `use_own_code`.
"""

import hashlib
import shlex
import sys
import traceback
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from labelnoise.errors import InputError

# Not of the user: segmentation_models_pytorch.
LIBRARIES = ("smp",)


@dataclass(frozen=True)
class _Loaded:
    """A file that was run: its path, digest and what it defined."""

    path: Path
    code: str
    module: ModuleType


_paths: dict[str, Path] = {}
_loaded: dict[str, _Loaded] = {}
_files: set[str] = set()  # all that were run


def is_own(name: str) -> bool:
    """Return whether a kind of error or a network is the user's: its name has a module."""
    module, dot, _ = name.partition(".")
    return bool(dot) and module not in LIBRARIES


def own_file(name: str) -> str:
    """Return the file that defines a name: mykinds.py for mykinds.shave."""
    return f"{name.partition('.')[0]}.py"


def find_own_files(names: Iterable[str], folders: Iterable[Path]) -> dict[str, Path]:
    """Return {module: file} of those names whose file is in one of the folders, the first wins."""
    places = list(folders)
    candidates = [folder / own_file(name) for name in names for folder in places]
    found: dict[str, Path] = {}
    for path in filter(Path.is_file, candidates):
        found.setdefault(path.stem, path.absolute())
    return found


def digest_of(path: Path) -> str:
    """Return what identifies a file's code: 12 hexadecimal digits of the SHA-256 of its bytes.

    Raises:
        InputError: it cannot be read.
    """
    return _digest(_read(path))


def command_files(command: str) -> list[str]:
    """Return the words of a command that name Python files or shell scripts: its own code."""
    return [word for word in shlex.split(command) if word.endswith((".py", ".sh"))]


def command_code(command: str) -> str | None:
    """Return the digest of the files that a command names; None where it names none that exist.

    Args:
        command: as the config has it, its paths relative to the working folder.

    Raises:
        InputError: one cannot be read.
    """
    files = [Path(word) for word in command_files(command) if Path(word).is_file()]
    return _digest(b"".join(map(_read, files))) if files else None


def use_own_code(paths: Mapping[str, Path | str]) -> None:
    """Take the code of these modules, {name: file}, from now on in this process."""
    _paths.update({name: Path(path) for name, path in paths.items()})


def own_code_in_use() -> dict[str, Path]:
    """Return the files that `use_own_code` was told."""
    return dict(_paths)


def load_own(name: str, code: str | None = None) -> Any:
    """Return what a name stands for; its file is run at the first call.

    Args:
        name: such as mykinds.shave.
        code: the digest that the file must have; None takes what was loaded, or the file as it is.
            A file that `use_own_code` was not told of is looked for in the working folder.

    Raises:
        InputError: the file is not known, cannot be read or run, is of another digest, or does not
            define the name.
    """
    module, _, attribute = name.partition(".")
    path, loaded = _paths.get(module) or Path(f"{module}.py").absolute(), _loaded.get(module)
    # What was loaded serves on if its file changes meanwhile.
    if loaded is None or loaded.path != path or code not in (None, loaded.code):
        loaded = _run(name, path, code)
    try:
        return vars(loaded.module)[attribute]
    except KeyError:
        raise InputError(
            f"{loaded.path} does not define '{attribute}', which '{name}' names; it defines "
            f"{', '.join(_defined(loaded.module)) or 'nothing'}."
        ) from None


def whose(name: str) -> str:
    """Return how messages call what a loaded name stands for: `shave of studies/mykinds.py`."""
    module, _, attribute = name.partition(".")
    return f"{attribute} of {_loaded[module].path}"


def blame(error: BaseException) -> str | None:
    """Return one sentence on an error that arose in code of the user's; None for any other."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if frame.filename in _files:
            said = " ".join(str(error).split())
            return (
                f"{frame.filename}, line {frame.lineno}, in {frame.name}: {type(error).__name__}"
                f"{': ' + said if said else ''}."
            )
    return None


def describe_failure(name: str, error: BaseException) -> str:
    """Return one sentence on what a call of `name` raised, also where its call is what is wrong."""
    said = " ".join(str(error).split())
    return blame(error) or f"{whose(name)} cannot be called: {type(error).__name__}: {said}."


def _run(name, path, code):
    if not path.is_file():
        wanted = f" with the digest {code}" if code else ""
        raise InputError(
            f"'{name}' needs the file {path.name}{wanted}, which is not in {path.parent}; put it "
            "there, or name its folder."
        )
    content = _read(path)
    found = _digest(content)
    if code not in (None, found):
        raise InputError(
            f"{path} is not the file that '{name}' was used from: its digest is {found}, expected "
            f"{code}; restore it, or let snakemake make again what depends on it."
        )
    # A name of its own, so that it hides no other module; known, as pickle and dataclasses ask.
    module = ModuleType(f"labelnoise_own_{path.stem}")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module
    _files.add(str(path))
    try:
        exec(compile(content, path, "exec"), vars(module))
    except (Exception, SystemExit) as error:
        raise InputError(_reading_error(path, error)) from error
    _loaded[path.stem] = _Loaded(path, found, module)
    return _loaded[path.stem]


def _reading_error(path, error):
    if isinstance(error, SyntaxError):
        return f"{path}, line {error.lineno or 1}, is not Python: {error.msg}."
    if isinstance(error, ModuleNotFoundError):
        return (
            f"{path} imports '{error.name}', which is not installed; keep own code in one file "
            "that needs no more than the project does."
        )
    return blame(error) or f"{path} cannot be read as Python: {error}."


def _defined(module):
    return [
        name
        for name, value in vars(module).items()
        if getattr(value, "__module__", None) == module.__name__ and not name.startswith("_")
    ]


def _read(path):
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from None


def _digest(content):
    return hashlib.sha256(content).hexdigest()[:12]
