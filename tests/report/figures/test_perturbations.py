"""Label errors in pictures: each structure at its own severity, and what is printed below."""

import json

import numpy as np
import pytest

from figure_checks import check_layout, texts
from labelnoise.errors import InputError
from labelnoise.report.figures import canvas
from labelnoise.report.figures.overlay import Overlay
from labelnoise.report.figures.perturbations import disc, draw_perturbations, perturbed_rows
from rater_folders import outlined, save


def overlays():
    """Two rows of two perturbed masks, on the disc and on an image."""
    reference = disc(32)
    moved = np.roll(reference, 3, axis=1)
    image = np.linspace(-1, 1, 32 * 32).reshape(32, 32).astype(np.float16)
    titles = ["natural 0.95", "choppy 0.95"]
    return [[Overlay(title, of, reference, moved) for title in titles] for of in (None, image)]


def test_perturbations_prints_the_label_dice_of_the_whole_slice():
    figure = draw_perturbations(overlays(), ["disc", "slice A"])
    reference, moved = disc(32), np.roll(disc(32), 3, axis=1)
    dice = 2 * (reference & moved).sum() / (reference.sum() + moved.sum())
    assert {panel.get_xlabel() for panel in figure.axes} == {f"{dice:.3f}"}
    assert [panel.get_title() for panel in figure.axes[:2]] == ["natural\n0.95", "choppy\n0.95"]
    assert [panel.get_ylabel() for panel in figure.axes] == ["disc", "", "slice A", ""]
    assert texts(figure) == ["reference outline", "added", "missed"]


@pytest.mark.parametrize("columns", [1, 2, 9])
def test_perturbations_layout(columns):
    rows = [(row * 5)[:columns] for row in overlays()]
    figure = draw_perturbations(rows, ["disc", "slice A"])
    assert figure.get_figwidth() == (canvas.PAGE_WIDTH if columns > 4 else canvas.COLUMN_WIDTH)
    check_layout(figure)


@pytest.mark.parametrize("suffix", [".png", ".pdf"])
def test_equal_overlays_give_equal_files(suffix, tmp_path):
    paths = [tmp_path / f"{name}{suffix}" for name in ["one", "two"]]
    for path in paths:
        canvas.save(draw_perturbations(overlays(), ["disc", "slice A"]), path)
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_disc_is_round_and_centred():
    mask = disc(80)
    assert mask.dtype == np.uint8
    assert mask.sum() == pytest.approx(np.pi * 20**2, rel=0.01)
    for turned in [mask[::-1], mask[:, ::-1], mask.T]:
        np.testing.assert_array_equal(turned, mask)


def calibration(folder, **severities):
    path = folder / "choppy-0.85.json"
    structures = {name: {"severity": value} for name, value in severities.items()}
    definition = {"kind": "choppy", "target_dice": 0.85}
    content = {"perturbation": "choppy-0.85", "definition": definition, "structures": structures}
    path.write_text(json.dumps(content))
    return path


def test_every_structure_is_perturbed_at_its_own_severity(data, tmp_path):
    files, names = [calibration(tmp_path, liver=0, tumour=3)], {"choppy-0.85": "choppy, fresh"}
    rows, titles = perturbed_rows(data, files, names, seed=1)
    assert {row[0].title for row in rows} == {"choppy, fresh"}
    assert titles == [
        *("liver: disc", "liver: case0, slice 1"),
        *("tumour: disc", "tumour: case0, slice 1"),
    ]
    references = [row[0].reference_HW for row in rows]
    assert (references[1].sum(), references[3].sum()) == (400, 100)
    changed = [(row[0].reference_HW != row[0].mask_HW).any() for row in rows]
    assert changed == [False, False, True, True]


def test_people_stand_beside_what_the_errors_make_of_their_object(data, tmp_path):
    people = outlined(3, raters=2)
    for each in people:
        for rater, mask_ZHW in enumerate(each.masks_RZHW):
            save(tmp_path / "raters" / each.name / f"rater-{rater}.nii.gz", mask_ZHW)
    structures = {"liver": {"severity": 1.0, "label_dice": 0.8}, "tumour": {"severity": 1.0}}
    definition = {"kind": "choppy", "target_dice": 0.8}
    content = {"perturbation": "choppy", "definition": definition, "structures": structures}
    file = tmp_path / "choppy.json"
    file.write_text(json.dumps(content))
    folders = [str(tmp_path / "raters")]
    rows, titles = perturbed_rows(data, [file], {"choppy": "choppy"}, seed=1, raters=folders)
    assert titles[-1] == "raters" and {len(row) for row in rows} == {3}
    assert [panel.title for panel in rows[-1]] == ["one person", "another", "choppy"]
    assert all(panel.mask_HW is None for row in rows[:-1] for panel in row[:2])
    *both, wrong = rows[-1]
    middle = sorted(people, key=lambda each: each.consensus_ZHW.sum())[1]
    areas = {int(area) for area in middle.masks_RZHW.sum(axis=(2, 3)).ravel()}
    assert {int(panel.mask_HW.sum()) for panel in both} <= areas
    assert (wrong.mask_HW != wrong.reference_HW).any()


def test_no_error_is_nothing_to_draw(data):
    with pytest.raises(InputError, match=r"matrix\.perturbation.*no label error"):
        perturbed_rows(data, [], {}, seed=1)
