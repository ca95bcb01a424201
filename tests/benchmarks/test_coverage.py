"""Coverage of the intervals in small simulated studies, and components of a study's tables."""

from itertools import product

import numpy as np
import pytest

import coverage
from labelnoise.evaluation.statistics import intervals
from labelnoise.evaluation.tables import study_tables
from labelnoise.files import write_csv
from labelnoise.study import Results, Run
from synthetic_runs import matrix, write_tree


def test_moderated_intervals_cover_new_repeats_and_cases():
    rng, covered = np.random.default_rng(1), {}
    for design in product(coverage.SCENARIOS, (3, 5), coverage.CASES):
        found = coverage.measure(rng, design, studies=60, methods=["moderated"])
        covered[design] = found["moderated"]["coverage"]
    assert min(covered.values()) >= 0.90, covered
    assert np.mean(list(covered.values())) >= 0.93, covered


def test_moderation_narrows_where_repeats_are_few_and_t_intervals_miss_new_cases():
    rng = np.random.default_rng(2)
    found = coverage.measure(rng, ("equal", 2, 60), studies=60)
    assert found["moderated"]["width"] < 0.5 * found["crossed"]["width"] < found["t"]["width"]
    assert found["moderated"]["coverage"] >= 0.90
    found = coverage.measure(rng, ("equal", 5, 8), studies=60, methods=["t", "moderated"])
    assert found["t"]["coverage"] < 0.85 < 0.92 < found["moderated"]["coverage"]


def test_a_null_contrast_is_significant_in_5_of_100_studies():
    rng = np.random.default_rng(3)
    p = np.array([intervals(coverage.simulate(rng, "equal", 3, 20))["p"] for _ in range(1000)])
    # Twelve contrasts a study: the share's standard error is about 0.002.
    assert (p < 0.05).mean() <= 0.05 + 3 * 0.002


@pytest.mark.parametrize("scenario", coverage.SCENARIOS)
def test_simulated_contrasts_have_the_components_asked_for(scenario):
    rng, sds = np.random.default_rng(4), (0.03, 0.02, 0.01)
    drawn = [coverage.simulate(rng, scenario, 4, 5, sds) for _ in range(200)]
    assert drawn[0].shape == (coverage.SCENARIOS[scenario], 4, 5)
    found = coverage.components(np.concatenate(drawn))
    # Unequal ones: the mean square of a log-normal of sd 0.5 is e^0.5.
    repeat = 0.03 * (np.exp(0.25) if scenario == "unequal" else 1)
    expected = [repeat, 0.02, 0.01]
    assert np.sqrt((found**2).mean()).tolist() == pytest.approx(expected, rel=0.1)


def test_components_are_read_from_a_finished_study(tmp_path):
    runs = matrix(kinds=("natural", "random"), repeats=3)
    write_tree(tmp_path, runs)
    for name, table in zip(
        ["runs", "cases"], study_tables(map(Run.of, runs), Results(tmp_path)), strict=True
    ):
        write_csv(tmp_path / f"tables/{name}.csv", table)
    found = coverage.study_components(tmp_path / "tables")
    assert found["of"].tolist() == ["level"] * 3 + ["drop"] * 2
    assert found["perturbation"].tolist()[3:] == ["natural-0.95", "random-0.95"]
    assert (found["repeats"] == 3).all() and (found["cases"] == 3).all()
    assert (found[["repeat", "case", "residual"]] >= 0).all(axis=None)


def test_stored_components_are_root_mean_squares_over_all_drops(tmp_path, monkeypatch):
    (tmp_path / "docs").mkdir()
    rows = ["a,x,drop,1,3,0,1", "a,y,drop,3,1,0,1", "a,x,level,9,9,9,9", "b,x,drop,1,9,9,9"]
    head = "dataset,recipe,contrast,contrasts,repeat,case,residual"
    (tmp_path / "docs/components.csv").write_text("\n".join([head, *rows]) + "\n")
    monkeypatch.setattr(coverage, "ROOT", tmp_path)
    assert coverage.stored_components("a") == pytest.approx([3**0.5, 0, 1])
    with pytest.raises(SystemExit, match="no dataset 'c', expected a, b"):
        coverage.stored_components("c")
