"""The HDF5 files of a study: datasets (images and reference labels) and perturbed labels.

A label file stores class indices as bits, see `bits.pack`, in /labels (D, M, P, H, B). Without this
package, those of draw d for row[m] of the dataset are

    numpy.unpackbits(file["labels"][d, m], axis=-1, count=file.attrs["width"])

(P, H, W), plane 0 the mask where there is one structure. In files of format version 2, which are
read too, they are bytes, (D, M, H, W).

Shape legend: N slices of a dataset, M slices with perturbed labels, n slices asked for, K channels,
D stored draws, F folds, C classes, H height, W width, P bits of a class index, B bytes of a row.
"""

import hashlib
import json
import os
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import astuple
from pathlib import Path
from typing import Any, Self

import h5py
import numpy as np
from numpy.typing import ArrayLike

from labelnoise.config.channels import ONE, RGB
from labelnoise.counts import class_sizes
from labelnoise.data.bits import pack, planes_of, unpack
from labelnoise.data.checksums import (
    DAMAGED,
    STORED,
    create,
    read_attributes,
    with_checksum,
    write_array,
    write_attributes,
    write_texts,
)
from labelnoise.data.colour import luminance
from labelnoise.data.intensity import Intensity, Scale, intensities_content, read_intensities
from labelnoise.errors import InputError
from labelnoise.files import whole_file
from labelnoise.folds import fold_of

DATASET_FORMAT = "labelnoise-dataset"
LABEL_FORMAT = "labelnoise-labels"
# The version that is written comes last. Files of version 1 have no checksums, so that damage in
# them would pass.
DATASET_VERSIONS = (2,)
LABEL_VERSIONS = (2, 3)
# Of dataset files. h5py's default, 4, takes longer to write and to read than it saves bytes:
# benchmarks/slices.py.
GZIP_LEVEL = 1
# Of packed bits: level 4 makes files a tenth smaller, and writing takes half as long again.
LABEL_GZIP_LEVEL = 1
SPLITS = ("train", "validation", "test")
# What a dataset file holds besides where it has to: the source's names of cases (N,), and indices
# into SPLITS of the rows in each fold (F, N).
SOURCE_CASES, FOLDS = "source_case", "fold_split"
# What a label file holds of the given labels that its own are drawn from, a group for each error.
GIVEN = "given"
UNKNOWN_SPACING = (np.nan,) * 3


@contextmanager
def write_dataset(
    path: Path | str,
    *,
    name: str,
    class_names: Sequence[str],
    provenance: Mapping[str, Any],
    intensities: Mapping[str, Intensity] | None = None,
    window: tuple[float, float] | None = None,
    workers: int = 1,
    folds: Sequence[Mapping[str, str]] = (),
) -> Iterator["DatasetWriter"]:
    """Yield a DatasetWriter; the file appears under its name when the `with` block succeeds.

    Args:
        class_names: names of the classes; index 0 is "background".
        provenance: what JSON can hold; it may be added to until the block ends.
        intensities: {channel: how its source values became those stored}, in the channels' order.
        window: (low, high) in source units, for one channel and `Intensity.of_window(low, high)`.
        workers: threads that compress slices; the file does not depend on them.
        folds: {case: split} in each fold, the file being that of the first one; see `write_fold`.

    Raises:
        InputError: as DatasetWriter's methods; no file is left behind.
    """
    if window is not None:
        intensities = {ONE: Intensity.of_window(*window)}
    if intensities is None:
        raise TypeError("a dataset needs intensities or a window")
    with (
        whole_file(path) as temporary,
        create(temporary) as file,
        ThreadPoolExecutor(workers) as pool,
    ):
        writer = DatasetWriter(file, name, class_names, len(intensities), pool.map)
        yield writer
        writer.finish(intensities, provenance, folds)


class DatasetWriter:
    """Append the cases of a dataset to an open HDF5 file, one at a time.

    Equal input gives equal bytes: nothing in the file depends on the time or the machine.
    """

    def __init__(
        self,
        file: h5py.File,
        name: str,
        class_names: Sequence[str],
        channels: int,
        map_slices: Callable[..., Iterable[bytes]],
    ):
        self._file, self._name, self._class_names = file, name, list(class_names)
        self._channels = channels
        self._map = map_slices
        self._cases, self._slices, self._splits, self._spacings = [], [], [], []
        self._scales, self._sources = [], []
        self._pixels_C = np.zeros(len(class_names), np.int64)

    def append(
        self,
        case: str,
        split: str,
        slices: Sequence[int] | np.ndarray,
        images_NKHW: np.ndarray,
        labels_NHW: np.ndarray,
        spacing_3: ArrayLike = UNKNOWN_SPACING,
        scales: Sequence[Scale] | None = None,
        source_case: str | None = None,
    ) -> None:
        """Add all slices of one case.

        Args:
            case, split: the case and its split.
            slices: (n,) slice numbers.
            images_NKHW: float, in [-1, 1] unless the intensity's method is "none"; stored as
                float16. Those of one channel may come as (n, H, W).
            labels_NHW: uint8 class indices.
            spacing_3: distance of slices, rows and columns in mm, NaN where unknown.
            scales: how the values of each channel became stored ones, where each case has its own.
            source_case: the case's name in the source, by which messages call it; None is `case`.

        Raises:
            InputError: the case or one of its slices comes twice, or its size differs.
        """
        source_case = case if source_case is None else source_case
        self._check_new(case, source_case, slices)
        if images_NKHW.ndim == 3:
            images_NKHW = images_NKHW[:, None]
        if images_NKHW.shape[1] != self._channels:
            raise ValueError(f"{images_NKHW.shape[1]} channels, expected {self._channels}")
        # The slices of one channel are stored without an axis for it.
        images = images_NKHW if self._channels > 1 else images_NKHW[:, 0]
        self._check_size(source_case, labels_NHW.shape[1:])
        start, stop = len(self._cases), len(self._cases) + len(slices)
        for key, values in (("images", images), ("labels", labels_NHW)):
            stored = self._file[key]
            stored.resize(stop, axis=0)
            # HDF5 compresses under one lock; here slices are compressed side by side.
            packed = self._map(_pack, values.astype(stored.dtype, copy=False))
            for row, chunk in enumerate(packed, start):
                stored.id.write_direct_chunk((row, *[0] * (stored.ndim - 1)), chunk)
        self._cases += [case] * len(slices)
        self._sources += [source_case] * len(slices)
        self._splits += [split] * len(slices)
        self._slices += [int(number) for number in slices]
        self._spacings += [spacing_3] * len(slices)
        self._scales += [scales] * len(slices)
        if split == "train":
            # One slice at a time, which is what this takes in memory.
            for labels_HW in labels_NHW:
                self._pixels_C += class_sizes(labels_HW, len(self._pixels_C))

    def _check_new(self, case, source_case, slices):
        if case in self._cases:
            raise InputError(
                f"dataset {self._name}: case {source_case!r} comes twice; give every case its own "
                "name."
            )
        numbers, counts = np.unique(slices, return_counts=True)
        if counts.max(initial=1) > 1:
            raise InputError(
                f"dataset {self._name}: slice {numbers[counts > 1][0]} of case {source_case!r} "
                f"comes {counts.max()} times; remove the duplicates, or correct the pattern that "
                "reads the slice number."
            )

    def _check_size(self, case, shape):
        if "images" not in self._file:
            several = (self._channels,) if self._channels > 1 else ()
            _create_stack(self._file, "images", np.float16, (*several, *shape))
            _create_stack(self._file, "labels", np.uint8, shape)
        height, width = self._file["labels"].shape[1:]
        if (height, width) != shape:
            raise InputError(
                f"dataset {self._name}: slices of case {case!r} are {shape[0]} x {shape[1]} "
                f"pixels, those before it {height} x {width}, and a dataset has one size; "
                "set `size` to resize them all."
            )

    def finish(
        self,
        intensities: Mapping[str, Intensity],
        provenance: Mapping[str, Any],
        folds: Sequence[Mapping[str, str]] = (),
    ) -> None:
        """Write what is known only at the end: rows, attributes, the share of each class.

        Raises:
            InputError: a split is empty, or a class has no pixel in the training split.
        """
        _check_split(self._name, self._class_names, self._splits, self._pixels_C)
        write_texts(self._file, "case", self._cases)
        write_array(self._file, "slice", np.array(self._slices, np.int32))
        write_texts(self._file, "split", self._splits)
        write_array(self._file, "spacing", np.array(self._spacings, np.float32))
        if any(intensity.scale is None for intensity in intensities.values()):
            # None becomes NaN.
            numbers = [[astuple(scale) for scale in scales] for scales in self._scales]
            scales_NK4 = np.array(numbers, np.float64)
            scales = scales_NK4 if self._channels > 1 else scales_NK4[:, 0]
            write_array(self._file, "scale", scales)
        if self._sources != self._cases:
            write_texts(self._file, SOURCE_CASES, self._sources)
        if folds:
            splits_FN = [[SPLITS.index(fold[case]) for case in self._cases] for fold in folds]
            write_array(self._file, FOLDS, np.array(splits_FN, np.uint8))
        named = {} if list(intensities) == [ONE] else {"channels": list(intensities)}
        attributes = {
            "format": DATASET_FORMAT,
            "format_version": DATASET_VERSIONS[-1],
            "name": self._name,
            "class_names": self._class_names,
            **named,
            "intensity": json.dumps(intensities_content(intensities), sort_keys=True),
            "foreground_fraction": self._pixels_C / self._pixels_C.sum(),
            "provenance": json.dumps(provenance, sort_keys=True),
        }
        write_attributes(self._file, attributes)


def write_fold(path: Path | str, slices: Path | str, name: str) -> None:
    """Write the dataset file of another fold than the first: splits of its own, slices by link.

    HDF5 follows external links when it reads, so that the slices are stored once for all folds, and
    both files have to stay in one folder. All else is read as from any dataset file.

    Args:
        path: the HDF5 file to write; it appears whole or not at all.
        slices: the dataset file of the first fold, in the folder of `path`.
        name: the name of the fold, see `labelnoise.folds`.

    Raises:
        InputError: the first fold's file cannot be used, or as DatasetWriter's `finish`.
    """
    fold, slices = fold_of(name), Path(slices)
    with Dataset(slices) as data, h5py.File(slices, "r") as whole:
        if FOLDS not in whole or fold is None or fold >= len(whole[FOLDS]):
            raise InputError(
                f"{slices} does not hold the splits of {name}; delete it and let snakemake make it "
                "again."
            )
        splits = [SPLITS[index] for index in whole[FOLDS][fold]]
        pixels_C = np.zeros(len(data.class_names), np.int64)
        for row, split in enumerate(splits):
            if split == "train":
                pixels_C += class_sizes(data.read_labels([row]), len(pixels_C))
        _check_split(name, data.class_names, splits, pixels_C)
        with whole_file(path) as temporary, create(temporary) as file:
            for key in whole:
                if key not in (FOLDS, "split"):
                    file[key] = h5py.ExternalLink(slices.name, key)
            write_texts(file, "split", splits)
            own = {"name": name, "foreground_fraction": pixels_C / pixels_C.sum()}
            write_attributes(file, read_attributes(whole) | own)


def _check_split(name, class_names, splits, pixels_C):
    """Refuse a split without slices, and a class without pixels in the training split."""
    for split in SPLITS:
        if split not in splits:
            raise InputError(
                f"dataset {name}: no slice is left for the {split} split; add cases that "
                "show the structure, or set `select: all` to keep slices without it."
            )
    for structure, pixels in zip(class_names[1:], pixels_C[1:], strict=True):
        if pixels == 0:
            raise InputError(
                f"dataset {name}: {structure} has no pixel in the training split; check the "
                "masks and the mask values of `classes`, raise `size`, or give the training "
                "split more cases."
            )


@contextmanager
def write_labels(
    path: Path | str,
    *,
    rows: ArrayLike,
    shape: tuple[int, int],
    classes: int,
    draws: int | str,
    **attrs: Any,
) -> Iterator["LabelWriter"]:
    """Yield a LabelWriter; the file appears when the block succeeds and every slice was written.

    Args:
        rows: (M,) rows of the dataset file that get labels.
        shape: (H, W).
        classes: number of classes, background among them.
        draws: how many draws a slice has, or "per_epoch" (then the first is stored).
        attrs: dataset, perturbation, kind (str), seed (int), severities and foreground_fractions
            ({class index: value}); of a kind of the user's own also the digest of its code (str);
            where there are any, the kind's settings, and the errors that it is of, see LabelFile.
    """
    rows_M = np.asarray(rows, np.int64)
    with whole_file(path) as temporary, create(temporary) as file:
        write_array(file, "row", rows_M)
        write_attributes(file, _label_attributes(draws=draws, width=shape[1], **attrs))
        writer = LabelWriter(file, (_stored(draws), len(rows_M), *shape), planes_of(classes))
        yield writer
        writer.finish()


class LabelWriter:
    """Fill an open label file, any slices of any of its `draws` in any order."""

    def __init__(self, file: h5py.File, shape_DMHW: tuple[int, int, int, int], planes: int):
        self._file, self._planes = file, planes
        self.draws, _, *self._shape_2 = shape_DMHW
        self._labels = _create_labels(file, shape_DMHW, planes)
        self._missing_DM = np.ones(shape_DMHW[:2], bool)

    def write(self, draw: int, start: int, labels_NHW: np.ndarray) -> None:
        """Store labels (n, H, W) of a draw for `rows[start : start + n]`.

        Raises:
            ValueError: a label has more bits than class indices have.
        """
        stop = start + len(labels_NHW)
        self._labels[draw, start:stop] = pack(labels_NHW, self._planes)
        self._missing_DM[draw, start:stop] = False

    def write_given(self, name: str, given: "GivenLabels") -> None:
        """Store given labels that these labels are drawn from, by the name of their error."""
        group = self._file.require_group(f"{GIVEN}/{name}")
        write_array(group, "row", given.rows)
        stored = _create_labels(group, (len(given.rows), *self._shape_2), self._planes)
        for place, row in enumerate(given.rows):
            stored[place] = pack(given.read([row]), self._planes)[0]

    def finish(self) -> None:
        """Refuse a file in which a slice is missing: HDF5 would read it as all background."""
        if self._missing_DM.any():
            raise RuntimeError(f"{self._missing_DM.sum()} slices of labels were not written")


class _Reader:
    """What both readers share: a handle that each process opens on first use, and checks."""

    format = ""
    versions: tuple[int, ...] = ()
    keys: tuple[str, ...] = ()

    def __init__(self, path: Path | str):
        self.path = Path(path)
        self._handle: h5py.File | None = None
        self._pid: int | None = None
        if not self.path.is_file():
            raise InputError(f"{self.path} does not exist; let snakemake make it.")
        try:
            file = self._file()
            attrs = self._attributes(file)
            self._check_format(file, attrs)
            self._load(file, attrs)
        # A damaged file fails in many ways inside HDF5, NumPy and JSON; all mean the same here.
        except (OSError, LookupError, RuntimeError, TypeError, AttributeError) as error:
            what = f"it is damaged, truncated or not a {self.format} file ({error})"
            raise self._unusable(what) from None
        except InputError:
            raise
        except ValueError as error:
            raise self._unusable(f"an attribute cannot be read ({error})") from None

    def _attributes(self, file: h5py.File) -> dict[str, Any]:
        try:
            return read_attributes(file)
        except ValueError as error:
            raise self._unusable(error) from None

    def _load(self, file: h5py.File, attrs: Mapping[str, Any]) -> None:
        raise NotImplementedError

    def _file(self):
        # An HDF5 handle must not be shared with a forked DataLoader worker, nor pickled to one.
        if self._handle is None or self._pid != os.getpid():
            self._handle, self._pid = h5py.File(self.path, "r"), os.getpid()
        return self._handle

    def __getstate__(self):
        return self.__dict__ | {"_handle": None, "_pid": None}

    def close(self) -> None:
        """Close this process's handle; the next read opens it again."""
        if self._handle is not None and self._pid == os.getpid():
            self._handle.close()
        self._handle = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()

    def digest(self) -> str:
        """Return the SHA-256 of the file's content, 64 hexadecimal digits.

        The file that holds the slices of a fold is part of it.
        """
        digest = hashlib.sha256()
        for path in [self.path, *dict.fromkeys(filter(None, map(self._linked, self.keys)))]:
            with open(path, "rb") as file:
                hashlib.file_digest(file, lambda: digest)
        return digest.hexdigest()

    def _linked(self, key):
        """Return the file that holds what `key` links to; None if that is in this file."""
        link = self._file().get(key, getlink=True)
        return self.path.parent / link.filename if isinstance(link, h5py.ExternalLink) else None

    def _unusable(self, found):
        return InputError(
            f"{self.path} cannot be used: {found}; delete it and let snakemake make it again."
        )

    def _check_format(self, file, attrs):
        found = attrs.get("format")
        if found != self.format:
            raise self._unusable(f"its format is {found!r}, expected {self.format!r}")
        version = int(attrs["format_version"])
        if version not in self.versions:
            known = " or ".join(map(str, self.versions))
            raise self._unusable(f"its format version is {version}, expected {known}")
        for key in self.keys:
            holder = self._linked(key)
            if holder and not holder.is_file():
                raise self._unusable(f"{holder}, which holds its slices, does not exist")
            if key not in file:
                raise self._unusable(f"it has no /{key}")

    def _check(self, holds, found):
        if not holds:
            raise self._unusable(found)


class Dataset(_Reader):
    """Read a dataset file: images, reference labels, and which case belongs to which split.

    Attributes:
        name: the dataset's name.
        class_names: names of the classes; index 0 is "background".
        channels: names of the images' channels, in their order; "image" where there is one without
            a name.
        intensities: {channel: how its source values became those stored, and new ones can}; see
            `scales`.
        foreground_fraction: share of each class index in the training split.
        provenance: where the data come from.
        shape: (H, W).
        case, slice, split: (N,) of str, int and str.
        spacing: (N, 3), distance of slices, rows and columns in mm, NaN where unknown.

    The file alone knows what the source calls its cases: `source_cases`.

    Raises:
        InputError: the file is missing, truncated, foreign, of another version or inconsistent.
    """

    format = DATASET_FORMAT
    versions = DATASET_VERSIONS
    keys = ("images", "labels", "case", "slice", "split", "spacing")

    def _load(self, file, attrs):
        self.name = str(attrs["name"])
        self.class_names = [str(name) for name in attrs["class_names"]]
        self.foreground_fraction = [float(share) for share in attrs["foreground_fraction"]]
        self.provenance = json.loads(attrs["provenance"])
        self.case, self.split = (file[key].asstr()[:].astype(str) for key in ("case", "split"))
        self.channels = [str(name) for name in attrs.get("channels", [ONE])]
        self.intensities = read_intensities(self.channels, json.loads(attrs["intensity"]))
        self._scales_NK4 = None
        if any(intensity.scale is None for intensity in self.intensities.values()):
            self._scales_NK4 = file["scale"][:]
            if len(self.channels) == 1:
                self._scales_NK4 = self._scales_NK4[:, None]
        self.slice = file["slice"][:].astype(int)
        self.shape = tuple(file["labels"].shape[1:])
        self.spacing = file["spacing"][:]
        self._check_shapes(file)
        self._check_rows()

    def _check_shapes(self, file):
        images, labels = file["images"].shape, file["labels"].shape
        several = (len(self.channels),) if len(self.channels) > 1 else ()
        axes = ", ".join(["N", *map(str, several), "H", "W"])
        self._check(
            len(images) == 3 + len(several), f"/images has shape {images}, expected ({axes})"
        )
        self._check(
            images == (*labels[:1], *several, *labels[1:]),
            f"/images has shape {images} but /labels {labels}",
        )
        for key in ("case", "slice", "split"):
            rows = file[key].shape
            self._check(rows == images[:1], f"/{key} has shape {rows}, expected {images[:1]}")
        expected = (*images[:1], 3)
        found = self.spacing.shape
        self._check(found == expected, f"/spacing has shape {found}, expected {expected}")
        if self._scales_NK4 is not None:
            found, expected = file["scale"].shape, (*images[:1], *several, 4)
            self._check(found == expected, f"/scale has shape {found}, expected {expected}")
        types = (file["images"].dtype, file["labels"].dtype)
        self._check(
            types == (np.float16, np.uint8),
            f"/images and /labels hold {types[0]} and {types[1]}, expected float16 and uint8",
        )

    def _check_rows(self):
        names, shares = self.class_names, self.foreground_fraction
        self._check(
            len(names) == len(shares) > 1 and names[0] == "background",
            f"its classes are {names} with {len(shares)} foreground fractions, expected background "
            "first and one fraction each",
        )
        strange = sorted(set(self.split.tolist()) - set(SPLITS))
        self._check(not strange, f"it has a split {strange[:1]}, expected {', '.join(SPLITS)}")
        split_of = {}
        for case, number, split in zip(self.case, self.slice, self.split, strict=True):
            self._check(
                split_of.setdefault(case, split) == split,
                f"case {case} is in two splits, {split_of[case]} and {split}",
            )
            self._check((case, number) not in split_of, f"slice {number} of case {case} is twice")
            split_of[case, number] = split

    def __len__(self) -> int:
        return len(self.case)

    def rows(self, split: str) -> np.ndarray:
        """Return the rows of a split (train, validation or test), in the order of the file."""
        if split not in SPLITS:
            raise ValueError(f"split is {split!r}, expected one of {SPLITS}")
        return np.flatnonzero(self.split == split)

    def scales(self, row: int) -> list[Scale]:
        """Return how the values of each channel of the case of a row became those stored."""
        if self._scales_NK4 is not None:
            return [
                Scale(*(None if np.isnan(number) else number for number in numbers_4))
                for numbers_4 in self._scales_NK4[row].tolist()
            ]
        scales = [intensity.scale for intensity in self.intensities.values()]
        return [scale for scale in scales if scale is not None]

    def grey(self, images_NKHW: np.ndarray) -> np.ndarray:
        """Return images (n, H, W) as pictures show them: luminance of RGB, else the first channel.

        Args:
            images_NKHW: as stored, see `read`.
        """
        if tuple(self.channels) == RGB:
            return luminance(*np.moveaxis(images_NKHW, 1, 0))
        return images_NKHW[:, 0]

    def source_cases(self) -> dict[str, str]:
        """Return what the source calls each case, such as by patient id: {case: name}."""
        file = self._file()
        names = file[SOURCE_CASES].asstr()[:].tolist() if SOURCE_CASES in file else self.case
        return dict(zip(self.case.tolist(), names, strict=True))

    def read(self, rows: Sequence[int] | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Read slices in the order asked for.

        Args:
            rows: (n,) row numbers, in any order, repeats allowed.

        Returns:
            images_NKHW float32, in [-1, 1] unless the intensity's method is "none"; labels_NHW
            uint8 class indices.
        """
        return self.read_images(rows).astype(np.float32), self.read_labels(rows)

    def read_images(self, rows: Sequence[int] | np.ndarray) -> np.ndarray:
        """Read the images of slices alone, as they are stored: (n, K, H, W), float16."""
        images = self._read("images", rows, np.float16)
        return images.reshape(len(rows), len(self.channels), *self.shape)

    def read_labels(self, rows: Sequence[int] | np.ndarray) -> np.ndarray:
        """Read the reference labels of slices alone, as `read` does."""
        labels_NHW = self._read("labels", rows, np.uint8)
        highest = labels_NHW.max(initial=0)
        self._check(highest < len(self.class_names), f"a label is {highest}, which is not a class")
        return labels_NHW

    def _read(self, key, rows, dtype):
        try:
            stored = self._file()[key]
            slices = np.empty((len(rows), *stored.shape[1:]), dtype)
            for position, row in enumerate(rows):
                slices[position] = stored[row]
        except DAMAGED as error:
            raise self._unusable(f"its slices cannot be read ({error})") from None
        return slices


class LabelFile(_Reader):
    """Read a file of perturbed labels.

    Attributes:
        dataset, perturbation, kind: whose labels they are, and the kind of their error.
        code: digest of the user's own code that drew them, or None.
        draws: number of draws, or "per_epoch".
        stored_draws: how many the file holds.
        seed: the label seed.
        severities, foreground_fractions: {class index: value}.
        settings: the kind's own.
        errors: {name: kind, severities, code and settings} of those that a mixture or consensus is
            of.
        rows: (M,) rows of the dataset file.
        shape: (H, W).
        given: {name of the error: given labels that the file's are drawn from}.

    Raises:
        InputError: the file is missing, truncated, foreign, of another version or inconsistent.
    """

    format = LABEL_FORMAT
    versions = LABEL_VERSIONS
    keys = ("labels", "row")

    def _load(self, file, attrs):
        self.dataset, self.perturbation, self.kind = (
            str(attrs[key]) for key in ("dataset", "perturbation", "kind")
        )
        self.code = str(attrs["code"]) if "code" in attrs else None
        self.draws = "per_epoch" if isinstance(attrs["draws"], str) else int(attrs["draws"])
        self.seed = int(attrs["seed"])
        self.severities = _by_class(attrs["severities"])
        self.foreground_fractions = _by_class(attrs["foreground_fractions"])
        self.settings = json.loads(attrs.get("settings", "{}"))
        self.errors = json.loads(attrs.get("errors", "{}"))
        for error in self.errors.values():
            error["severities"] = _by_index(error["severities"])
        self.rows = file["row"][:]
        shape = file["labels"].shape
        self._width = int(attrs["width"]) if "width" in attrs else None  # None: not packed
        axes = "(D, M, H, W)" if self._width is None else "(D, M, P, H, B)"
        self._check(
            len(shape) == axes.count(",") + 1, f"/labels has shape {shape}, expected {axes}"
        )
        self.stored_draws = shape[0]
        self.shape = tuple(shape[2:]) if self._width is None else (shape[3], self._width)
        self._position = _positions(self.rows)
        self.given = {
            name: GivenLabels(self, group["row"][:], f"{GIVEN}/{name}/labels")
            for name, group in file.get(GIVEN, {}).items()
        }
        expected = (_stored(self.draws), len(self._position))
        self._check(
            shape[:2] == expected and len(self.rows) == len(self._position),
            f"/labels holds {shape[0]} draws of {shape[1]} slices, expected {expected[0]} draws of "
            f"{expected[1]} slices, each row once",
        )

    def check_of(self, data: Dataset) -> None:
        """Refuse labels of another dataset.

        Raises:
            InputError: they are.
        """
        if self.dataset != data.name:
            raise InputError(
                f"{self.path} holds labels of dataset '{self.dataset}', not of '{data.name}'; "
                "delete it and let snakemake make it again."
            )

    def read(self, rows: Sequence[int] | np.ndarray, draw: int) -> np.ndarray:
        """Read the labels of dataset rows in one stored draw, in the order asked for.

        Returns:
            labels_NHW, uint8 class indices.

        Raises:
            InputError: a row of the dataset has no labels here.
            IndexError: the draw is not stored.
        """
        if not 0 <= draw < self.stored_draws:
            raise IndexError(f"draw {draw} of {self.path}, which stores {self.stored_draws}")
        return self.read_stored("labels", self._position, rows, draw)

    def read_stored(
        self,
        key: str,
        positions: Mapping[int, int],
        rows: Sequence[int] | np.ndarray,
        *before: int,
    ) -> np.ndarray:
        """Read the slices of rows from a stack of the file.

        Args:
            key: the stack.
            positions: {row of the dataset: position in it}.
            rows: (n,).
            before: index of the axes before that position.
        """
        labels_NHW = np.empty((len(rows), *self.shape), np.uint8)
        try:
            places = [positions[int(row)] for row in rows]
        except KeyError as error:
            raise self._unusable(f"it has no labels for row {error} of its dataset") from None
        try:
            labels = self._file()[key]
            for position, place in enumerate(places):
                stored = labels[(*before, place)]
                labels_NHW[position] = (
                    stored if self._width is None else unpack(stored, self._width)
                )
        except DAMAGED as error:
            raise self._unusable(f"its slices cannot be read ({error})") from None
        return labels_NHW


class GivenLabels:
    """Labels that are given for some rows of a dataset, as a label file holds them.

    Attributes:
        rows: (M,) rows of the dataset file.
    """

    def __init__(self, file: LabelFile, rows: np.ndarray, key: str, *before: int):
        self.rows = rows
        self._file, self._key, self._before = file, key, before
        self._position = _positions(rows)

    @classmethod
    def of(cls, file: LabelFile) -> Self:
        """Return the labels of a file that `given.prepare_given` wrote."""
        return cls(file, file.rows, "labels", 0)

    def has(self, rows: Sequence[int] | np.ndarray) -> np.ndarray:
        """Return which rows have labels, bool (n,)."""
        return np.array([int(row) in self._position for row in rows], bool)

    def read(self, rows: Sequence[int] | np.ndarray) -> np.ndarray:
        """Return labels_nHW, uint8 class indices, of rows that have some.

        Raises:
            InputError: a row has none, or the file is damaged.
        """
        return self._file.read_stored(self._key, self._position, rows, *self._before)


def _positions(rows):
    return {int(row): position for position, row in enumerate(rows)}


def _stored(draws: int | str) -> int:
    """Return how many draws a file holds; of fresh ones per epoch, the first alone."""
    return draws if isinstance(draws, int) else 1


def _create_labels(group, shape, planes):
    """Create an array of packed labels, given the shape (..., H, W) of the labels."""
    *stack, height, width = shape
    packed = (planes, height, -(-width // 8))
    return group.create_dataset(
        "labels",
        (*stack, *packed),
        np.uint8,
        chunks=(*[1] * len(stack), *packed),
        compression_opts=LABEL_GZIP_LEVEL,
        **STORED,
    )


def _create_stack(file, key, dtype, shape):
    file.create_dataset(
        key,
        (0, *shape),
        dtype,
        maxshape=(None, *shape),
        chunks=(1, *shape),
        compression_opts=GZIP_LEVEL,
        **STORED,
    )


def _pack(values):
    """Return a slice as HDF5 stores it: first bytes of all pixels, then second ones; gzip; sum."""
    pixels = np.ascontiguousarray(values).reshape(-1)
    shuffled = pixels.view(np.uint8).reshape(pixels.size, -1).T
    return with_checksum(zlib.compress(shuffled.tobytes(), GZIP_LEVEL))


def _label_attributes(
    *,
    dataset,
    perturbation,
    kind,
    draws,
    width,
    seed,
    severities,
    foreground_fractions,
    code=None,
    settings=None,
    errors=None,
):
    return {
        "format": LABEL_FORMAT,
        "format_version": LABEL_VERSIONS[-1],
        "width": width,
        "dataset": dataset,
        "perturbation": perturbation,
        "kind": kind,
        **({} if code is None else {"code": code}),
        "draws": draws,
        "seed": str(seed),
        "severities": json.dumps(severities, sort_keys=True),
        "foreground_fractions": json.dumps(foreground_fractions, sort_keys=True),
        **({"settings": json.dumps(settings, sort_keys=True)} if settings else {}),
        # In their order, which decides who has which.
        **({"errors": json.dumps(errors)} if errors else {}),
    }


def _by_class(text):
    return _by_index(json.loads(text))


def _by_index(values):
    return {int(index): value for index, value in values.items()}
