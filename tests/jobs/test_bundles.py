"""How unfinished runs are cut into bundles, and what a bundle asks a cluster for."""

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest

from labelnoise.jobs import resources
from labelnoise.jobs.bundles import cut, gpu_slots, minutes_to_run, runs_of, seconds_of_run
from labelnoise.jobs.resources import LONGEST_MINUTES, SAFETY, START_MINUTES
from labelnoise.study import Results, read_study
from workflow_runs import ROOT


@pytest.fixture
def study(tmp_path, monkeypatch):
    """A study of 30 runs of each of 12 settings, of which nothing is made."""
    monkeypatch.setattr(resources, "_measured", {})
    return replace(read_study(ROOT / "config.yaml"), results=Results(tmp_path))


def measure(study, run, epoch, test=None):
    """Pretend that a run's epochs and its test took so many seconds."""
    timing = study.results.run_folder(run).timing
    timing.parent.mkdir(parents=True)
    timing.write_text(f"epoch,train,validation\n1,{epoch},0\n")
    if test is not None:
        row = study.results.fill(study.results.benchmark("test_model"), run)
        row.parent.mkdir(parents=True)
        row.write_text(json.dumps({"s": test}) + "\n")


def pieces(study, found):
    """The runs of each bundle, by its file."""
    keys = ("dataset", "model", "recipe", "bundle")
    return [runs_of(study, dict(zip(keys, path.parts[-4:], strict=True))) for path in found]


def test_a_bundle_is_as_long_as_wished_where_runs_were_measured(study):
    run = study.runs[0]
    epochs = study.recipes[run.recipe].epochs
    measure(study, run, epoch=90 / epochs, test=10)
    assert seconds_of_run(study, run.setting) == pytest.approx(100)
    unfinished = [each for each in study.runs if each.setting == run.setting]
    # 20 minutes are 12 runs of 100 s.
    sizes = [len(runs) for runs in pieces(study, cut(study, unfinished, 20))]
    assert sizes == [12, 12, 6]
    assert len(pieces(study, cut(study, unfinished, 20, lanes=2))[0]) == 24
    assert minutes_to_run(study, unfinished[:12]) == START_MINUTES + SAFETY * 20
    assert minutes_to_run(study, unfinished[:12], lanes=2) == START_MINUTES + SAFETY * 10
    assert minutes_to_run(study, unfinished, attempt=100) == LONGEST_MINUTES


def test_all_unfinished_runs_and_each_once_are_in_bundles_of_their_setting(study):
    unfinished = study.runs[5::7]
    found = pieces(study, cut(study, unfinished, 1e-9))
    # Shorter than any run: one each.
    assert found == [[run] for run in sorted(unfinished, key=study.runs.index)]
    found = pieces(study, cut(study, unfinished, 1440))
    assert len(found) < len(unfinished)
    assert all(len({run.setting for run in runs}) == 1 for runs in found)
    together = [run for runs in found for run in runs]
    assert len(set(together)) == len(together) and set(together) >= set(unfinished)


def test_nothing_unfinished_is_no_bundle(study):
    assert cut(study, [], 60) == []


def test_a_thousand_short_runs_are_few_jobs(study):
    study = replace(study, repeats=25)
    for run in study.runs[:: 10 * 25]:
        measure(study, run, epoch=60 / study.recipes[run.recipe].epochs)
    assert len(study.runs) == 3000
    assert len(cut(study, study.runs, 60)) == 12 * 5


@pytest.mark.parametrize(
    ("given", "slots"), [({"gpu": 1}, 3), ({"gpu": 0}, 0), ({"gpu": 0, "gres": "gpu:1"}, 3)]
)
def test_a_bundle_shares_the_card_that_its_job_has(given, slots):
    class Given(SimpleNamespace):
        def get(self, name, default):
            return vars(self).get(name, default)

    assert gpu_slots(Given(**given), 3) == slots
