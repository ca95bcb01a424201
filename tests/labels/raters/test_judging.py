import numpy as np
import pytest
import yaml

from labelnoise.config.schema import canonical
from labelnoise.labels.raters import fitting
from labelnoise.labels.raters.judging import (
    Comparison,
    judge,
    kinds_table,
    name_of,
    parameters_table,
    perturbation_yaml,
    statistics_table,
)
from labelnoise.labels.raters.kinds import compare_kinds, hand_of_error
from labelnoise.labels.raters.simulation import Subject
from labelnoise.labels.raters.statistics import STATISTICS
from rater_folders import KNOWN, outlined
from refusals import assert_refused


@pytest.fixture(scope="module")
def judged():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fitting, "STEPS", 1)
        patch.setattr(fitting, "RATERS", 20)
        return judge(outlined(7), seed=1, share=0.3, with_kinds=False)


def test_some_objects_are_left_out(judged):
    assert judged.fitted.objects == 5 and judged.held_out.objects == 2
    assert 0.5 < judged.label_dice < 1


def test_few_objects_are_all_fitted_and_too_few_refused(monkeypatch):
    monkeypatch.setattr(fitting, "STEPS", 1)
    monkeypatch.setattr(fitting, "RATERS", 9)
    assert judge(outlined(3), 1, 0.3, with_kinds=False).held_out is None
    assert_refused(["2 objects", "at least 3"], judge, outlined(2), 1, 0.3)


def test_the_entry_is_one_that_a_config_takes(judged):
    text = perturbation_yaml("nodules", judged, "annotators")
    read = yaml.safe_load(text)["perturbations"]["nodules"]
    assert canonical({"perturbations": {"nodules": read}})["perturbations"]["nodules"]["kind"] == (
        "rater"
    )
    for name, value in judged.fit.settings.items():
        assert read[name] == pytest.approx(value, abs=1e-4)
    assert f"label Dice is {judged.label_dice:.3f}" in text


def test_what_misses_is_marked():
    number = len(STATISTICS)
    real_K = np.full(number, 0.5)
    simulated_K = real_K.copy()
    simulated_K[[0, 4]] += [0.03, 0.05]  # beyond 0.02, within 0.07
    compared = Comparison(3, real_K, simulated_K, real_K - 0.04, real_K + 0.04)
    assert np.flatnonzero(compared.beyond_goal()).tolist() == [0]
    assert np.flatnonzero(compared.outside()).tolist() == [4]


def test_tables_name_every_statistic_and_setting(judged):
    table = statistics_table(judged)
    assert all(statistic.words in table for statistic in STATISTICS.values())
    assert len({len(line) for line in table.splitlines()}) == 1
    assert all(name in parameters_table(judged) for name in judged.fit.settings)


def test_names_are_those_that_a_config_takes():
    assert name_of("kits23 kidney (2)") == "kits23-kidney-2"
    assert name_of("..") == "raters"


def test_the_kind_that_people_are_made_of_is_most_like_them():
    choppy = hand_of_error({"kind": "choppy"})(1.5)
    likenesses = compare_kinds([Subject(each) for each in outlined(4, choppy)], KNOWN, 2)
    assert likenesses[0].name == "choppy"
    assert likenesses[0].severity == pytest.approx(1.5, rel=0.15)
    assert likenesses[0].distance < 0.6 < likenesses[1].distance
    judged = type("Judged", (), {"likenesses": likenesses})
    assert kinds_table(judged).splitlines()[2].startswith("| choppy")
