"""Each kind and size of label error on a disc and on real slices; H height, W width."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from labelnoise.errors import InputError
from labelnoise.files import read_json
from labelnoise.labels.consensus import merge
from labelnoise.labels.dataset import NONE_GIVEN, calibrated_error, read_given
from labelnoise.labels.drawing import Drawer, Volumes, draw_volume, without_share
from labelnoise.labels.generator import perturb as perturb_array
from labelnoise.labels.perturbations import perturb
from labelnoise.labels.raters.reading import read_folder
from labelnoise.labels.volume import Draw, LabelVolume
from labelnoise.own_code import is_own, load_own
from labelnoise.report.figures.canvas import styled
from labelnoise.report.figures.overlay import Overlay, draw_overlays
from labelnoise.report.figures.slices import row_title, slice_name, typical_rows
from labelnoise.seeds import derive
from labelnoise.study import Perturbation

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from labelnoise.data.storage import Dataset


# Panels of two people's outlines, and how much of an object's sides is shown around it.
PEOPLE = ("one person", "another")
MARGIN = 0.25


@styled
def draw_perturbations(rows: list[list[Overlay]], titles: list[str]) -> Figure:
    """Draw perturbed labels against their reference; the number below a panel is its label Dice.

    The label Dice is that of the whole slice shown, not of the training set.

    Args:
        rows: for each row (disc, slice A, ...) its panels, one per kind and size.
        titles: name of each row.
    """
    rows = [
        [panel._replace(title=panel.title.replace(" ", "\n", 1)) for panel in row] for row in rows
    ]
    return draw_overlays(rows, titles, margin=0.35, legend=("added", "missed"))


def perturbed_rows(
    data: Dataset,
    calibrations: list[Path],
    names: Mapping[str, str],
    seed: int,
    given: Mapping[str, Path] = NONE_GIVEN,
    raters: Sequence[str] = (),
) -> tuple[list[list[Overlay]], list[str]]:
    """Perturb a disc and two slices of a dataset with every calibrated error.

    Several structures get rows of their own, a disc and one slice each. Below them stands, of each
    folder of raters, an object with the outlines of two people beside what the errors make of it at
    the label Dice that they have on the dataset.

    Args:
        data: the dataset.
        calibrations: calibration files, in the order of the figure's columns.
        names: display names of their perturbations, see `style.perturbations`.
        seed: the study's seed.
        given: the files of the given labels that the errors take, by name; a disc has none.
        raters: folders of objects that several people outlined.

    Returns:
        (rows, titles) for `draw_perturbations`.

    Raises:
        InputError: there is no error to show.
    """
    if not calibrations:
        raise InputError(
            "config key 'matrix.perturbation' names no label error, so there is none to draw; add "
            "one, or leave this figure out."
        )
    contents = [
        read_json(Path(path), ("perturbation", "definition", "structures")) for path in calibrations
    ]
    sources = read_given(given)
    errors = [_error(data, content, seed, sources) for content in contents]
    volumes = Volumes(data)
    rows, titles = [], []
    for index, chosen in typical_rows(data, "train", 2).items():
        disc_HW, title = disc(data.shape[0]), row_title(data, index, "disc")
        wrong = [_on_disc(disc_HW, error, index, title, _pixel(data, error)) for error in errors]
        if any(mask_HW is not None for mask_HW in wrong):
            rows.append(_panels(contents, names, None, disc_HW, wrong))
            titles.append(title)
        for row in chosen:
            images_NKHW, labels_NHW = data.read([row])
            drawn = [Drawer(data, error, volumes).labels([row], 0)[0] for error in errors]
            wrong = [(labels_HW == index).astype(np.uint8) for labels_HW in drawn]
            reference_HW = (labels_NHW[0] == index).astype(np.uint8)
            rows.append(_panels(contents, names, data.grey(images_NKHW)[0], reference_HW, wrong))
            titles.append(row_title(data, index, slice_name(data, row)))
    people = [_by_people(Path(folder), contents, names, seed) for folder in raters]
    if people:
        rows = [[*_nobody(row[0]), *row] for row in rows]
    return rows + people, titles + [Path(folder).name for folder in raters]


def _panels(contents, names, image_HW, reference_HW, wrong):
    return [
        Overlay(names[of["perturbation"]], image_HW, reference_HW, mask_HW)
        for of, mask_HW in zip(contents, wrong, strict=True)
    ]


def _nobody(panel):
    """Return panels of people who did not outline what a panel shows."""
    return [panel._replace(title=title, mask_HW=None) for title in PEOPLE]


def _by_people(folder, contents, names, seed):
    """Return panels of the folder's middle object by size, where its consensus is largest."""
    objects = sorted(read_folder(folder), key=lambda each: each.consensus_ZHW.sum())
    outlined = objects[len(objects) // 2]
    margin = (round(min(outlined.masks_RZHW.shape[2:]) * MARGIN) + 1,) * 2
    consensus_ZHW = np.pad(outlined.consensus_ZHW, ((0, 0), margin, margin)).astype(np.uint8)
    shown = int(consensus_ZHW.sum(axis=(1, 2)).argmax())
    reference_HW = consensus_ZHW[shown]
    masks = [np.pad(mask_ZHW[shown], (margin, margin)) for mask_ZHW in outlined.masks_RZHW]
    wrong = [
        _at_label_dice(content, consensus_ZHW, outlined.spacing_3, seed) for content in contents
    ]
    return [
        *(
            Overlay(title, None, reference_HW, mask_HW.astype(np.uint8))
            for title, mask_HW in zip(PEOPLE, masks, strict=False)
        ),
        *_panels(
            contents,
            names,
            None,
            reference_HW,
            [None if each is None else each[shown] for each in wrong],
        ),
    ]


def _at_label_dice(content, labels_ZHW, spacing_3, seed):
    """Return labels with an error of the label Dice that it has on the dataset's first structure.

    None where the error is none of its own, or cannot have that label Dice here.
    """
    settings = {
        key: value
        for key, value in content["definition"].get("settings", {}).items()
        if key not in ("share", "share_of")
    }
    label_dice = next(iter(content["structures"].values()))["label_dice"]
    kind = content["definition"]["kind"]
    try:
        return perturb_array(
            labels_ZHW, kind, dice=label_dice, spacing=spacing_3, seed=seed, **settings
        )
    except InputError:
        return None


def _error(data, content, seed, given):
    """Return the error of a calibration file as it is where it hits."""
    perturbation = Perturbation(**content["definition"])
    own_seed = derive(seed, "gallery", content["perturbation"])
    name = content["perturbation"]
    own = {each: given[each] for each in (name, *perturbation.errors) if each in given}
    error = calibrated_error(data, perturbation, content["structures"], own_seed, own)
    for each in (error, *error.errors.values()):
        if is_own(each.kind):
            load_own(each.kind, each.code)
    return without_share(error)


def disc(size: int) -> np.ndarray:
    """Return a disc in the middle of a square slice, the plainest object to perturb.

    Args:
        size: side of the slice, pixels; the radius is a quarter of it.

    Returns:
        (size, size) uint8 mask in {0, 1}.
    """
    offset = np.arange(size) - (size - 1) / 2
    return (offset[:, None] ** 2 + offset**2 <= (size / 4) ** 2).astype(np.uint8)


def _pixel(data, error):
    """Return the side of a pixel in mm."""
    sides = data.spacing[0, 1:]
    return error.settings.get("pixel", 1.0) if np.isnan(sides).any() else float(sides.mean())


def _on_disc(disc_HW, error, index, title, pixel):
    """Perturb a disc; for a kind that acts on volumes, the middle of a ball; None if it cannot be.

    Of a mixture, the first error that can.
    """
    if error.kind == "consensus":
        drawn = [_on_disc(disc_HW, part, index, title, pixel) for part in error.annotators]
        known = [each_HW for each_HW in drawn if each_HW is not None]
        return merge(np.stack(known)[:, None], error.settings["by"])[0] if known else None
    drawable = (each for each in error.errors.values() or [error] if each.given is None)
    if (error := next(drawable, None)) is None:
        return None
    severity, own_seed = error.severities[index], derive(error.seed, title)
    if not error.acts_on_volumes:
        rng = np.random.default_rng(own_seed)
        return perturb(disc_HW, error.kind, severity, rng, float(disc_HW.mean()))
    ball_ZHW = _ball(disc_HW)
    volume = LabelVolume(ball_ZHW, (pixel,) * 3, ball_ZHW.astype(np.float32))
    draw, middle = Draw(own_seed, 0, 0, 0), [len(ball_ZHW) // 2]
    return draw_volume(volume, error.kind, {1: severity}, draw, middle, error.own_settings)[0]


def _ball(disc_HW):
    """Return the ball whose middle slice is a disc of a quarter of the side, as labels."""
    size = disc_HW.shape[0]
    offset = np.arange(size) - (size - 1) / 2
    squared_HW = offset[:, None] ** 2 + offset**2
    heights_Z = np.arange(-(size // 4), size // 4 + 1)
    return (squared_HW <= (size / 4) ** 2 - heights_Z[:, None, None] ** 2).astype(np.uint8)
