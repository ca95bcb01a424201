"""Slices on the grid on which they are stored: padded or cut, resampled, labels with them.

Shape legend: S slices, H height, W width in pixels, C classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np
from scipy.sparse import csr_array

from labelnoise.errors import InputError

# Share by which both sides of a pixel may differ and still count as equal. Headers round.
SQUARE = 1e-3
# As the schema has it for `size`.
LARGEST = 4096
# Rounds in which structures that touch compete for pixels. A few are enough for some structures.
ROUNDS = 20


@dataclass(frozen=True)
class Axis:
    """Rows or columns of a slice, resampled: `new` equal pixels over `covered` old ones.

    Attributes:
        old: pixels of the source.
        new: pixels stored.
        pads: old pixels of padding before and after.
        start: where the first new pixel begins, in old pixels of the padded axis.
        covered: how many old pixels the new ones cover together, not always a whole number.
    """

    old: int
    new: int
    pads: tuple[int, int]
    start: float
    covered: float

    @property
    def step(self) -> float:
        """Old pixels in a new one."""
        return self.covered / self.new

    def overlap(self) -> np.ndarray:
        """Return the share of each pixel of the source, (old,), that the new ones cover."""
        edges = np.arange(self.old + 1) + self.pads[0]
        return np.diff(np.clip(edges, self.start, self.start + self.covered))

    def weights(self) -> csr_array:
        """Return the weights (new, padded old) of the resampling; every row sums to 1.

        The mean over the area of a new pixel, or linear between centres where pixels get finer.
        """
        old, new = self.old + sum(self.pads), self.new
        begin = np.arange(new) * self.covered / new + self.start
        if new <= self.covered:
            # The weight of an old pixel is the length that it shares with the new one.
            end = (np.arange(new) + 1) * self.covered / new + self.start
            low = np.maximum(begin[:, None], np.arange(old)[None])
            high = np.minimum(end[:, None], np.arange(old)[None] + 1)
            shared = np.clip(high - low, 0, None) * new / self.covered
            return csr_array(shared)
        middle = (np.arange(new) + 0.5) * self.covered / new + self.start
        centre = np.clip(middle - 0.5, 0, old - 1)
        return csr_array(np.clip(1 - np.abs(centre[:, None] - np.arange(old)[None]), 0, None))

    def inverse_weights(self) -> csr_array:
        """Return the weights (old, new) of the way back; rows sum to 1, or to 0 where unseen.

        Linear between the centres of new pixels, or their mean over the area of an old one where
        they are finer. Old pixels whose centre no new one covers are unseen, see `seen`.
        """
        ends, places = self._ends(), np.arange(self.new)[None]
        if self.step < 1:
            low = np.maximum(ends[:-1, None], places)
            high = np.minimum(ends[1:, None], places + 1)
            weights = np.clip(high - low, 0, None)
            weights /= np.maximum(weights.sum(axis=1, keepdims=True), 1e-12)
        else:
            centre = np.clip((ends[:-1] + ends[1:] - 1) / 2, 0, self.new - 1)
            weights = np.clip(1 - np.abs(centre[:, None] - places), 0, None)
        return csr_array(weights * self.seen()[:, None])

    def seen(self) -> np.ndarray:
        """Return for each pixel of the source whether new pixels cover its centre, bool (old,)."""
        ends = self._ends()
        middle = (ends[:-1] + ends[1:]) / 2
        return (middle >= 0) & (middle <= self.new)

    def _ends(self):
        """Return where old pixels begin and the last one ends, in new pixels, (old + 1,)."""
        return (np.arange(self.old + 1) + self.pads[0] - self.start) / self.step


@dataclass(frozen=True)
class Grid:
    """Where the pixels of stored slices lie on those of the source."""

    rows: Axis
    columns: Axis

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the stored slices."""
        return self.rows.new, self.columns.new

    @property
    def source_shape(self) -> tuple[int, int]:
        """Height and width of the source's slices."""
        return self.rows.old, self.columns.old

    @property
    def resamples(self) -> bool:
        """Whether stored pixels are others than the source's."""
        return self != fit_grid(self.source_shape)

    @property
    def share_seen(self) -> float:
        """The share of the source's pixels that stored ones cover."""
        return float(self.rows.seen().mean() * self.columns.seen().mean())

    def spacing(self, spacing_3: Sequence[float] | np.ndarray | None) -> np.ndarray:
        """Return the spacing of slices, rows and columns as stored, float32, NaN where unknown."""
        if spacing_3 is None:
            return np.full(3, np.nan, np.float32)
        return (np.asarray(spacing_3) * [1, self.rows.step, self.columns.step]).astype(np.float32)

    def pad(self, stack_SHW: np.ndarray, value: float) -> np.ndarray:
        """Pad slices to what the stored pixels cover."""
        if not any((*self.rows.pads, *self.columns.pads)):
            return stack_SHW
        return np.pad(stack_SHW, ((0, 0), self.rows.pads, self.columns.pads), constant_values=value)


def fit_grid(
    shape_HW: tuple[int, int],
    spacing_3: Sequence[float] | np.ndarray | None = None,
    size: int | None = None,
    pixel_mm: Sequence[float] | None = None,
) -> Grid:
    """Return the grid on which slices are stored.

    With neither size nor pixel_mm it is the source's. With a size, slices are padded to a square
    before they are resampled: in mm where the source's pixels are known not to be square, so that
    stored pixels are. With pixel_mm, slices are resampled to these pixels around their centre; the
    ends move by less than half a stored pixel. With both, they are then padded or cut around the
    centre.

    Args:
        shape_HW: height and width of the source's slices.
        spacing_3: mm between slices, rows and columns; None or NaN where unknown.
        size: pixels along each side, or None.
        pixel_mm: mm between rows and between columns, or None.

    Raises:
        InputError: pixel_mm is given but the spacing is unknown, or slices become too large.
    """
    sides = np.full(2, np.nan) if spacing_3 is None else np.asarray(spacing_3, float)[1:]
    known = bool((np.isfinite(sides) & (sides > 0)).all())
    if pixel_mm is None:
        if size is None:
            return Grid(*(Axis(old, old, (0, 0), 0.0, old) for old in shape_HW))
        if not known or max(sides) <= min(sides) * (1 + SQUARE):
            return Grid(*(_squared(old, max(shape_HW), size) for old in shape_HW))
        pixel_mm = [float(max(sides * shape_HW)) / size] * 2
    elif not known:
        raise InputError(
            "the spacing of rows and columns is unknown, but `spacing` needs it; leave `spacing` "
            "out, or give the source's files with their spacing."
        )
    steps = [float(mm / side) for mm, side in zip(pixel_mm, sides, strict=True)]
    return Grid(*(_centred(old, step, size) for old, step in zip(shape_HW, steps, strict=True)))


def _squared(old, side, size):
    # An odd remainder of the padding goes to the end.
    before = (side - old) // 2
    return Axis(old, size, (before, side - old - before), 0.0, side)


def _centred(old, step, size):
    """Return an axis of pixels of `step` old ones around its centre; as many as fit, or `size`."""
    new = size or max(1, round(old / step))
    if new > LARGEST:
        raise InputError(
            f"`spacing` makes {new} pixels of {old} along a side, expected at most {LARGEST}; give "
            "a coarser `spacing`."
        )
    covered = new * step
    # Rounded, as 1e-16 of a pixel needs no padding.
    start = round((old - covered) / 2, 9)
    pads = (ceil(max(0.0, -start)), ceil(round(max(0.0, start + covered - old), 9)))
    return Axis(old, new, pads, start + pads[0], covered)


def resize_images(images_SHW: np.ndarray, grid: Grid, padding: float = -1) -> np.ndarray:
    """Resample images: the mean over the area of a stored pixel, linear where pixels get finer.

    Area means do not alias, and keep the mean of the image. The result is float32.

    Args:
        padding: the value of what lies beyond the source's slices.
    """
    rows, columns = grid.rows.weights(), grid.columns.weights()
    resized = [_resize(image_HW, rows, columns) for image_HW in grid.pad(images_SHW, padding)]
    return np.array(resized, np.float32).reshape(-1, *grid.shape)


def restore_probabilities(probabilities_SCHW: np.ndarray, grid: Grid) -> np.ndarray:
    """Bring class probabilities from stored slices back to the pixels of the source's.

    What was padded is cut off. A pixel beyond what the stored slices cover is background, class 0.

    Args:
        probabilities_SCHW: of stored slices; they sum to 1 over the classes.

    Returns:
        (S, C, H, W), float32, of the source's height and width; the same array where both grids
        are one.
    """
    if not grid.resamples:
        return probabilities_SCHW
    rows, columns = grid.rows.inverse_weights(), grid.columns.inverse_weights()
    shape = (*probabilities_SCHW.shape[:2], *grid.source_shape)
    restored_SCHW = np.empty(shape, np.float32)
    for maps_CHW, restored_CHW in zip(probabilities_SCHW, restored_SCHW, strict=True):
        for map_HW, restored_HW in zip(maps_CHW, restored_CHW, strict=True):
            restored_HW[...] = _resize(map_HW, rows, columns)
    restored_SCHW[:, 0, ~np.outer(grid.rows.seen(), grid.columns.seen())] = 1
    return restored_SCHW


def resize_labels(labels_SHW: np.ndarray, grid: Grid, rule: str = "area") -> np.ndarray:
    """Resample labels; the shares that classes have in a new pixel are their resampled maps.

    `area`: in every slice, each structure gets as many pixels as its area comes to, rounded, and
    those of which it covers most. So volumes keep, whatever the size, and a structure survives from
    half a new pixel on; what is thinner than a pixel becomes dashes, of pixels that spread evenly
    where shares are equal. Where several structures compete for the same pixels, an area may end a
    pixel or a few off.

    `majority`: each new pixel gets the class that covers most of its area, of equal shares the
    higher index. It is as good for what is wider than some pixels, but drops what is thinner: a
    structure that covers less than half of every new pixel vanishes.

    Args:
        labels_SHW: class indices, uint8; 0 is background, and so is what lies beyond the slices.
    """
    assign = {"area": _keep_areas, "majority": _take_largest}[rule]
    rows, columns = grid.rows.weights(), grid.columns.weights()
    resized_SHW = np.zeros((len(labels_SHW), *grid.shape), np.uint8)
    for labels_HW, resized_HW in zip(grid.pad(labels_SHW, 0), resized_SHW, strict=True):
        indices = np.unique(labels_HW).tolist()
        # Rounded, so that equal shares are equal whatever the order of a sum.
        shares_CHW = [_resize(labels_HW == index, rows, columns).round(9) for index in indices]
        assign(resized_HW, indices, shares_CHW)
    return resized_SHW


def _take_largest(resized_HW, indices, shares_CHW):
    best_HW = np.full(resized_HW.shape, -1.0)
    for index, share_HW in zip(indices, shares_CHW, strict=True):
        wins_HW = share_HW >= best_HW
        resized_HW[wins_HW], best_HW[wins_HW] = index, share_HW[wins_HW]


def _keep_areas(resized_HW, indices, shares_CHW):
    """Hand out pixels so that each class gets its number of them, at the largest shares in all.

    Each class has a bonus, which is added to its shares before the largest one takes a pixel. In
    turn, each structure's is set so that it wins as many pixels as it should, until all do. With
    one structure that is a threshold; for more it is Bertsekas' auction, cut after some rounds.
    """
    _take_largest(resized_HW, indices, shares_CHW)
    shares_CP = np.reshape(shares_CHW, (len(indices), -1))
    # Pixels of one class alone are settled; the others are handed out.
    mixed = np.flatnonzero(shares_CP.max(axis=0) < 1)
    if not len(mixed):
        return
    shares_CP = shares_CP[:, mixed]
    wanted_C = [int(share) for share in shares_CP.sum(axis=1) + 0.5 + 1e-6]
    # Too little to matter but among equal shares, of which each pixel's is now another one.
    nudges_CP = 1e-7 * np.arange(len(indices))[:, None] * _spread(mixed, resized_HW.shape[1])
    worth_CP = np.where(shares_CP > 0, shares_CP + nudges_CP, -np.inf)
    # Where each has a share; few structures share a pixel, however many there are.
    pixels_of = {
        place: np.flatnonzero(shares_CP[place])
        for place in range(int(indices[0] == 0), len(indices))
        if shares_CP[place].any()
    }
    for _ in range(ROUNDS):
        won_C = np.bincount(worth_CP.argmax(axis=0), minlength=len(indices))
        if all(won_C[place] == wanted_C[place] for place in pixels_of):
            break
        for place, pixels in pixels_of.items():
            worth_Cp = worth_CP[:, pixels]
            own_p = worth_Cp[place].copy()
            worth_Cp[place] = -np.inf
            bonus = _bonus(own_p - worth_Cp.max(axis=0), wanted_C[place])
            worth_CP[place, pixels] = own_p + bonus
    resized_HW.reshape(-1)[mixed] = np.take(indices, worth_CP.argmax(axis=0))


def _bonus(leads, wanted):
    """Return what to add to each lead so that as many as wanted are above 0."""
    # One more at each end, so that all or none can be above.
    ends = np.sort([*leads, leads.min() - 1, leads.max() + 1])[::-1]
    wanted = min(wanted, len(leads))
    return -(ends[wanted] + ends[wanted + 1]) / 2


def _spread(pixels, width):
    """Return a number from 0 to 1 for each pixel, of which the highest lie evenly over the plane.

    It is the R2 sequence of Roberts (2018), turns of 0.7549 and 0.5698 a row and a column, in whole
    numbers.
    """
    rows, columns = np.divmod(pixels, width)
    return (rows * 49471 + columns * 37345) % 2**16 / 2**16


def _resize(image_HW, rows, columns):
    # Sparse products add in a fixed order; dense ones may differ with the number of threads.
    return (columns @ (rows @ image_HW.astype(np.float64)).T).T
