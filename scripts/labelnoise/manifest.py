"""What a dataset was made from: its definition, and the files of its source by name, size, content.

Preparing a dataset writes its manifest, and preparing given labels theirs: settings with the key
`given` make the labels' folder the source. Later, whether the source is still the same is seen from
names, sizes and modification times; the content is read again only of files whose time is another
one, so that a copy or a `touch` changes nothing and a rewritten file does. A digest is SHA-256.

Not counted: hidden files, documents, folders that the source does not read, and what is no regular
file. A source without a folder, such as the phantom, has no files.
"""

import hashlib
import json
import logging
import os
import re
import stat
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from labelnoise.errors import InputError
from labelnoise.files import read_json, sha256_of, write_record
from labelnoise.study import Results

log = logging.getLogger(__name__)

# What a source reads of `folder`, by its name or the setting that names it; others read all of it.
PLACES = {
    "images": lambda settings: (settings["images"], settings["masks"]),
    "msd": lambda settings: ("dataset.json", "imagesTr", "labelsTr"),
}
# Names that are hidden or those of documents.
IGNORED = re.compile(
    r"\..*|(readme|licen[cs]e|citation|changelog)(\.\w+)?|thumbs\.db|desktop\.ini"
    r"|.*\.(txt|md|rst|pdf|html|docx)",
    re.IGNORECASE | re.DOTALL,
)
# Files named in a message.
NAMED = 3


@dataclass(frozen=True)
class File:
    """A file of a source: its size in bytes, its modification time in ns, its digest if known."""

    size: int
    modified: int
    digest: str = ""

    def same_stat(self, other: "File | None") -> bool:
        """Return whether size and modification time are those of another one."""
        return other is not None and (self.size, self.modified) == (other.size, other.modified)


@dataclass(frozen=True)
class Source:
    """The files of a source whose content was read.

    Attributes:
        files: {name relative to its folder: file}, in the order of names.
    """

    files: Mapping[str, File]

    @property
    def digest(self) -> str:
        """SHA-256 of what `sha256sum` prints for the files in the order of their names."""
        lines = (f"{file.digest}  {name}\n" for name, file in self.files.items())
        return hashlib.sha256("".join(lines).encode("utf-8", "surrogateescape")).hexdigest()

    def describe(self) -> dict[str, Any]:
        """Return what the dataset file holds of its source: number and bytes of files, digest."""
        size = sum(file.size for file in self.files.values())
        return {"files": len(self.files), "bytes": size, "sha256": self.digest}


@dataclass(frozen=True)
class Manifest:
    """What a dataset file was made from.

    Attributes:
        settings, seed: the dataset's settings in the config, and the study's seed.
        source: the files; None where the source has none.
        state: the word of `source_state` when the files were read.
    """

    settings: Mapping[str, Any]
    seed: int
    source: Source | None = None
    state: str | None = None

    def write(self, path: Path) -> None:
        """Write it as JSON."""
        content: dict[str, Any] = {"settings": self.settings, "seed": self.seed}
        if self.source is not None:
            lines = {
                name: f"{file.digest} {file.size} {file.modified}"
                for name, file in self.source.files.items()
            }
            content["source"] = {**self.source.describe(), "state": self.state, "list": lines}
        write_record(path, content)

    @classmethod
    def read(cls, path: Path) -> Self | None:
        """Read it; None if there is none, or it is damaged."""
        try:
            content = read_json(path, ("settings", "seed"))
            source = content.get("source")
            if source is None:
                return cls(content["settings"], content["seed"])
            files = Source({name: _parse(line) for name, line in source["list"].items()})
            return cls(content["settings"], content["seed"], files, source["state"])
        except (InputError, KeyError, ValueError, AttributeError, TypeError) as error:
            if path.exists():
                log.warning("%s is passed over: %s", path, error)
            return None


def _parse(line: str) -> File:
    digest, size, modified = line.split()
    return File(int(size), int(modified), digest)


def list_source(settings: Mapping[str, Any]) -> dict[str, tuple[File, str]]:
    """Return {name: (file without digest, path)} of a dataset's source, in the order of names.

    Args:
        settings: the dataset's settings.

    Returns:
        Names are relative to `folder`; those in a `labels_folder` elsewhere begin with
        "labels_folder:", a file of splits with "split:". Empty where a folder is absent or nothing
        is in it, as where a disk is not mounted, and for sources without a folder.

    Raises:
        InputError: a folder cannot be read.
    """
    found = {}
    for prefix, place, start in _places(settings):
        if not place.exists():
            return {}
        try:
            for name, file, path in _walk(str(place), start, ()):
                found[prefix + name] = file, path
        except PermissionError as error:
            raise InputError(
                f"{error.filename} cannot be read ({error.strerror}), so changes of the data there "
                "would not be seen; correct its permissions."
            ) from None
    return dict(sorted(found.items()))


def _places(settings: Mapping[str, Any]) -> Iterator[tuple[str, Path, str]]:
    """Yield what a source reads: prefix of names, file or folder, and its own name."""
    if given := settings.get("given"):
        yield "", Path(given["labels_folder"]), ""
        return
    folder, labels = settings.get("folder"), settings.get("labels_folder")
    if split := settings.get("split", {}).get("file"):
        yield "split:", Path(split), Path(split).name
    if folder is None:
        return
    for place in PLACES.get(settings["source"], lambda _: ("",))(settings):
        yield "", Path(folder, place), place
    if labels is not None and not Path(labels).resolve().is_relative_to(Path(folder).resolve()):
        yield "labels_folder:", Path(labels), ""


def _walk(
    path: str, name: str, above: tuple[tuple[int, int], ...]
) -> Iterator[tuple[str, File, str]]:
    """Yield name, file without digest, and path of all at and below a path, following links."""
    try:
        about = os.stat(path)
        if stat.S_ISREG(about.st_mode):
            yield name, File(about.st_size, about.st_mtime_ns), path
        # A link to a folder above it would have no end.
        elif stat.S_ISDIR(about.st_mode) and (about.st_dev, about.st_ino) not in above:
            inner = (*above, (about.st_dev, about.st_ino))
            for child in os.listdir(path):
                if not IGNORED.fullmatch(child):
                    yield from _walk(
                        os.path.join(path, child), f"{name}/{child}" if name else child, inner
                    )
    except FileNotFoundError:  # a link to nothing, or deleted meanwhile
        return


def read_source(
    settings: Mapping[str, Any], known: Mapping[str, File], workers: int = 1
) -> Source | None:
    """Read the content of all files of a dataset's source whose digest is not known.

    Args:
        settings: the dataset's settings.
        known: files read before; one whose size and time are the same is not read again.
        workers: threads.

    Returns:
        The files; None for a source without a folder.

    Raises:
        InputError: a file or folder cannot be read.
    """
    if not any(_places(settings)):
        return None
    listed = list_source(settings)
    digests = _digests(listed, known, workers)
    return Source(
        {name: File(file.size, file.modified, digests[name]) for name, (file, _) in listed.items()}
    )


def check_unchanged(name: str, settings: Mapping[str, Any], source: Source) -> None:
    """Refuse a source that changed since its files were read.

    Raises:
        InputError: a file was added, removed or rewritten; the message names some.
    """
    now = {key: file for key, (file, _) in list_source(settings).items()}
    changed = sorted(
        key
        for key in {*now, *source.files}
        if key not in now or not now[key].same_stat(source.files.get(key))
    )
    if changed:
        raise InputError(
            f"dataset {name}: {_listed(changed)} of its source changed while the data were read; "
            "run again, once nothing writes there."
        )


@dataclass(frozen=True)
class SourceState:
    """Whether the source of a dataset is the one that its file was made from.

    Attributes:
        word: another one if and only if the content has changed; None for a source without files.
        change: what has changed, in words; empty if nothing has.
    """

    word: str | None
    change: str = ""


def known_files(results: Results, dataset: str, given: str | None = None) -> dict[str, File]:
    """Return the files of a source whose content was read before, see `read_source`.

    Args:
        results: the study's results tree.
        dataset: the dataset's name.
        given: the perturbation, if the source is that of given labels.
    """
    manifest_path, seen = _records(results, dataset, given)
    manifest = Manifest.read(manifest_path)
    files = manifest.source.files if manifest and manifest.source else {}
    return {**files, **_read_seen(seen)}


def _records(results, dataset, given):
    """Return where a manifest is, and what was read since."""
    names = {"dataset": dataset, "perturbation": given or ""}
    patterns = (results.manifest, results.seen)
    if given is not None:
        patterns = (results.given_manifest, results.given_seen)
    return [results.fill(pattern, names) for pattern in patterns]


def source_state(
    settings: Mapping[str, Any], results: Results, dataset: str, given: str | None = None
) -> SourceState:
    """Compare the source of a dataset with what the dataset's file was made from.

    Content is read only of files whose name and size are the same and whose modification time is
    not that of the last reading, which is remembered.

    Args:
        settings: the dataset's settings.
        results: the study's results tree.
        dataset: the dataset's name.
        given: the perturbation, if the source is that of given labels.

    Returns:
        Its word is that of the manifest while nothing has changed, and where the source is absent.
    """
    if not any(_places(settings)):
        return SourceState(None)
    manifest_path, seen = _records(results, dataset, given)
    manifest = Manifest.read(manifest_path)
    try:
        listed = list_source(settings)
    except InputError as error:
        log.warning("dataset %s: %s", dataset, error)
        listed = {}
    if manifest is None or manifest.source is None:
        return SourceState(_word([(name, file.size) for name, (file, _) in listed.items()]))
    before = manifest.source.files
    if not listed:
        return SourceState(manifest.state)
    rewritten = _rewritten(listed, before, seen)
    changes = {
        "added": sorted(listed.keys() - before.keys()),
        "removed": sorted(before.keys() - listed.keys()),
        "rewritten": sorted(rewritten),
    }
    if not any(changes.values()):
        return SourceState(manifest.state)
    sizes = [(name, file.size) for name, (file, _) in listed.items()]
    words = (f"{_listed(found)} {word}" for word, found in changes.items() if found)
    return SourceState(_word([manifest.state, sizes, sorted(rewritten.items())]), ", ".join(words))


def _listed(names: list[str]) -> str:
    """Return the first names, and how many more there are."""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def _rewritten(
    listed: Mapping[str, tuple[File, str]], before: Mapping[str, File], seen: Path
) -> dict[str, str]:
    """Return the files whose content is another one, with their digest where sizes are equal."""
    common = {name: entry for name, entry in listed.items() if name in before}
    resized = {name: "" for name, (file, _) in common.items() if file.size != before[name].size}
    suspects = {
        name: entry
        for name, entry in common.items()
        if name not in resized and not entry[0].same_stat(before[name])
    }
    if not suspects:
        return resized
    known = _read_seen(seen)
    digests = _digests(suspects, known, workers=4, refuse=False)
    read = {
        name: File(file.size, file.modified, digests[name])
        for name, (file, _) in suspects.items()
        if digests[name]
    }
    if any(not file.same_stat(known.get(name)) for name, file in read.items()):
        _write_seen(seen, known | read)
    other = {name: found for name, found in digests.items() if found != before[name].digest}
    return resized | other


def _read_seen(path: Path) -> dict[str, File]:
    """Return the files whose content was read since the dataset was made."""
    try:
        return {name: _parse(line) for name, line in read_json(path).items()}
    except (InputError, OSError, ValueError, AttributeError):
        return {}


def _write_seen(path: Path, files: Mapping[str, File]) -> None:
    lines = {name: f"{file.digest} {file.size} {file.modified}" for name, file in files.items()}
    try:
        write_record(path, lines)
    except OSError:
        # Someone else's results may be looked at; then the same files are read again next time.
        log.info("%s cannot be written", path)


def _digests(
    listed: Mapping[str, tuple[File, str]],
    known: Mapping[str, File],
    workers: int,
    refuse: bool = True,
) -> dict[str, str]:
    """Return {name: digest}; empty for what cannot be read, unless that is refused."""

    def digest(name: str) -> str:
        path = listed[name][1]
        try:
            return sha256_of(path)
        except OSError as error:
            if refuse:
                raise InputError(
                    f"{path} cannot be read ({error.strerror}); correct its permissions, or remove "
                    "it."
                ) from None
            return ""

    found = {
        name: known[name].digest
        for name, (file, _) in listed.items()
        if file.same_stat(known.get(name))
    }
    unknown = [name for name in listed if name not in found]
    if unknown:
        log.info("reading %d of %d source files", len(unknown), len(listed))
    with ThreadPoolExecutor(workers) as pool:
        return found | dict(zip(unknown, pool.map(digest, unknown), strict=True))


def _word(state: Any) -> str:
    return hashlib.sha256(json.dumps(state).encode("utf-8", "surrogatepass")).hexdigest()[:16]
