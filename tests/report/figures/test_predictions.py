"""Predictions in pictures: each structure where it shows, predicted as the test counts it."""

import numpy as np

from figure_checks import check_layout, texts
from labelnoise.report.figures.overlay import Overlay
from labelnoise.report.figures.perturbations import disc
from labelnoise.report.figures.predictions import draw_predictions, predicted_rows


def test_predictions_show_reference_then_each_prediction():
    reference, image = disc(32), np.zeros((32, 32), dtype=np.float16)
    empty = np.zeros_like(reference)
    titles = ["reference", "control", "natural 0.85"]

    def row(reference_HW, *masks):
        shown = zip(titles, [None, *masks], strict=True)
        return [Overlay(title, image, reference_HW, mask_HW) for title, mask_HW in shown]

    full_row, blank_row = row(reference, reference, empty), row(empty, empty, reference)
    figure = draw_predictions([full_row, blank_row], ["a, 1", "b, 2"])
    check_layout(figure)
    assert [panel.get_title() for panel in figure.axes[:3]] == titles
    # Without foreground in either mask there is no Dice.
    labels = [panel.get_xlabel() for panel in figure.axes]
    assert labels == ["", "1.000", "0.000", "", "–", "0.000"]
    assert texts(figure) == ["reference outline", "false positive", "false negative"]


def test_every_structure_has_its_predictions_where_it_shows(data):
    class Perfect:
        def predict_rows(self, rows, images_NHW):
            """One class a slice: liver everywhere."""
            chosen = np.zeros((len(images_NHW), 3, 48, 48))
            chosen[:, 1] = 1
            return chosen

    rows, titles = predicted_rows(data, {"control": Perfect()}, {"control": "clean"})
    assert titles == ["liver: case4, slice 1", "liver: case5, slice 1", "tumour: case5, slice 1"]
    assert [control.reference_HW.sum() for _, control in rows] == [400, 400, 100]
    assert [control.mask_HW.mean() for _, control in rows] == [1, 1, 0]


def test_a_pixel_is_predicted_as_it_is_counted_in_the_test(data):
    class Unsure:
        def predict_rows(self, rows, images_NHW):
            """Liver is the likeliest class everywhere, and nowhere above one half."""
            return np.tile(np.array([0.3, 0.4, 0.3])[:, None, None], (len(images_NHW), 1, 48, 48))

    rows, _ = predicted_rows(data, {"control": Unsure()}, {"control": "clean"})
    assert all(not control.mask_HW.any() for _, control in rows)
