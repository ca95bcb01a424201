"""Drawing the labels of a dataset: whom an error hits, and what of a case its kind acts on.

Shape legend: N slices of a source, n slices asked for, Z consecutive slices of one case, H height,
W width, C cases.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import cycle
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol, Self

import numpy as np

from labelnoise.data.storage import GivenLabels, LabelFile
from labelnoise.labels.consensus import merge
from labelnoise.labels.objects import omission, spurious
from labelnoise.labels.outlines import bias, interpolated, polygon, translation
from labelnoise.labels.perturbations import KeptOutlines, draw_labels
from labelnoise.labels.rater import rater
from labelnoise.labels.volume import Draw, LabelVolume
from labelnoise.seeds import annotator_seed
from labelnoise.study import Perturbation

# What moves outlines: functions of a Volume.
OUTLINE_KINDS: dict[str, Callable[..., np.ndarray]] = {
    "rater": rater,
    "bias": bias,
    "translation": translation,
    "polygon": polygon,
    "interpolated": interpolated,
}
# What adds or removes objects: functions of a LabelVolume.
OBJECT_KINDS: dict[str, Callable[..., np.ndarray]] = {"omission": omission, "spurious": spurious}
# Volumes that were used last are kept up to this size, with what was computed of them.
KEPT_BYTES = 512 * 1024**2
# About that of labels, masks, objects and distances.
BYTES_PER_VOXEL = 16
# Settings of any kind, which its function does not take.
OUTER_SETTINGS = ("share", "share_of", "pixel", "weights")
# Purposes of random numbers that no kind draws.
HIT, CHOSEN = 1001, 1002


class LabelSource(Protocol):
    """What labels are drawn from; `data.storage.Dataset` is one.

    Attributes:
        case, slice, split: (N,) of str, int and str.
        spacing: (N, 3), distance of slices, rows and columns in mm, NaN where unknown.
    """

    case: np.ndarray
    slice: np.ndarray
    split: np.ndarray
    spacing: np.ndarray

    def read_labels(self, rows: Sequence[int] | np.ndarray) -> np.ndarray:
        """Return class indices (n, H, W), uint8."""

    def read(self, rows: Sequence[int] | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return images (n, K, H, W), float32, and class indices (n, H, W), uint8."""

    def grey(self, images_NKHW: np.ndarray) -> np.ndarray:
        """Return images (n, H, W) as pictures show them."""


@dataclass(frozen=True)
class CalibratedError:
    """A label error of known size on one dataset: all that its draws depend on.

    Attributes:
        kind: one of `perturbations.KINDS`, or a function of the user's own.
        severities: {class index: severity} for every class index from 1 on.
        foreground_fractions: {class index: foreground fraction}, used by `random` alone.
        seed: seed of the draws, an integer of at least 0.
        code: digest of the user's own code, or None.
        settings: the kind's own, and `share`, `share_of`; see the schema.
        errors: of a mixture those that cases have, of a consensus those of its annotators, by name.
        given: the labels, of the kind `given`.
    """

    kind: str
    severities: Mapping[int, float]
    foreground_fractions: Mapping[int, float]
    seed: int
    code: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    errors: Mapping[str, "CalibratedError"] = field(default_factory=dict)
    given: GivenLabels | None = None

    @classmethod
    def of(cls, labels: LabelFile) -> Self:
        """Return the error that a label file was drawn with."""
        shared = (labels.foreground_fractions, labels.seed)
        errors = {
            name: cls(
                each["kind"],
                each["severities"],
                *shared,
                each["code"],
                each["settings"],
                given=labels.given.get(name),
            )
            for name, each in labels.errors.items()
        }
        return cls(
            labels.kind,
            labels.severities,
            *shared,
            labels.code,
            labels.settings,
            errors,
            labels.given.get(labels.perturbation),
        )

    @classmethod
    def unsized(
        cls,
        perturbation: Perturbation,
        foreground_fractions: Mapping[int, float],
        seed: int,
        errors: Mapping[str, Self],
        given: Mapping[str, GivenLabels] = MappingProxyType({}),
    ) -> Self:
        """Return an error as it is defined, without severities.

        With the `errors` that it is of, if any; of the kind `given` with its labels, the only ones
        there.
        """
        settings = dict(perturbation.settings)
        if errors:
            del settings["of"]
        code = perturbation.code
        labels = next(iter(given.values())) if perturbation.kind == "given" else None
        about = (foreground_fractions, seed, code, settings, errors, labels)
        return cls(perturbation.kind, {}, *about)

    def attributes(self) -> dict[str, Any]:
        """Return what `data.storage.write_labels` stores of it."""
        kept = ("kind", "severities", "code", "settings")
        return {
            **{key: getattr(self, key) for key in (*kept, "foreground_fractions", "seed")},
            "errors": {
                name: {key: getattr(error, key) for key in kept}
                for name, error in self.errors.items()
            },
        }

    @property
    def is_random(self) -> bool:
        """Whether one draw differs from another."""
        return self.kind not in ("control", "given") or "share" in self.settings

    @property
    def own_settings(self) -> dict[str, Any]:
        """The settings that the kind's function takes."""
        return {key: value for key, value in self.settings.items() if key not in OUTER_SETTINGS}

    @property
    def annotators(self) -> list["CalibratedError"]:
        """Of a consensus, the error of each annotator: in turn those that it is of."""
        if self.kind != "consensus":
            return []
        turns = zip(range(self.settings["annotators"]), cycle(self.errors.values()), strict=False)
        return [replace(part, seed=annotator_seed(part.seed, number)) for number, part in turns]

    @property
    def acts_on_volumes(self) -> bool:
        """Whether the kind takes the slices of a case together."""
        return self.kind in OUTLINE_KINDS or self.kind in OBJECT_KINDS


class Masks(Sequence):
    """One structure's masks of some slices of a source, read one at a time."""

    def __init__(self, source: LabelSource, rows: np.ndarray, class_index: int):
        self.source, self.rows, self.class_index = source, rows, class_index

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, position):
        """Return one slice's mask, (H, W), uint8 in {0, 1}."""
        labels_NHW = self.source.read_labels([self.rows[position]])
        return (labels_NHW[0] == self.class_index).astype(np.uint8)


class Place(NamedTuple):
    """Slices of one volume among those asked for.

    rows_Z: rows of the volume's slices, from its first slice to its last.
    positions_n: of those asked for, in the volume.
    places_n: of these, among the rows asked for.
    """

    rows_Z: np.ndarray
    positions_n: np.ndarray
    places_n: np.ndarray


class Volumes:
    """The volumes that the slices of a source form, those used last kept in memory.

    Slices of a case form a volume where their numbers follow on each other and the distances of
    slices, rows and columns are known and equal; any other slice is a volume of its own.
    """

    def __init__(self, source: LabelSource):
        self.source = source
        self._rows, self._position = _find_volumes(source)
        self._first_of_case: dict[str, int] = {}
        for row, case in enumerate(source.case):
            self._first_of_case.setdefault(case, row)
        self._kept: OrderedDict[tuple, LabelVolume] = OrderedDict()

    def __getstate__(self):
        return self.__dict__ | {"_kept": OrderedDict()}

    def of(self, rows: Sequence[int] | np.ndarray) -> Iterator[Place]:
        """Yield where the rows are, a volume at a time in the order of their first rows."""
        rows_n = np.asarray(rows)
        volume_n = np.array([self._rows[row][0] for row in rows_n.tolist()], int)
        for first in dict.fromkeys(volume_n.tolist()):
            places_n = np.flatnonzero(volume_n == first)
            yield Place(self._rows[first], self._position[rows_n[places_n]], places_n)

    def load(self, rows_Z: np.ndarray, pixel: float = 1.0, images: bool = False) -> LabelVolume:
        """Return the labels of a volume.

        Args:
            rows_Z: the rows of its slices.
            pixel: mm, side of a pixel where the source has no spacing.
            images: whether it shall hold images.
        """
        key = (int(rows_Z[0]), pixel, images)
        if key not in self._kept:
            self._kept[key] = self._read(rows_Z, pixel, images)
        self._kept.move_to_end(key)
        while len(self._kept) > 1 and BYTES_PER_VOXEL * self._voxels() > KEPT_BYTES:
            self._kept.popitem(last=False)
        return self._kept[key]

    def draw_of(self, row: int, seed: int, draw: int) -> Draw:
        """Return where the random numbers of the volume that begins at a row come from."""
        return Draw(seed, draw, row, self._first_of_case[self.source.case[row]])

    def _voxels(self):
        return sum(volume.labels_ZHW.size for volume in self._kept.values())

    def _read(self, rows_Z, pixel, images):
        between, *sides = self.source.spacing[rows_Z[0]].tolist()
        known = not np.isnan(sides).any()
        spacing_3 = (between, *(sides if known else (pixel, pixel)))
        if not images:
            return LabelVolume(self.source.read_labels(rows_Z), spacing_3)
        images_NKHW, labels_ZHW = self.source.read(rows_Z)
        return LabelVolume(labels_ZHW, spacing_3, self.source.grey(images_NKHW))


def _find_volumes(source):
    """Return the rows of each row's volume, from its first slice on, and each row's place there."""
    rows_of: dict[int, np.ndarray] = {}
    position_N = np.zeros(len(source.case), int)
    for case in dict.fromkeys(source.case.tolist()):
        rows = np.flatnonzero(source.case == case)
        rows = rows[np.argsort(source.slice[rows], kind="stable")]
        spacing_n3 = source.spacing[rows]
        follows = np.diff(source.slice[rows]) == 1
        # False where a distance is NaN.
        follows &= (spacing_n3[1:] == spacing_n3[:-1]).all(axis=1)
        for rows_Z in np.split(rows, np.flatnonzero(~follows) + 1):
            position_N[rows_Z] = np.arange(len(rows_Z))
            rows_of |= dict.fromkeys(rows_Z.tolist(), rows_Z)
    return rows_of, position_N


class Drawer:
    """Draw labels of a source with one error: any slice of any draw alone, in any order.

    What is drawn depends on the error's seed, the number of the draw and the slice, of a kind that
    acts on volumes also on the other slices of its volume.
    """

    def __init__(
        self,
        source: LabelSource,
        error: CalibratedError,
        volumes: Volumes | None = None,
        outlines: KeptOutlines | None = None,
    ):
        """Choose source and error.

        Args:
            source: reference labels.
            error: what is drawn.
            volumes: those of the source, to be shared between errors; None finds them when a kind
                acts on volumes.
            outlines: those of the source's slices that are known, to be shared likewise.
        """
        self.source, self.error = source, error
        self._volumes, self._outlines = volumes, outlines or KeptOutlines()
        shared = (volumes, self._outlines)
        self._drawers = {name: Drawer(source, part, *shared) for name, part in error.errors.items()}
        self._annotators = [Drawer(source, part, *shared) for part in error.annotators]

    def labels(
        self,
        rows: Sequence[int] | np.ndarray,
        draw: int,
        reference_nHW: np.ndarray | None = None,
    ) -> np.ndarray:
        """Return the labels of some slices in one draw.

        Args:
            rows: (n,) rows of the source.
            draw: index of the draw, from 0.
            reference_nHW: their reference labels, where they have been read.

        Returns:
            labels_nHW, uint8 class indices, in the order of the rows.

        Raises:
            InputError: see `perturbations.perturb` and the kinds.
        """
        rows_n = np.asarray(rows, int)
        if reference_nHW is None:
            reference_nHW = self.source.read_labels(rows_n)
        labels_nHW = np.array(reference_nHW, np.uint8)
        hit_n = self._hit(rows_n, draw)
        for drawer, among_n in self._chosen(rows_n, draw):
            places = np.flatnonzero(hit_n & among_n)
            if len(places):
                labels_nHW[places] = drawer._draw(rows_n[places], draw, reference_nHW[places])
        return labels_nHW

    def knows(self, rows: Sequence[int] | np.ndarray) -> np.ndarray:
        """Return which rows can be drawn, bool (n,): all, unless given labels lack some."""
        given = [each.error.given for each in (self, *self._drawers.values())]
        known_n = [labels.has(rows) for labels in given if labels is not None]
        return np.logical_and.reduce([np.ones(len(rows), bool), *known_n])

    def _draw(self, rows_n, draw, reference_nHW):
        error = self.error
        if self._annotators:
            drawn_AnHW = [each.labels(rows_n, draw, reference_nHW) for each in self._annotators]
            spacing_n2 = self.source.spacing[rows_n, 1:]
            is_unknown_n1 = np.isnan(spacing_n2).any(axis=1, keepdims=True)
            spacing_n2 = np.where(is_unknown_n1, 1.0, spacing_n2)
            return merge(np.stack(drawn_AnHW), error.settings["by"], spacing_n2)
        if error.given is not None:
            return error.given.read(rows_n)
        if not error.acts_on_volumes:
            return draw_labels(
                reference_nHW,
                error.kind,
                error.severities,
                error.foreground_fractions,
                error.seed,
                draw,
                rows_n,
                error.code,
                self._outlines,
            )
        if self._volumes is None:
            self._volumes = Volumes(self.source)
        volumes, images = self._volumes, error.settings.get("where") == "intensity"
        pixel = error.settings.get("pixel", 1.0)
        labels_nHW = np.empty_like(reference_nHW)
        for rows_Z, positions_n, places_n in volumes.of(rows_n):
            labels_nHW[places_n] = draw_volume(
                volumes.load(rows_Z, pixel, images),
                error.kind,
                error.severities,
                volumes.draw_of(int(rows_Z[0]), error.seed, draw),
                positions_n,
                error.own_settings,
            )
        return labels_nHW

    def _hit(self, rows_n, draw):
        """Return which rows the error hits, (n,) of bool."""
        share = self.error.settings.get("share", 1.0)
        if share == 1:
            return np.ones(len(rows_n), bool)
        units_N = np.arange(len(self.source.case))
        if self.error.settings["share_of"] == "cases":
            units_N = np.unique(self.source.case, return_inverse=True)[1]
        return self._spread(units_N, draw, HIT)[rows_n] < share

    def _chosen(self, rows_n, draw):
        """Yield who draws, and for which of the rows: of a mixture, the errors of the cases."""
        if self.error.kind != "mixture":
            yield self, np.ones(len(rows_n), bool)
            return
        weights = self.error.settings["weights"] or [1] * len(self._drawers)
        ends = np.cumsum(weights)[:-1] / np.sum(weights)
        cases_N = np.unique(self.source.case, return_inverse=True)[1]
        chosen_n = np.searchsorted(ends, self._spread(cases_N, draw, CHOSEN)[rows_n], side="right")
        for number, drawer in enumerate(self._drawers.values()):
            yield drawer, chosen_n == number

    def _spread(self, units_N, draw, purpose):
        """Give each unit (case or slice) of each split a number, spread evenly over [0, 1).

        In each split the numbers are u / n, (u + 1) / n ... in an order drawn by chance, so that a
        share of s hits s n units, give or take the one that makes it s n on average.
        """
        spread_N = np.empty(len(units_N))
        for number, split in enumerate(sorted(set(self.source.split.tolist()))):
            rows = np.flatnonzero(self.source.split == split)
            units, unit_of_row = np.unique(units_N[rows], return_inverse=True)
            rng = Draw(self.error.seed, draw, number, number).of_volume(purpose)
            order = rng.permutation(len(units))
            spread_N[rows] = ((order + rng.random()) / len(units))[unit_of_row]
        return spread_N


def draw_volume(
    volume: LabelVolume,
    kind: str,
    severities: Mapping[int, float],
    draw: Draw,
    wanted: Sequence[int] | np.ndarray,
    settings: Mapping[str, Any],
) -> np.ndarray:
    """Draw some slices of a volume with a kind that acts on volumes.

    A kind that moves outlines moves those of the nested volumes `LabelVolume.union`, all by the
    same random numbers, and a pixel goes to the highest class index that claims it and that is near
    enough, see `LabelVolume.own`: structures that touch keep their common outline, wherever it
    goes, and such that do not touch have nothing to do with each other.

    Args:
        volume: reference labels.
        kind: a key of OUTLINE_KINDS or OBJECT_KINDS.
        severities: {class index: severity} for every class index from 1 on.
        draw: where random numbers come from.
        wanted: positions of n slices in the volume.
        settings: the kind's own.

    Returns:
        labels_nHW, uint8 class indices.
    """
    if kind in OBJECT_KINDS:
        return OBJECT_KINDS[kind](volume, severities, draw, wanted, **settings)
    move = partial(OUTLINE_KINDS[kind], draw=draw, wanted=wanted, **settings)
    labels_nHW = np.zeros((len(wanted), *volume.labels_ZHW.shape[1:]), np.uint8)
    if kind == "translation":  # structures keep their shape, so each moves as it is
        for index in sorted(severities):
            labels_nHW[move(volume.structure(index), severities[index])] = index
        return labels_nHW
    for index in sorted(severities, reverse=True):
        union = volume.union(index)
        if union.box is not None:
            claimed_nHW = move(union, severities[index]) & (labels_nHW == 0)
            labels_nHW[volume.own(index, claimed_nHW, wanted)] = index
    return labels_nHW


def without_share(error: CalibratedError) -> CalibratedError:
    """Return the error as it is where it hits."""
    shares = ("share", "share_of")
    settings = {key: value for key, value in error.settings.items() if key not in shares}
    return replace(error, settings=settings)
