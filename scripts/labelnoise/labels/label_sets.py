"""Label files with an error: one file, a folder of them, or a raw dataset of nnU-Net.

A set of files has one severity for each structure, at which label Dice over all of them is what was
asked for; single files then differ, as those of one rater do.
"""

import fnmatch
import os
import re
import shutil
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import labelnoise
from labelnoise.counts import dice, overlap
from labelnoise.data.label_files import (
    ENDINGS,
    LabelImage,
    check_output,
    ending_of,
    output_name,
    read_labels,
)
from labelnoise.data.sources.folders import walk
from labelnoise.data.sources.msd import label_values, read_about
from labelnoise.errors import InputError
from labelnoise.files import whole_folder, write_record
from labelnoise.labels.generator import (
    Generator,
    Reference,
    Subject,
    check_no_images,
    check_spacing,
    count_values,
    needs_images,
    number_values,
)
from labelnoise.seeds import derive
from labelnoise.study import Perturbation

# What was done, beside the files of a folder.
RECORD = "labelnoise.json"
# How a channel of a case is named.
CHANNEL = re.compile(r"_\d{4}$")

Progress = Callable[[Sequence["Task"], str], Iterable["Task"]]


def _silent(tasks, word):
    return tasks


@dataclass(frozen=True)
class Task:
    """A label file to be written with an error.

    Attributes:
        name: of the case.
        path, output: the file, and the one to write.
        image: its image, or None.
    """

    name: str
    path: Path
    output: Path
    image: Path | None = None


@dataclass(frozen=True)
class Request:
    """What is asked for.

    Attributes:
        error: see `generator.define_error`.
        seed, draw: whole numbers of at least 0.
        plane: of a volume's slices, see `volumes.resolve_plane`.
        spacing: mm between rows and columns of pictures, or None.
        ignore: label values that nobody annotated.
        each: whether every file is to have the label Dice, rather than all together.
        names: {label value: name of the structure}.
        progress: wraps the files that are read or written; gets them and a word for it.
    """

    error: Perturbation
    seed: int = 0
    draw: int = 0
    plane: str = "acquired"
    spacing: tuple[float, ...] | None = None
    ignore: Collection[int] = ()
    each: bool = False
    names: Mapping[int, str] = field(default_factory=dict)
    progress: Progress = _silent

    def name_of(self, value: int) -> str:
        """Return what a structure is called."""
        return self.names.get(value, f"value {value}")

    def record(self) -> dict[str, Any]:
        """Return what a record says of it."""
        return {
            "labelnoise": labelnoise.__version__,
            "kind": self.error.kind,
            "dice": self.error.target_dice,
            "severity": self.error.severity,
            "dice_of": "each file" if self.each else "all files together",
            "settings": dict(self.error.settings),
            "seed": self.seed,
            "draw": self.draw,
            "plane": self.plane,
            "spacing": self.spacing,
            "ignore": list(self.ignore),
        }


def perturb_file(task: Task, request: Request) -> dict[str, Any]:
    """Write one label file with an error; equal to what `generator.perturb` makes of its slices.

    Returns:
        {structure: {"value", "severity", "label_dice"}}.

    Raises:
        InputError: the file cannot be read, holds no structure, or the error cannot have that size.
    """
    request = replace(request, each=False)
    record = _perturb([task], request, lambda name: request.seed, task.output.parent)
    return record["cases"][task.name]["structures"]


def perturb_folder(
    folder: Path, output: Path, request: Request, pattern: str = "*", images: Path | None = None
) -> dict[str, Any]:
    """Write all label files below a folder with an error, under their names, and a record of it.

    Args:
        folder: label files, in sub-folders too.
        output: another folder.
        request: what is asked for.
        pattern: what a file's name has to match, as in a shell.
        images: folder with the images, of the labels' names up to the ending.

    Returns:
        The record.

    Raises:
        InputError: see `perturb_file`; or there are no files, or the output lies in the folder.
    """
    _check_apart(folder, output)
    paths = [path for path in walk(folder) if fnmatch.fnmatch(path.name, pattern)]
    paths = [path for path in paths if path.name.lower().endswith(ENDINGS)]
    if not paths:
        raise InputError(
            f"{folder} holds no label file that matches {pattern!r}, expected some of "
            f"{', '.join(ENDINGS)}; name another folder or --pattern."
        )
    tasks = _tasks(folder, paths, output, _find_images(images))
    record = _perturb(tasks, request, _seeds(request), output)
    write_record(output / RECORD, record)
    return record


def is_dataset(folder: Path) -> bool:
    """Return whether a folder is a raw dataset of nnU-Net, or a task of the Decathlon."""
    return (folder / "dataset.json").is_file() and (folder / "labelsTr").is_dir()


def perturb_dataset(folder: Path, output: Path, request: Request) -> dict[str, Any]:
    """Write a raw dataset of nnU-Net whose training labels have an error, and a record of it.

    All but `labelsTr` stays as it is: images and labels of test cases are hard links to the
    source's where the file system allows it, else copies. Structures are named, and voxels ignored,
    as `dataset.json` says.

    Args:
        folder: `dataset.json`, `imagesTr`, `labelsTr` and more.
        output: a new folder.
        request: what is asked for.

    Returns:
        The record.

    Raises:
        InputError: see `perturb_file`; or the output exists, or has the number of a dataset beside
            it.
    """
    _check_apart(folder, output)
    _check_new(output)
    path = folder / "dataset.json"
    about = read_about(path)
    if "dataset" in about:
        raise InputError(
            f"{path} lists its files under `dataset`, expected them in imagesTr and labelsTr; put "
            "or link them there, and remove the list."
        )
    labels = label_values(path, about)
    values = {name: found[0] for name, found in labels.items() if len(found) == 1}
    request = replace(
        request,
        names={value: name for name, value in values.items()},
        ignore=sorted({*request.ignore, *labels.get("ignore", [])}),
    )
    ending = about.get("file_ending", "")
    paths = [each for each in walk(folder / "labelsTr") if each.name.endswith(ending or ENDINGS)]
    if not paths:
        raise InputError(
            f"{folder / 'labelsTr'} holds no label file that ends in {ending or ENDINGS}; correct "
            f"`file_ending` in {path}, or put the labels there."
        )
    images = None
    if needs_images(request.error):
        images = _find_images(folder / "imagesTr")
    with whole_folder(output) as temporary:
        tasks = _tasks(folder / "labelsTr", paths, temporary / "labelsTr", images)
        record = _perturb(tasks, request, _seeds(request), temporary)
        _link_rest(folder, temporary, {task.path for task in tasks})
        write_record(temporary / RECORD, record)
    return record


@dataclass(frozen=True)
class _Made:
    """What was made of a file: {label value: its severity, and the counts of its label Dice}."""

    task: Task
    seed: int
    sizes: Mapping[int, tuple[float, np.ndarray]]


def _seeds(request):
    """Return what gives each case of a set a seed, which no other case changes."""
    return lambda name: derive(request.seed, "perturb", name)


def _perturb(tasks, request, seed_of, home):
    """Write the files of tasks, and return the record, which names them from `home` on."""
    for task in tasks:
        check_output(task.path, task.output)
    if request.each:
        made = [
            one
            for task in request.progress(tasks, "perturbing")
            for one in _perturb_together([task], replace(request, progress=_silent), seed_of)
        ]
    else:
        made = _perturb_together(tasks, request, seed_of)
    values = sorted({value for one in made for value in one.sizes})
    structures = {}
    for value in values:
        sizes = [one.sizes[value] for one in made if value in one.sizes]
        severity = {} if request.each else {"severity": sizes[0][0]}
        counts_4 = sum(counts_4 for _, counts_4 in sizes)
        structures[request.name_of(value)] = _described(value, severity, counts_4)
    cases = {
        one.task.name: {
            "file": one.task.output.relative_to(home).as_posix(),
            "seed": one.seed,
            "structures": {
                request.name_of(value): _described(value, {"severity": severity}, counts_4)
                for value, (severity, counts_4) in one.sizes.items()
            },
        }
        for one in made
    }
    return {**request.record(), "structures": structures, "cases": cases}


def _described(value, severity, counts_4):
    return {"value": value, **severity, "label_dice": float(dice(counts_4))}


def _perturb_together(tasks, request, seed_of):
    """Write files with one severity of each structure; return what was made of each."""
    files = _Files(request)
    subjects = [
        files.survey(task, seed_of(task.name)) for task in request.progress(tasks, "reading")
    ]
    found = {value for subject in subjects for value in subject.found}
    with _naming(tasks):
        structures = number_values(found, request.ignore)
        if not structures and request.error.severity is None and not request.each:
            raise InputError(
                "no structure, so label Dice is not defined; give labels with one, or a severity."
            )
        files.structures = structures
        generator = Generator(subjects, structures, request.error, request.draw, request.names)
        severities = generator.severities()
    made = []
    written = zip(request.progress(tasks, "writing"), subjects, strict=True)
    for task, subject in written:
        with _naming([task]):
            wrong_SHW = generator.labels(subject, severities)
        reference = generator.reference(subject)
        labels = files.read(task.path)
        labels.write(task.output, reference.restore(wrong_SHW, structures, labels.values_SHW))
        made.append(_Made(task, subject.seed, _sizes(reference, wrong_SHW, structures, severities)))
    return made


def _sizes(reference, wrong_SHW, structures, severities):
    """Return {label value: (severity, counts)} of the structures that a file holds."""
    sizes = {}
    for index, value in structures.items():
        is_reference_SHW = reference.labels_ZHW == index
        if is_reference_SHW.any():
            sizes[value] = (severities[index], overlap(is_reference_SHW, wrong_SHW == index))
    return sizes


class _Files:
    """The label files of a set as cases of a Generator; the last one is kept."""

    def __init__(self, request):
        self.request, self.structures = request, {}
        self._last = None

    def read(self, path) -> LabelImage:
        """Return a label file."""
        if self._last is None or self._last.path != path:
            self._last = None
            self._last = read_labels(path, self.request.plane)
        return self._last

    def survey(self, task, seed) -> Subject:
        """Return a file as a case, with the values that it holds."""
        labels = self.read(task.path)
        if task.image is None:
            check_no_images(self.request.error)
        self._spacing(labels)
        found = count_values(labels.values_SHW, str(task.path))
        return Subject(
            task.name, seed, partial(self._reference, task), found, labels.values_SHW.size
        )

    def _reference(self, task):
        labels = self.read(task.path)
        images = None
        if needs_images(self.request.error):
            images = labels.read_images(task.image).astype(np.float32)
        return Reference.of(
            labels.values_SHW,
            self.structures,
            self._spacing(labels),
            images,
            self.request.ignore,
        )

    def _spacing(self, labels):
        given = self.request.spacing
        if given is None:
            return labels.spacing_3
        if labels.volume is not None:
            raise InputError(
                f"{labels.path} has a spacing of its own, so --spacing is not for it; leave it out."
            )
        return check_spacing(given, 2)


@contextmanager
def _naming(tasks):
    """Put the file, or its folder, before what an InputError says."""
    try:
        yield
    except InputError as error:
        paths = [task.path if len(tasks) == 1 else task.path.parent for task in tasks]
        where = os.path.commonpath(paths)
        raise InputError(f"{where}: {error}") from error


def _tasks(folder, paths, output, images):
    """Return the tasks of label files below a folder, with the images of their cases."""
    tasks = {}
    for path in paths:
        relative = path.relative_to(folder).as_posix()
        name = relative[: -len(ending_of(path))]
        if name in tasks:
            raise InputError(
                f"{path} and {tasks[name].path.name} share one name up to the ending, expected one "
                "file each; remove one of them."
            )
        image = None if images is None else images.get(name)
        if images is not None and image is None:
            raise InputError(f"{path} has no image of its name; add it, or leave images out.")
        tasks[name] = Task(name, path, output / output_name(relative), image)
    return list(tasks.values())


def _find_images(folder):
    """Return {name: path} of the images below a folder; of several channels the first."""
    if folder is None:
        return None
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder, expected the images of a folder of labels.")
    found: dict[str, Path] = {}
    for path in walk(folder):
        if path.name.lower().endswith(ENDINGS):
            name = path.relative_to(folder).as_posix()[: -len(ending_of(path))]
            found.setdefault(CHANNEL.sub("", name), path)
            found.setdefault(name, path)
    return found


def _check_apart(folder, output):
    """Refuse an output that is the input, or lies in it."""
    if not folder.is_dir():
        raise InputError(f"there is no folder {folder}; name one with label files.")
    if output.exists() and not output.is_dir():
        raise InputError(f"{output} is a file, expected a folder for those of {folder}.")
    if output.resolve().is_relative_to(folder.resolve()):
        raise InputError(f"the output {output} lies in {folder}, the input; name another folder.")


def _check_new(output):
    if output.is_dir() and any(output.iterdir()):
        raise InputError(
            f"{output} exists and is not empty; name a new folder, or remove this one first."
        )
    number = re.match(r"Dataset\d{3}_", output.name)
    beside = sorted(output.parent.glob(f"{number[0]}*")) if number else []
    others = [path.name for path in beside if path.name != output.name]
    if others:
        raise InputError(
            f"{output} has the number of {others[0]} beside it, by which nnU-Net tells datasets; "
            "take another number."
        )


def _link_rest(folder, output, labels):
    """Give a dataset all that the source has but these label files."""

    def link(source, target):
        try:
            if Path(source).parent == folder:
                raise OSError("small, and likely to be edited")
            os.link(os.path.realpath(source), target)
        except OSError:
            shutil.copy2(source, target)

    def written(place, names):
        return [name for name in names if Path(place, name) in labels]

    shutil.copytree(folder, output, copy_function=link, ignore=written, dirs_exist_ok=True)
