"""What preparing does to the data: structures lost, pixels that are not square, values clipped.

It is counted case by case, said in the log, and kept in the dataset's description.

Shape legend: C classes, S slices, H height, W width in pixels.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from labelnoise.counts import class_sizes
from labelnoise.data.intensity import Scale
from labelnoise.data.resize import Grid

logger = logging.getLogger(__name__)

# How much longer one side of a stored pixel may be than the other before it is a warning.
UNSQUARE = 0.05
# Share of a structure's volume that may come or go before it is a warning; one that is cut off at
# the slices' ends has nothing to do with rounding.
VOLUME = 0.05
CUT = 0.001
# Share of a case's pixels that may lie beyond what is stored before it is a warning.
SATURATED = 0.05
# Cases named in the dataset's description, as an attribute of HDF5 holds no more than 64 kB.
NAMED = 20


@dataclass
class CaseChanges:
    """The structures of one case before and after resizing.

    Attributes:
        grid: the grid on which the case is stored.
        voxel_mm3: volume of a voxel of the source, NaN where unknown.
        pixels_2C, slices_2C: pixels of each class, and slices that show it, in the source and as
            stored; background included.
        cut_C: pixels of the source that lie beyond the stored slices.
        dropped: slices that showed a structure, show none any more, and are not kept.
    """

    grid: Grid
    voxel_mm3: float
    classes: int
    dropped: int = 0
    pixels_2C: np.ndarray = field(init=False)
    slices_2C: np.ndarray = field(init=False)
    cut_C: np.ndarray = field(init=False)

    def __post_init__(self):
        self.pixels_2C = np.zeros((2, self.classes), np.int64)
        self.slices_2C = np.zeros((2, self.classes), np.int64)
        self.cut_C = np.zeros(self.classes)

    def count(self, source_SHW: np.ndarray, stored_SHW: np.ndarray) -> None:
        """Add slices: their labels in the source and as stored."""
        rows, columns = self.grid.rows.overlap(), self.grid.columns.overlap()
        cuts = min(rows.min(), columns.min()) < 1
        for source_HW, stored_HW in zip(source_SHW, stored_SHW, strict=True):
            for place, labels_HW in enumerate((source_HW, stored_HW)):
                pixels_C = class_sizes(labels_HW, self.classes)
                self.pixels_2C[place] += pixels_C
                self.slices_2C[place] += pixels_C > 0
            if cuts:
                beyond_HW = 1 - rows[:, None] * columns
                self.cut_C += np.bincount(source_HW.ravel(), beyond_HW.ravel(), self.classes)


@dataclass
class Clipped:
    """Pixels of one channel of one case, or of several, beyond the ends of what is stored.

    Attributes:
        pixels_2: pixels that are background, and of any structure.
        above_2, below_2: those of them above the upper end, and below the lower one.
    """

    pixels_2: np.ndarray = field(default_factory=lambda: np.zeros(2, np.int64))
    above_2: np.ndarray = field(default_factory=lambda: np.zeros(2, np.int64))
    below_2: np.ndarray = field(default_factory=lambda: np.zeros(2, np.int64))

    def count(self, values_SHW: np.ndarray, labels_SHW: np.ndarray, scale: Scale) -> None:
        """Add slices, in source units."""
        low, high = scale.ends
        in_structure = labels_SHW > 0
        inside = np.count_nonzero(in_structure)
        self.pixels_2 += (in_structure.size - inside, inside)
        for counts_2, beyond in (
            (self.above_2, values_SHW > high),
            (self.below_2, values_SHW < low),
        ):
            inside = np.count_nonzero(beyond & in_structure)
            counts_2 += (np.count_nonzero(beyond) - inside, inside)

    def add(self, other: "Clipped") -> None:
        """Add the pixels of another."""
        self.pixels_2 += other.pixels_2
        self.above_2 += other.above_2
        self.below_2 += other.below_2

    def shares(self) -> dict[str, float]:
        """Return the shares of all pixels, and of those of structures, above and below the ends."""
        found = {}
        for end, counts_2 in (("above", self.above_2), ("below", self.below_2)):
            found[end] = float(counts_2.sum() / max(self.pixels_2.sum(), 1))
            found[f"{end}_in_structures"] = float(counts_2[1] / max(self.pixels_2[1], 1))
        return {name: round(share, 4) for name, share in found.items()}


class Changes:
    """Collect what preparing does to the cases of one dataset."""

    def __init__(self, name: str, class_names: Sequence[str], channels: Sequence[str]):
        self._name, self._class_names = name, class_names
        self._resized: list[CaseChanges] = []
        self._unsquare: dict[str, tuple[float, float]] = {}
        self._clipped = {channel: Clipped() for channel in channels}
        self._saturated: dict[str, dict[str, float]] = {}
        self._cases = 0

    def add(
        self,
        case: str,
        spacing_3: np.ndarray,
        changes: CaseChanges | None,
        clipped: Sequence[Clipped],
        scales: Sequence[Scale],
    ) -> None:
        """Add one case.

        Args:
            spacing_3: of slices, rows and columns in mm, as stored.
            changes: its structures, if it was resized.
            clipped: its pixels beyond the ends of the scale of each channel.
            scales: these.
        """
        self._cases += 1
        for channel, beyond, scale in zip(self._clipped, clipped, scales, strict=True):
            self._clipped[channel].add(beyond)
            self._warn_of_saturation(case, channel, beyond.shares(), scale)
        row, column = (float(side) for side in spacing_3[1:])
        # False where a side is not known.
        if max(row, column) > min(row, column) * (1 + UNSQUARE):
            self._unsquare[case] = (row, column)
        if changes is not None:
            self._resized.append(changes)
            self._warn_of_cuts(case, changes)

    def _warn_of_saturation(self, case, channel, shares, scale):
        """Warn if too much of an image is brighter, or of structures brighter or darker, than kept.

        Darker pixels of the background are no sign of anything: in CT all air is.
        """
        watched = [share for name, share in shares.items() if name != "below"]
        if max(watched) > SATURATED:
            # Of several channels the worst one stands for the case.
            worst = self._saturated.get(case, shares)
            self._saturated[case] = max(worst, shares, key=lambda each: max(each.values()))
            low, high = scale.ends
            logger.warning(
                "%s: case %s saturates%s: %.1f %% of its pixels and %.1f %% of those of structures "
                "are above %.6g, %.1f %% and %.1f %% below %.6g; widen `window`, or choose "
                "another `normalise`",
                self._name,
                case,
                "" if len(self._clipped) == 1 else f" in channel {channel}",
                100 * shares["above"],
                100 * shares["above_in_structures"],
                high,
                100 * shares["below"],
                100 * shares["below_in_structures"],
                low,
            )

    def _warn_of_cuts(self, case, changes):
        for name, cut, pixels in zip(
            self._class_names[1:], changes.cut_C[1:], changes.pixels_2C[0, 1:], strict=True
        ):
            if cut > CUT * pixels:
                logger.warning(
                    "%s: case %s is larger than `size` at this `spacing`: %.1f %% of %s lie beyond "
                    "the stored slices and are cut off",
                    self._name,
                    case,
                    100 * cut / pixels,
                    name,
                )

    def report(self) -> dict:
        """Say in the log what was lost; return it for the dataset's description.

        Returns:
            Where pixels are not square: unsquare_pixels {cases, mm}, the worst rows and columns.
            Where slices were resized: resizing {unit of volumes, slices_dropped, structures: {name:
            {slices: [source, stored], volume: [source, stored], cut}}}.
            Always: saturation {above, above_in_structures, below, below_in_structures (shares of
            the pixels, of all channels together), limit, cases: how many exceed it in any channel,
            worst: {case: the shares of its worst channel}, and, of several channels, channels:
            {channel: its shares}}.
        """
        found = {"saturation": self._report_saturation()}
        if self._unsquare:
            found["unsquare_pixels"] = self._report_unsquare()
        if self._resized:
            found["resizing"] = self._report_resizing()
        return found

    def _report_saturation(self):
        worst = sorted(
            self._saturated, key=lambda case: max(self._saturated[case].values()), reverse=True
        )
        together = Clipped()
        for clipped in self._clipped.values():
            together.add(clipped)
        found = {
            **together.shares(),
            "limit": SATURATED,
            "cases": len(worst),
            "worst": {case: self._saturated[case] for case in worst[:NAMED]},
        }
        if len(self._clipped) > 1:
            channels = self._clipped.items()
            found["channels"] = {channel: clipped.shares() for channel, clipped in channels}
        return found

    def _report_unsquare(self):
        worst = max(
            self._unsquare, key=lambda case: max(self._unsquare[case]) / min(self._unsquare[case])
        )
        mm = [round(side, 4) for side in self._unsquare[worst]]
        logger.warning(
            "%s: the stored pixels of %d of %d cases are not square, up to %g x %g mm (rows x "
            "columns, case %s); set `size` or a `spacing` of equal sides to make them so",
            self._name,
            len(self._unsquare),
            self._cases,
            *mm,
            worst,
        )
        return {"cases": len(self._unsquare), "mm": mm}

    def _report_resizing(self):
        known = all(np.isfinite(changes.voxel_mm3) for changes in self._resized)
        volumes_2C = np.zeros((2, len(self._class_names)))
        cut_C = np.zeros(len(self._class_names))
        for changes in self._resized:
            voxel = changes.voxel_mm3 if known else 1.0
            stored = changes.grid.rows.step * changes.grid.columns.step
            volumes_2C += changes.pixels_2C * voxel * [[1], [stored]]
            cut_C += changes.cut_C * voxel
        slices_2C = np.sum([changes.slices_2C for changes in self._resized], axis=0)
        dropped = sum(changes.dropped for changes in self._resized)
        unit = "mm3" if known else "pixels of the source"
        structures = {}
        for index, name in enumerate(self._class_names[1:], start=1):
            before, after = (float(volume) for volume in volumes_2C[:, index])
            had, has = (int(slices) for slices in slices_2C[:, index])
            structures[name] = {
                "slices": [had, has],
                "volume": [round(before, 3), round(after, 3)],
                "cut": round(float(cut_C[index]), 3),
            }
            if before:
                lost = has < had or abs(after - before) > VOLUME * before
                logger.log(
                    logging.WARNING if lost else logging.INFO,
                    "%s: resizing leaves %s in %d of %d slices, with %.1f %% of its volume (%.6g "
                    "of %.6g %s)",
                    self._name,
                    name,
                    has,
                    had,
                    100 * after / before,
                    after,
                    before,
                    unit,
                )
        if dropped:
            logger.warning(
                "%s: %d slices are left out, as resizing leaves no structure in them",
                self._name,
                dropped,
            )
        return {"unit": unit, "slices_dropped": dropped, "structures": structures}
