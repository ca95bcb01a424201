"""Wrong labels of given ones: the kinds of label error for arrays of any program.

A study calibrates a severity on many draws, so that it is a property of its dataset. Here it is
solved on the draw that is returned, whose label Dice then is what was asked for. Shape legend: Z
slices of one array, n slices asked for, H height, W width.
"""

import difflib
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from labelnoise.config.messages import Naming, shown
from labelnoise.config.schema import canonical_part, check_part, part_keys
from labelnoise.data.sources.label_values import ranges, to_class_indices
from labelnoise.errors import InputError
from labelnoise.labels.calibration import (
    TOLERANCE,
    Part,
    Trial,
    flip_probability,
    most_severity,
    naming,
    solve,
)
from labelnoise.labels.drawing import (
    BYTES_PER_VOXEL,
    KEPT_BYTES,
    OBJECT_KINDS,
    OUTLINE_KINDS,
    CalibratedError,
    Drawer,
    Volumes,
)
from labelnoise.study import Perturbation

SLICE_KINDS = ("natural", "choppy", "random")
KINDS = (*SLICE_KINDS, *OUTLINE_KINDS, *OBJECT_KINDS)
MOST_STRUCTURES = 255
# Of a larger set, severities are solved on evenly spaced cases with about this many slices.
MOST_SLICES = 2000
# Largest accepted difference between achieved and wanted label Dice. It has steps on few slices,
# under some kinds.
ACCEPTED = 0.02
# What an entry of the config's `perturbations` has beside the settings of its kind.
NO_SETTINGS = ("kind", "target_dice", "severity", "draws")
# Values below this are counted in a table.
LARGEST_IN_TABLE = 2**16


def perturb(
    labels: ArrayLike,
    kind: str,
    dice: float | None = None,
    severity: float | None = None,
    spacing: Sequence[float] | None = None,
    seed: int = 0,
    images: ArrayLike | None = None,
    draw: int = 0,
    ignore: Collection[int] = (),
    **settings: Any,
) -> np.ndarray:
    """Return labels with an error, of the size of a label Dice or a severity.

    Every value but 0 is a structure. The error of each has the label Dice in this very draw, to
    0.002; where label Dice has steps, as under `polygon`, to 0.02; under `random` on average. That
    takes some ten times as long as a severity does.

    Args:
        labels: whole numbers of at least 0, or truth values: (Z, H, W) consecutive slices of one
            case, or (H, W) one slice.
        kind: one of KINDS.
        dice: wanted label Dice of each structure, in (0, 1]; or
        severity: the kind's own parameter, the same for each structure; see the schema of the
            config, `perturbation`.
        spacing: mm between slices, rows and columns, or of one slice between rows and columns.
            Without it slices are perturbed one by one, on pixels of the setting `pixel`, 1 mm. So
            they are where the first of three is NaN.
        seed: an integer of at least 0. Equal seeds give equal labels.
        images: the shape of labels, finite numbers, for `spurious` with where="intensity".
        draw: index of the draw; another one gives an independent error.
        ignore: values that nobody annotated, left as they are.
        settings: those of the kind, as in the config, such as bias_share=1 for `rater`.

    Returns:
        A new array of the shape, type and values of labels.

    Raises:
        InputError: an argument is none of these, or the kind cannot reach the label Dice here.
    """
    error = define_error(kind, dice, severity, settings)
    array, seed, draw = _check_labels(labels), check_whole("seed", seed), check_whole("draw", draw)
    labels_ZHW = array if array.ndim == 3 else array[None]
    spacing_3 = check_spacing(spacing, array.ndim)
    found = count_values(labels_ZHW, "the labels")
    structures = number_values(found, ignore)
    if not structures and dice is not None:
        raise InputError(
            "the labels hold no structure, so their label Dice is not defined; give labels with a "
            "structure, or a severity."
        )
    images_ZHW = _check_images(images, array)
    if images_ZHW is None:
        check_no_images(error)
    reference = Reference.of(labels_ZHW, structures, spacing_3, images_ZHW, ignore)
    subject = Subject("the labels", seed, lambda: reference, found, array.size)
    generator = Generator([subject], structures, error, draw)
    wrong_ZHW = generator.labels(subject, generator.severities())
    return reference.restore(wrong_ZHW, structures, labels_ZHW).reshape(array.shape)


def define_error(
    kind: str, dice: float | None, severity: float | None, settings: Mapping[str, Any]
) -> Perturbation:
    """Return the definition of an error, checked and completed by the schema of the config.

    Raises:
        InputError: kind, size or a setting is unknown or out of range.
    """
    if kind not in KINDS:
        close = difflib.get_close_matches(str(kind), KINDS, 1)
        hint = f"; did you mean {close[0]!r}?" if close else "."
        raise InputError(f"the kind is {shown(kind)}, expected one of {', '.join(KINDS)}{hint}")
    if (dice is None) == (severity is None):
        found = "both dice and severity" if severity is not None else "neither dice nor severity"
        raise InputError(f"{found} are given, the size of the error; give one of the two.")
    size = {"target_dice": dice} if severity is None else {"severity": _plain(severity)}
    if dice is not None and not (_is_number(dice) and 0 < dice <= 1):
        raise InputError(f"dice is {shown(dice)}, expected a number above 0 and at most 1.")
    size = {name: _plain(value) for name, value in size.items()}
    known = [key for key in part_keys({"kind": kind}, "perturbation") if key not in NO_SETTINGS]
    for name in settings:
        if name not in known:
            close = difflib.get_close_matches(name, known, 1)
            hint = f"did you mean {close[0]!r}?" if close else f"it takes {', '.join(known)}."
            raise InputError(f"{kind} has no setting {name!r}; {hint}")
    given = {name: _plain(value) for name, value in settings.items()}
    entry = {"kind": kind, **size, **given}
    check_part(entry, "perturbation", Naming("the setting", kind))
    if kind == "random" and entry.get("severity", 0) > 1:
        raise InputError(
            f"the setting 'severity' is {severity}; for random it is a probability, expected a "
            "number <= 1."
        )
    return Perturbation.of(canonical_part(entry, "perturbation"))


def check_whole(name: str, value: object) -> int:
    """Return a number as an int.

    Raises:
        InputError: it is no whole number, or negative.
    """
    if isinstance(value, bool) or not isinstance(value, Integral) or value < 0:
        raise InputError(f"the {name} is {shown(value)}, expected a whole number of at least 0.")
    return int(value)


def check_spacing(spacing: Sequence[float] | None, axes: int) -> np.ndarray:
    """Return mm between slices, rows and columns, float64, NaN where unknown.

    Args:
        spacing: one number for each axis, or None.
        axes: 2 or 3.

    Raises:
        InputError: they are not positive numbers, or not as many as axes; that of slices may be
            NaN.
    """
    if spacing is None:
        return np.full(3, np.nan)
    try:
        given = np.asarray(spacing, np.float64)
    except (TypeError, ValueError):
        given = np.empty(0)
    names = ("slices", "rows", "columns")[-axes:]
    known = given if axes == 2 or given.shape != (3,) or not np.isnan(given[0]) else given[1:]
    if given.shape != (axes,) or not ((known > 0) & np.isfinite(known)).all():
        raise InputError(
            f"the spacing is {shown(spacing)}, expected {axes} positive numbers, the mm between "
            f"{', '.join(names[:-1])} and {names[-1]}."
        )
    return np.array([np.nan, *given][-3:])


def needs_images(error: Perturbation) -> bool:
    """Return whether an error looks at the images of its labels."""
    return error.settings.get("where") == "intensity"


def check_no_images(error: Perturbation) -> None:
    """Refuse an error that looks at images, where there are none.

    Raises:
        InputError: so it does.
    """
    if needs_images(error):
        raise InputError(
            "the setting 'where' is intensity, but the labels come without images; give these, or "
            "where anywhere."
        )


def count_values(labels_ZHW: np.ndarray, where: str) -> dict[int, tuple[int, int]]:
    """Return {value: (slices that hold it, pixels)} of the values but 0, in their order.

    Args:
        labels_ZHW: whole numbers or truth values.
        where: what they are, for messages.

    Raises:
        InputError: a value is negative.
    """
    found: dict[int, tuple[int, int]] = {}
    for labels_HW in labels_ZHW:
        if labels_HW.min() < 0:
            raise InputError(
                f"{where}: the value {labels_HW.min()} is negative, expected label values of at "
                "least 0; check that these are labels and not an image."
            )
        if labels_HW.max() < LARGEST_IN_TABLE:
            pixels = np.bincount(labels_HW.astype(np.intp, copy=False).ravel())
            values = np.flatnonzero(pixels)
            counts = zip(values.tolist(), pixels[values].tolist(), strict=True)
        else:
            values, pixels = np.unique(labels_HW, return_counts=True)
            counts = zip(values.tolist(), pixels.tolist(), strict=True)
        for value, number in counts:
            if value:
                slices, before = found.get(value, (0, 0))
                found[value] = (slices + 1, before + number)
    return dict(sorted(found.items()))


def number_values(values: Iterable[int], ignore: Collection[int] = ()) -> dict[int, int]:
    """Return {class index: value} of label values, in their order.

    Args:
        values: all that occur.
        ignore: those that are no structure.

    Raises:
        InputError: there are too many, or `ignore` holds what is no label value.
    """
    for value in ignore:
        check_whole("value to ignore", value)
    kept = sorted(set(values) - {0, *ignore})
    if len(kept) > MOST_STRUCTURES:
        raise InputError(
            f"the labels hold {len(kept)} structures ({ranges(kept[:3])} ...), expected at most "
            f"{MOST_STRUCTURES}; check that these are labels and not an image."
        )
    return dict(enumerate(kept, start=1))


@dataclass(frozen=True)
class Reference:
    """Labels of one case as a source of slices, see `drawing.LabelSource`.

    Attributes:
        labels_ZHW: class indices, uint8.
        spacing_3: mm between slices, rows and columns, NaN where unknown.
        images_ZHW: float32, or None.
        ignored_ZHW: where nobody annotated, or None.
    """

    labels_ZHW: np.ndarray
    spacing_3: np.ndarray
    images_ZHW: np.ndarray | None = None
    ignored_ZHW: np.ndarray | None = None

    @classmethod
    def of(
        cls,
        values_ZHW: np.ndarray,
        structures: Mapping[int, int],
        spacing_3: np.ndarray,
        images_ZHW: np.ndarray | None = None,
        ignore: Collection[int] = (),
    ) -> "Reference":
        """Return what label values of these structures, {class index: value}, mean."""
        classes = {str(value): [value] for value in structures.values()}
        labels_ZHW = to_class_indices(values_ZHW, classes, "the labels", ignore)
        ignored_ZHW = np.isin(values_ZHW, list(ignore)) if ignore else None
        return cls(np.ascontiguousarray(labels_ZHW), spacing_3, images_ZHW, ignored_ZHW)

    def restore(
        self, wrong_ZHW: np.ndarray, structures: Mapping[int, int], values_ZHW: np.ndarray
    ) -> np.ndarray:
        """Return the label values of class indices; what is ignored has those that it had."""
        table = np.array([0, *structures.values()]).astype(values_ZHW.dtype)
        restored_ZHW = table[wrong_ZHW]
        if self.ignored_ZHW is not None:
            np.copyto(restored_ZHW, values_ZHW, where=self.ignored_ZHW)
        return restored_ZHW

    @cached_property
    def case(self) -> np.ndarray:
        """One name for all slices, (Z,)."""
        return np.full(len(self.labels_ZHW), "case")

    @property
    def split(self) -> np.ndarray:
        """All slices are of one split, (Z,)."""
        return self.case

    @cached_property
    def slice(self) -> np.ndarray:
        """Numbers of the slices, (Z,)."""
        return np.arange(len(self.labels_ZHW))

    @cached_property
    def spacing(self) -> np.ndarray:
        """The spacing of each slice, (Z, 3)."""
        return np.tile(self.spacing_3, (len(self.labels_ZHW), 1))

    def read_labels(self, rows: Sequence[int] | np.ndarray) -> np.ndarray:
        """Return class indices (n, H, W)."""
        return self.labels_ZHW[np.asarray(rows, int)]

    def read(self, rows: Sequence[int] | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return images (n, 1, H, W) and class indices (n, H, W)."""
        if self.images_ZHW is None:
            raise ValueError("labels without images")
        return self.images_ZHW[np.asarray(rows, int), None], self.read_labels(rows)

    def grey(self, images_n1HW: np.ndarray) -> np.ndarray:
        """Return images (n, H, W)."""
        return images_n1HW[:, 0]


@dataclass(frozen=True)
class Subject:
    """One case of a set, read when it is needed.

    Attributes:
        name: what it is called.
        seed: of its draws.
        read: returns it.
        found: {value: (slices that hold it, pixels)}.
        pixels: those of all its slices.
    """

    name: str
    seed: int
    read: Callable[[], Reference]
    found: Mapping[int, tuple[int, int]]
    pixels: int


class Generator:
    """Draws of one error on a set of cases, which share its severity for each structure."""

    def __init__(
        self,
        subjects: Sequence[Subject],
        structures: Mapping[int, int],
        error: Perturbation,
        draw: int = 0,
        names: Mapping[int, str] | None = None,
    ):
        """Choose what is drawn.

        Args:
            subjects: the cases.
            structures: {class index: label value} of all of them.
            error: see `define_error`.
            draw: index of the draw.
            names: {label value: name}, for messages.
        """
        self.subjects, self.structures, self.error, self.draw = subjects, structures, error, draw
        self.names = names or {}
        size = max(sum(subject.pixels for subject in subjects), 1)
        self._fractions = {
            index: sum(subject.found.get(value, (0, 0))[1] for subject in subjects) / size
            for index, value in structures.items()
        }
        self._open: OrderedDict[int, tuple[Reference, Volumes]] = OrderedDict()

    def severities(self) -> dict[int, float]:
        """Return the severity of each structure, {class index: severity}.

        Raises:
            InputError: the kind cannot reach the label Dice; the message names the structure.
        """
        if self.error.severity is not None:
            return dict.fromkeys(self.structures, self.error.severity)
        severities: dict[int, float] = {}
        if self.error.kind in SLICE_KINDS:
            # These draw the structures of a slice one after the other, so those that are not solved
            # yet need some severity.
            severities = dict.fromkeys(self.structures, 1.0)
        for index in sorted(self.structures, reverse=True):
            with naming(self.name_of(index)):
                severities[index] = self._solve(index, severities)
        return severities

    def name_of(self, index: int) -> str:
        """Return what messages call a structure."""
        value = self.structures[index]
        return self.names.get(value, f"value {value}")

    def labels(self, subject: Subject, severities: Mapping[int, float]) -> np.ndarray:
        """Return the wrong labels of a case, class indices (Z, H, W), uint8; 0 where ignored."""
        reference, volumes = self._opened(subject)
        error = CalibratedError(
            self.error.kind,
            dict(severities),
            self._fractions,
            subject.seed,
            settings=self.error.settings,
        )
        rows = np.arange(len(reference.labels_ZHW))
        wrong_ZHW = Drawer(reference, error, volumes).labels(rows, self.draw)
        if reference.ignored_ZHW is not None:
            wrong_ZHW[reference.ignored_ZHW] = 0
        return wrong_ZHW

    def reference(self, subject: Subject) -> Reference:
        """Return a case, read again only where it was not used lately."""
        return self._opened(subject)[0]

    def _solve(self, index, severities):
        error, target = self.error, self.error.target_dice
        assert target is not None  # else there is a severity
        if target == 1:
            return 0.0
        if error.kind == "random":
            share = error.settings.get("share", 1.0)
            return flip_probability(target, self._fractions[index], 1.0, share)
        parts: list[Part] = [
            _Part(self, subject, index, severities) for subject in self._chosen(index)
        ]
        most = most_severity(error)
        return solve(Trial(error.kind, parts, 1), target, TOLERANCE, most=most, accepted=ACCEPTED)

    def _chosen(self, index):
        """Return evenly spaced ones of the cases that hold a structure."""
        value = self.structures[index]
        holding = [subject for subject in self.subjects if value in subject.found]
        slices = sum(subject.found[value][0] for subject in holding)
        number = max(1, round(len(holding) * min(1.0, MOST_SLICES / slices)))
        places = np.linspace(0, len(holding) - 1, number).round().astype(int)
        return [holding[place] for place in places]

    def _opened(self, subject):
        key = id(subject)
        if key not in self._open:
            reference = subject.read()
            self._open[key] = (reference, Volumes(reference))
        self._open.move_to_end(key)
        while len(self._open) > 1 and BYTES_PER_VOXEL * self._voxels() > KEPT_BYTES:
            self._open.popitem(last=False)
        return self._open[key]

    def _voxels(self):
        return sum(reference.labels_ZHW.size for reference, _ in self._open.values())


@dataclass(frozen=True)
class _Part:
    """One structure of a case, see `calibration.Part`; there is one draw, the generator's."""

    generator: Generator
    subject: Subject
    index: int
    severities: dict[int, float]

    @property
    def masks(self) -> Sequence[np.ndarray]:
        """The reference masks (H, W)."""
        labels_ZHW = self.generator.reference(self.subject).labels_ZHW
        return [(labels_HW == self.index).view(np.uint8) for labels_HW in labels_ZHW]

    def perturbed(self, severity: float, draw: int) -> np.ndarray:
        """Return wrong masks (Z, H, W), whatever the draw."""
        severities = {**self.severities, self.index: severity}
        return (self.generator.labels(self.subject, severities) == self.index).view(np.uint8)


def _check_labels(labels):
    """Return labels as an array of two or three axes."""
    try:
        array = np.asarray(labels)
    except ValueError:
        array = np.empty(0, object)
    if array.dtype.kind not in "bui":
        found = type(labels).__name__ if array.dtype == object else array.dtype
        mend = "; round them, as with labels.astype(np.uint8)." if array.dtype.kind == "f" else "."
        raise InputError(
            f"the labels are of type {found}, expected an array of whole numbers or truth values"
            f"{mend}"
        )
    if array.ndim not in (2, 3) or array.size == 0:
        raise InputError(
            f"the labels have shape {array.shape}, expected (height, width) or (slices, height, "
            "width), none of them 0; drop or reorder axes."
        )
    return array


def _check_images(images, array):
    """Return images (Z, H, W), float32, or None."""
    if images is None:
        return None
    try:
        given = np.asarray(images)
    except ValueError:
        given = np.empty(0, object)
    if given.dtype.kind not in "buif" or given.shape != array.shape:
        raise InputError(
            f"the images are of type {given.dtype} and shape {given.shape}, expected numbers of "
            f"the labels' shape {array.shape}."
        )
    if not np.isfinite(given).all():
        raise InputError("the images hold NaN or infinity, expected finite numbers.")
    return given.reshape(-1, *array.shape[-2:]).astype(np.float32)


def _is_number(value):
    return isinstance(value, (int, float, np.number)) and not isinstance(value, bool)


def _plain(value):
    """Return a value in built-in types, as YAML has them."""
    if isinstance(value, np.generic):
        return value.item()
    return [_plain(item) for item in value] if isinstance(value, tuple) else value
