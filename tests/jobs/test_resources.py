"""What trainings ask a cluster for."""

import shutil
from dataclasses import replace
from types import SimpleNamespace

import pytest
import yaml

from labelnoise.jobs import script
from labelnoise.jobs.resources import (
    LONGEST_GUESS_MINUTES,
    LONGEST_MINUTES,
    START_MINUTES,
    measured_seconds,
    megabytes_to_train,
    minutes_to_train,
    training_megabytes,
    training_minutes,
)
from labelnoise.study import Model, Results, Run, read_study
from workflow_runs import ROOT, TINY, snakemake

PLAIN = read_study(ROOT / "config.yaml").recipes["plain"]
RECIPE = replace(PLAIN, steps_per_epoch=50, batch_size=20, epochs=60)
RUN = Run("lis", "unet", "plain", "control", 0)


@pytest.fixture
def results(tmp_path):
    return Results(tmp_path)


def write_timing(results, run, epochs):
    path = results.run_folder(run).timing
    path.parent.mkdir(parents=True)
    rows = [f"{number},{seconds},0.5,1\n" for number, seconds in enumerate(epochs, 1)]
    path.write_text("epoch,train,validation,sitting\n" + "".join(rows))
    return path


def test_the_slowest_finished_run_is_the_measure(results):
    write_timing(results, RUN, [1, 2, 3])
    write_timing(results, replace(RUN, perturbation="natural-0.95", repeat=1), [5, 7])
    assert measured_seconds(results, RUN.setting) == 6.5
    assert measured_seconds(results, ("lis", "segnet", "plain")) is None


def test_a_run_that_finishes_later_is_seen(results):
    assert measured_seconds(results, RUN.setting) is None
    write_timing(results, RUN, [2])
    assert measured_seconds(results, RUN.setting) == 2.5


@pytest.mark.parametrize("text", ["", "epoch,train,validation\n", "epoch,train\n1,2\n", "a\nb,c\n"])
def test_a_table_that_says_nothing_is_passed_over(results, text):
    write_timing(results, RUN, [2]).write_text(text)
    assert measured_seconds(results, RUN.setting) is None


def test_measured_seconds_make_the_limit():
    # 60 epochs of 30 s are half an hour, twice that for safety.
    assert training_minutes(30, RECIPE, 256) == START_MINUTES + 60
    assert training_minutes(30, RECIPE, 256, attempt=2) == 2 * (START_MINUTES + 60)


def test_limits_stay_within_a_day():
    assert training_minutes(1e6, RECIPE, 256) == LONGEST_MINUTES
    assert training_minutes(1000, RECIPE, 256, attempt=4) == LONGEST_MINUTES
    endless = replace(RECIPE, epochs=10**6)
    assert training_minutes(None, endless, 512) == LONGEST_GUESS_MINUTES


def test_guesses_grow_with_the_pixels():
    small, large = (training_minutes(None, RECIPE, size) for size in (64, 128))
    assert large - START_MINUTES == pytest.approx(4 * (small - START_MINUTES), abs=4)
    assert training_minutes(None, RECIPE, None) == training_minutes(None, RECIPE, 512)


def test_a_study_asks_by_the_names_of_a_run(tmp_path):
    """Of the tiny study: 48 epochs of 10 s make 2 x 8 minutes; the size of its slices is 32."""
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(TINY))
    study = read_study(ROOT / "config.yaml", tmp_path / "tiny.yaml")
    study = replace(study, results=Results(tmp_path))
    run = study.runs[0]
    names = {"dataset": run.dataset, "model": run.model, "recipe": run.recipe}
    write_timing(study.results, run, [9.5, 9.5])
    assert minutes_to_train(study, names) == START_MINUTES + 16
    asked = training_megabytes(study.models[run.model], study.recipes[run.recipe], 32, attempt=2)
    assert megabytes_to_train(study, names, attempt=2) == asked


@pytest.mark.parametrize(
    ("model", "measured"),
    [
        ({"network": "unet", "width": 6}, {(128, 20): 1026, (256, 20): 2000}),
        ({"network": "segnet", "width": 6}, {(128, 20): 960, (256, 20): 1735}),
        ({"network": "fcn32", "width": 6}, {(128, 4): 1434, (128, 20): 1581, (256, 20): 1923}),
        ({"network": "smp.Unet", "encoder": "resnet18"}, {(128, 20): 1632, (256, 20): 3142}),
    ],
)
def test_memory_covers_what_a_training_took(model, measured):
    """Peak MB of three steps on a CPU with Adam, without a dataset and a process that loads it."""
    for (size, batch), peak in measured.items():
        asked = training_megabytes(Model.of(model), replace(RECIPE, batch_size=batch), size)
        assert peak + 1000 < asked < 4 * peak + 4000


def test_memory_grows_with_image_batch_width_and_attempt_and_falls_with_accumulation():
    unet = Model("unet", {"width": 6})
    asked = training_megabytes(unet, RECIPE, 256)
    assert training_megabytes(unet, RECIPE, 512) > asked
    assert training_megabytes(unet, replace(RECIPE, batch_size=40), 256) > asked
    assert training_megabytes(Model("unet", {"width": 64}), RECIPE, 256) > asked
    assert training_megabytes(unet, RECIPE, 256, attempt=3) == 3 * asked
    assert training_megabytes(unet, RECIPE, 64, channels=3) > training_megabytes(unet, RECIPE, 64)
    halved = replace(RECIPE, batch_size=40, accumulation=2)
    assert training_megabytes(unet, halved, 256) == asked


def test_rules_ask_for_them_and_what_they_ask_makes_nothing_stale(study_copy):
    results = Results(study_copy / "results")
    shutil.rmtree(results.root / "runs")
    run = Run("tiny", "small", "short", "control", 0)
    target = "results/runs/tiny/small/short/control/rep0/run.json"

    def dry_run(*options):
        return snakemake(study_copy, TINY, target, "--dry-run", *options).stdout

    first = dry_run()
    assert f"runtime={START_MINUTES + 1}" in first and "mem_mb=3014" in first
    # As at the third attempt, once an epoch of the setting has been measured.
    write_timing(results, replace(run, perturbation="choppy-0.85"), [59.5])
    third = dry_run("--attempt", "3")
    assert f"runtime={3 * (START_MINUTES + 2 * 48)}" in third and "mem_mb=9042" in third
    assert "perturb_labels" not in first + third


@pytest.mark.parametrize(
    ("resources", "gpus"),
    [
        ({"gpu": 1}, 1),
        ({"gpu": 0}, 0),
        ({"gpu": 0, "gres": "gpu:1"}, 1),
        ({"gpu": 0, "gres": ""}, 0),
    ],
)
def test_a_card_may_be_asked_for_by_gres(monkeypatch, resources, gpus):
    class Resources(dict):
        __getattr__ = dict.__getitem__

    asked = []
    monkeypatch.setattr(script, "lease_device", lambda gpus, **settings: asked.append(gpus))
    config = {"runs_per_gpu": 1, "gpu_wait": 1}
    wildcards = {"dataset": "lis", "model": "unet", "recipe": "plain", "perturbation": "control"}
    wildcards["repeat"] = "0"
    job = SimpleNamespace(resources=Resources(resources), config=config, wildcards=wildcards)
    script.device_of_job(job, "training")
    assert asked == [gpus]
