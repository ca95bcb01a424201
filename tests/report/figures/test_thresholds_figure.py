"""Drops taken apart: what is drawn equals the table."""

import numpy as np
import pandas as pd
import pytest

from drawn_runs import tables
from labelnoise.evaluation.histograms import THRESHOLDS
from labelnoise.evaluation.thresholds import thresholds_table
from labelnoise.report.figures.thresholds import draw_thresholds


def test_the_figure_of_drops_plots_the_table():
    runs, cases = tables(0.1, cases=20, given_back=0.8)
    for name in ("perturbed", "best"):
        cases[f"tp_at_{name}"], cases[f"fp_at_{name}"] = cases["tp"], cases["fp"]
    runs = runs.assign(cases=20, **{f"threshold_{name}": 0.9 for name in THRESHOLDS})
    ceiling = {"dataset": "lis", "structure": "liver", "recipe": "labels18"}
    ceiling |= {"perturbation": "natural-0.90", "dice": 0.75, "dice_at_half": 0.99}
    table = thresholds_table(runs, cases, pd.DataFrame([ceiling]))
    (panel,) = draw_thresholds(table).axes
    ends = {
        bars.get_label(): (bars.patches[0].get_x(), bars.patches[0].get_width())
        for bars in panel.containers
    }
    cell = table[(table["model"] == "unet") & (table["perturbation"] == "natural-0.90")]
    at = cell.set_index("decision")["drop_mean"]
    assert ends["_unet natural-0.90 stays"] == pytest.approx((0, at["clean"]))
    given_back = ends["_unet natural-0.90 given back"]
    assert given_back == pytest.approx((at["clean"], at["half"] - at["clean"]))
    assert ends["_ceiling unet natural-0.90 stays"] == pytest.approx((0, 0.01))
    assert ends["_ceiling unet natural-0.90 given back"] == pytest.approx((0.01, 0.24))
    (alone,) = draw_thresholds(table, ceilings=False).axes
    assert not any("ceiling" in bars.get_label() for bars in alone.containers)
    controls = table[table["kind"] == "control"]
    assert "no drops" in draw_thresholds(controls).texts[0].get_text()
    assert np.isnan(controls["drop_mean"]).all()
