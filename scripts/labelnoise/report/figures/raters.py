"""People who outlined the same objects beside simulated ones; Z slices, H height, W width."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure

from labelnoise.labels.contours import find_contours
from labelnoise.labels.raters.simulation import Subject, hand_of
from labelnoise.labels.raters.statistics import STATISTICS
from labelnoise.labels.volume import Draw
from labelnoise.report.figures.canvas import PAGE_WIDTH, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from labelnoise.labels.raters.judging import Comparison, Judgement
    from labelnoise.labels.raters.statistics import Outlined

OBJECTS = 4  # shown
# Of Okabe and Ito, as in `style`; a colour is another person in every object.
RATER_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
PEOPLE, SIMULATED = "0.15", "#D55E00"
SHORT = {
    "dice_25": "quartile 1",
    "dice_50": "median",
    "dice_75": "quartile 3",
    "offset": "offset,\nshare",
    "lag_1": "5.6°",
    "lag_4": "22.5°",
    "lag_8": "45°",
    "lag_16": "90°",
    "next_slice": "next\nslice",
}
DICE = ("dice_25", "dice_50", "dice_75")
REST = ("offset", "lag_1", "lag_4", "lag_8", "lag_16", "next_slice")


class Outlines(NamedTuple):
    """Outlines of one object in one slice.

    raters: of each rater its contours, (points, 2) of (row, column) in mm.
    low_2, high_2: least and greatest row and column to show, mm.
    """

    raters: list[list[np.ndarray]]
    low_2: np.ndarray
    high_2: np.ndarray


def outline_rows(
    outlined: Sequence[Outlined], settings: Mapping[str, Any], seed: int, people: bool = True
) -> dict[str, list[Outlines]]:
    """Return outlines of some objects, small to large, each in the slice where it is largest.

    Args:
        outlined: the objects.
        settings: of the kind `rater`.
        seed: of the simulated raters.
        people: whether those of people are shown too.

    Returns:
        {name of a row: OBJECTS panels or fewer}.
    """
    by_size = sorted(outlined, key=lambda each: each.consensus_ZHW.sum() * each.spacing_3[1])
    places = np.linspace(0, len(by_size) - 1, min(OBJECTS, len(by_size)) + 2)[1:-1]
    hand = hand_of(settings)
    rows: dict[str, list[Outlines]] = {"people": [], "simulated": []}
    for place in places.round().astype(int):
        each = by_size[place]
        subject = Subject(each)
        position = subject.labels.labels_ZHW.sum(axis=(1, 2)).argmax()
        real = [subject.place(mask_ZHW)[position] for mask_ZHW in each.masks_RZHW]
        draws = [Draw(seed, number, int(place), int(place)) for number in range(len(real))]
        simulated = [hand(subject.labels, draw)[position] for draw in draws]
        lines = {"people": _contours(real, each.spacing_3[1:])}
        lines["simulated"] = _contours(simulated, each.spacing_3[1:])
        points_P2 = np.concatenate(
            [line for raters in lines.values() for of_one in raters for line in of_one]
        )
        low_2, high_2 = points_P2.min(axis=0), points_P2.max(axis=0)
        margin_2 = 0.15 * (high_2 - low_2)
        for name, row in rows.items():
            row.append(Outlines(lines[name], low_2 - margin_2, high_2 + margin_2))
    return rows if people else {"simulated": rows["simulated"]}


@styled
def draw_raters(judgement: Judgement, rows: Mapping[str, Sequence[Outlines]]) -> Figure:
    """Draw outlines of people beside simulated ones, and the statistics of both.

    Bars are 95 % intervals of people's statistics.

    Args:
        judgement: the fit.
        rows: see `outline_rows`.
    """
    height = 1.6 * len(rows) + 2.2
    figure = Figure(figsize=(PAGE_WIDTH, height), layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=(1.6 * len(rows), 2.2))
    panels = above.subplots(len(rows), len(next(iter(rows.values()))), squeeze=False)
    for line, (name, row) in zip(panels, rows.items(), strict=True):
        for panel, outlines in zip(line, row, strict=True):
            _draw_outlines(panel, outlines)
        line[0].set_ylabel(name)
    dice, rest = below.subplots(1, 2, width_ratios=(1, 2.2))
    compared = [(judgement.fitted, "", "o")]
    if judgement.held_out:
        compared.append((judgement.held_out, ", objects left out", "s"))
    for panel, names, label in (
        (dice, DICE, "Dice of two raters"),
        (rest, REST, "share or correlation"),
    ):
        for number, (comparison, words, marker) in enumerate(compared):
            at = (number - (len(compared) - 1) / 2) * 0.36
            _draw_statistics(panel, comparison, names, at, words, marker)
        panel.set_xticks(range(len(names)), [SHORT[name] for name in names])
        panel.set_xlim(-0.6, len(names) - 0.4)
        panel.set_ylabel(label)
        panel.grid(visible=False, axis="x")
    rest.axhline(0, color="0.45", linewidth=0.6)
    handles, labels = rest.get_legend_handles_labels()
    handle_of = dict(zip(labels, handles, strict=True))
    order = sorted(labels, key=lambda each: each.startswith("simulated"))
    figure.legend([handle_of[each] for each in order], order, loc="outside lower center", ncols=4)
    return figure


def _contours(masks, pixel_2):
    """Return the contours of each mask, (points, 2) in mm."""
    found = []
    for mask_HW in masks:
        if not mask_HW.any():
            found.append([])
            continue
        contours = find_contours(mask_HW.astype(np.uint8))
        found.append(np.split(contours.points_P2 * pixel_2, contours.starts_K[1:]))
    return found


def _draw_outlines(panel: Axes, outlines: Outlines) -> None:
    for number, lines in enumerate(outlines.raters):
        colour = RATER_COLOURS[number % len(RATER_COLOURS)]
        for line_P2 in lines:
            panel.plot(line_P2[:, 1], line_P2[:, 0], color=colour, linewidth=0.7)
    (top, left), (bottom, right) = outlines.low_2, outlines.high_2
    width, height = right - left, bottom - top
    panel.set_xlim(left, right)
    panel.set_ylim(bottom + 0.15 * height, top)
    panel.set_aspect("equal")
    panel.spines[:].set_visible(False)
    panel.grid(visible=False)
    panel.set_xticks([])
    panel.set_yticks([])
    bar = _round_length(width / 4)
    low = bottom + 0.1 * height
    panel.plot([left, left + bar], [low, low], color="0.15", linewidth=1.2)
    panel.text(left + bar + 0.03 * width, low, f"{bar:g} mm", fontsize=6, va="center")


def _draw_statistics(
    panel: Axes, comparison: Comparison, names: Sequence[str], at: float, words: str, marker: str
) -> None:
    index = [list(STATISTICS).index(name) for name in names]
    real, simulated = comparison.real_K[index], comparison.simulated_K[index]
    bars = np.abs(np.stack([real - comparison.low_K[index], comparison.high_K[index] - real]))
    x = np.arange(len(names)) + at
    panel.errorbar(
        x - 0.07,
        real,
        np.where(np.isfinite(bars), bars, 0),
        fmt=marker,
        color=PEOPLE,
        markersize=3,
        linewidth=0.8,
        label=f"people{words}",
    )
    panel.plot(
        x + 0.07, simulated, marker, color=SIMULATED, markersize=3, label=f"simulated{words}"
    )


def _round_length(length):
    """Return 1, 2 or 5 times a power of ten, at most the length."""
    power = 10.0 ** np.floor(np.log10(length))
    return max(step * power for step in (1, 2, 5) if step * power <= length * 1.0001)
