"""What trainings ask a cluster for."""

import os
from types import SimpleNamespace

import pytest

from labelnoise.jobs import script as scripting
from labelnoise.jobs.resources import (
    LONGEST_GUESS_MINUTES,
    LONGEST_MINUTES,
    START_MINUTES,
    measured_seconds,
    training_megabytes,
    training_minutes,
)
from workflow_runs import TINY, snakemake

RECIPE = {"steps_per_epoch": 50, "batch_size": 20, "epochs": 60}


def timing(folder, perturbation, repeat, epochs):
    run = folder / "runs" / "lis" / "unet" / "plain" / perturbation / f"rep{repeat}"
    run.mkdir(parents=True)
    rows = [f"{number},{seconds},0.5,1\n" for number, seconds in enumerate(epochs, 1)]
    (run / "timing.csv").write_text("epoch,train,validation,sitting\n" + "".join(rows))
    return run


def test_the_slowest_finished_run_is_the_measure(tmp_path):
    timing(tmp_path, "control", 0, [1, 2, 3])
    timing(tmp_path, "natural-0.95", 1, [5, 7])
    assert measured_seconds(tmp_path, "lis", "unet", "plain") == 6.5
    assert measured_seconds(tmp_path, "lis", "segnet", "plain") is None


def test_a_run_that_finishes_later_is_seen(tmp_path):
    assert measured_seconds(tmp_path, "lis", "unet", "plain") is None
    timing(tmp_path, "control", 0, [2])
    assert measured_seconds(tmp_path, "lis", "unet", "plain") == 2.5


@pytest.mark.parametrize("text", ["", "epoch,train,validation\n", "epoch,train\n1,2\n", "a\nb,c\n"])
def test_a_table_that_says_nothing_is_passed_over(tmp_path, text):
    run = timing(tmp_path, "control", 0, [2])
    (run / "timing.csv").write_text(text)
    assert measured_seconds(tmp_path, "lis", "unet", "plain") is None


def test_measured_seconds_make_the_limit():
    # 60 epochs of 30 s are half an hour, twice that for safety.
    assert training_minutes(30, RECIPE, 256) == START_MINUTES + 60
    assert training_minutes(30, RECIPE, 256, attempt=2) == 2 * (START_MINUTES + 60)


def test_limits_stay_within_a_day():
    assert training_minutes(1e6, RECIPE, 256) == LONGEST_MINUTES
    assert training_minutes(1000, RECIPE, 256, attempt=4) == LONGEST_MINUTES
    assert training_minutes(None, RECIPE | {"epochs": 10**6}, 512) == LONGEST_GUESS_MINUTES


def test_guesses_grow_with_the_pixels():
    small, large = (training_minutes(None, RECIPE, size) for size in (64, 128))
    assert large - START_MINUTES == pytest.approx(4 * (small - START_MINUTES), abs=4)
    assert training_minutes(None, RECIPE, None) == training_minutes(None, RECIPE, 512)


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
        asked = training_megabytes(model, {"batch_size": batch}, size)
        assert peak + 1000 < asked < 4 * peak + 4000


def test_memory_grows_with_image_batch_width_and_attempt():
    unet, recipe = {"network": "unet", "width": 6}, {"batch_size": 20}
    asked = training_megabytes(unet, recipe, 256)
    assert training_megabytes(unet, recipe, 512) > asked
    assert training_megabytes(unet, {"batch_size": 40}, 256) > asked
    assert training_megabytes(unet | {"width": 64}, recipe, 256) > asked
    assert training_megabytes(unet, recipe, 256, attempt=3) == 3 * asked


def test_rules_ask_for_them_and_what_they_ask_makes_nothing_stale(tmp_path):
    target = "results/labels/tiny/control/rep0.h5"
    run = "results/runs/tiny/small/short/control/rep0/run.json"
    assert snakemake(tmp_path, TINY, target).returncode == 0

    def dry_run(*options):
        return snakemake(tmp_path, TINY, target, run, "--dry-run", *options).stdout

    first = dry_run()
    assert "runtime=11" in first and "mem_mb=3023" in first
    # As at the third attempt, and with a cell that has been measured.
    third = dry_run("--attempt", "3")
    assert "runtime=33" in third and "mem_mb=9069" in third
    folder = tmp_path / "results/runs/tiny/small/short/choppy-0.85/rep0"
    os.makedirs(folder)
    (folder / "timing.csv").write_text("epoch,train,validation,sitting\n1,599,1,1\n")
    measured = dry_run()
    assert f"runtime={START_MINUTES + 2 * 2 * 10}" in measured
    assert "perturb_labels" not in first + third + measured


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
    monkeypatch.setattr(scripting, "lease_device", lambda gpus, **settings: asked.append(gpus))
    config = {"runs_per_gpu": 1, "gpu_wait": 1}
    wildcards = ["lis", "unet"]
    job = SimpleNamespace(resources=Resources(resources), config=config, wildcards=wildcards)
    scripting.device_of_job(job, "training")
    assert asked == [gpus]
