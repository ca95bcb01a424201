"""Every flag of the command line, on a phantom small enough for a test."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import h5py
import pandas as pd
import pytest
import yaml

import make_viz
import model_runner
from labelnoise.config import load_config
from labelnoise.data.storage import Dataset
from labelnoise.evaluation.tables import degradation_table, runs_table
from labelnoise.jobs.devices import Card
from labelnoise.names import PERTURBATIONS
from labelnoise.seeds import label_seed, training_seed
from labelnoise.sessions import read_sessions, sessions_table
from labelnoise.training.checkpoints import load_run
from workflow_runs import ROOT

RECIPE = {
    "loss": "class_sampled_cross_entropy",
    "learning_rate": 0.01,
    "batch_size": 4,
    "steps_per_epoch": 4,
    "epochs": 2,
    "keep": 2,
}
STUDY = {
    "datasets": {"tiny": {"source": "phantom", "cases": 6, "slices": 2, "size": 32}},
    "models": {"small": {"network": "unet", "width": 2, "depth": 2}},
    "recipes": {"short": RECIPE},
}
TINY = ("-d", "tiny", "-m", "small", "--recipe", "short", "-g", "cpu")


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder that all tests share, so that the dataset is made once."""
    folder = tmp_path_factory.mktemp("home")
    (folder / "tiny.yaml").write_text(yaml.safe_dump(STUDY))
    return folder


@pytest.fixture
def run(home, monkeypatch, capsys):
    """Call the command line in the folder; give (exit code, stdout, stderr)."""
    # It chooses the card by this variable, which other tests must find as it was.
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.chdir(home)

    def call(*arguments, main=model_runner.main, config=("tiny.yaml",)):
        code = 0
        try:
            main([*arguments, *(("--config", *config) if config else ())])
        except SystemExit as stop:
            code = stop.code
        out, err = capsys.readouterr()
        return code, out, err if isinstance(code, int) else f"{code}\n"

    return call


def session(home, name):
    return next(each for each in read_sessions(home / "results") if each.name == name)


def folder_of(home, name):
    return home / session(home, name).folder


def history(home, name):
    return (folder_of(home, name) / "history.csv").read_bytes()


def test_a_new_session_is_a_run_like_any_other(run, home):
    code, out, err = run(
        *("--new", "first", "--dataset", "tiny", "--model", "small", "--perturbation", "mchop"),
        *("--batch_size", "3", "--gpu", "cpu", "--recipe", "short", "--repeat", "1"),
        *("--epochs", "3"),
    )
    assert (code, err) == (0, "")
    folder = home / "results/sessions/first/runs/tiny/small/short/choppy-0.90/rep1"
    assert str(folder.relative_to(home)) in out
    names = {"checkpoints", "history.csv", "timing.csv", "run.json", "tensorboard"}
    assert names | {"session.json", ".state"} == {path.name for path in folder.iterdir()}
    record = json.loads((folder / "run.json").read_text())
    assert record["training_seed"] == training_seed(2018, "small", 1)
    assert record["label_seed"] == label_seed(2018, "tiny", "choppy-0.90", 1)
    config = load_config(ROOT / "config.yaml", home / "tiny.yaml")
    recipe = config["recipes"]["short"] | {"batch_size": 3, "epochs": 3}
    assert record["definitions"] == {"model": config["models"]["small"], "recipe": recipe}
    assert len(pd.read_csv(folder / "history.csv")) == 3
    # What it was trained on is where the workflow looks for it.
    for path in ("datasets/tiny.h5", "calibration/tiny/choppy-0.90.json"):
        assert (home / "results" / path).exists()
    measured = "labels/tiny/choppy-0.90/rep1.json"
    assert (home / "results" / measured).read_bytes() == (
        home / "results/sessions/first" / measured
    ).read_bytes()
    assert load_run(folder).description["perturbation"] == "choppy-0.90"


def test_the_defaults_are_those_of_2018():
    assert model_runner.DEFAULTS == {
        "dataset": "lis",
        "model": "unet",
        "recipe": "labels18",
        "perturbation": "control",
        "repeat": 0,
    }
    config, name = model_runner.choose_config("LIS", model_runner.read_configs([]))
    assert name == "lis"
    recipe, data = config["recipes"]["labels18"], config["datasets"]["lis"]
    found = [recipe[key] for key in ("batch_size", "steps_per_epoch", "epochs", "keep", "monitor")]
    assert found == [20, 35, 100, 5, "validation_loss"]
    assert (data["window"], data["size"], data["select"]) == ([-128, 128], 512, "structure")
    assert config["perturbations"]["natural-0.95"]["draws"] == "per_epoch"


def test_a_session_is_tested_on_clean_labels_and_summarised(run, home):
    assert run("-n", "wrong", *TINY, "--perturbations", "lrnd")[0] == 0
    assert run("-n", "right", *TINY)[0] == 0
    for name in ("wrong", "right"):
        code, out, _ = run("-t", "-e", name, "-g", "cpu")
        assert code == 0
        assert re.search(r"liver: Dice \d\.\d{4}, precision .*, recall .*", out)
    counts = pd.read_csv(folder_of(home, "wrong") / "test.csv")
    with Dataset(home / "results/datasets/tiny.h5") as data:
        foreground = (data.read_labels(data.rows("test")) == 1).sum()
    assert counts.groupby("rank")[["tp", "fn"]].sum().sum(axis=1).tolist() == [foreground] * 2
    wrong = session(home, "wrong")
    row = runs_table([wrong.names], home / wrong.root).iloc[0]
    assert (row["perturbation"], row["recipe"]) == ("random-0.85", "short")
    assert row["label_dice"] == pytest.approx(0.85, abs=0.05)
    table = sessions_table(home / "results").set_index("recipe")
    assert table.loc["wrong: short", "dice"] == row["dice"]
    cells = degradation_table(table.reset_index())
    assert cells.set_index("recipe").loc["right: short", "n"] == 1


def test_an_existing_session_goes_on_as_if_it_had_not_stopped(run, home):
    assert run("-n", "short", *TINY)[0] == 0
    assert run("-t", "-e", "short", "-g", "cpu")[0] == 0
    assert run("-e", "short", "--epochs", "4", "-g", "cpu")[0] == 0
    assert run("-n", "long", *TINY, "--epochs", "4")[0] == 0
    assert history(home, "short") == history(home, "long")
    # It was tested with fewer epochs.
    assert not (folder_of(home, "short") / "test.csv").exists()
    assert run("-t", "-e", "short", "-g", "cpu")[0] == 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("-e", "first"), "has had its 3 epochs; name more with --epochs"),
        (("-e", "first", "--epochs", "2"), "has had its 3 epochs"),
        (("-e", "first", "-b", "7"), "is trained with batches of 3; start a new one for -b 7"),
        (("-e", "first", "-m", "unet"), "no run fits; .* one of: tiny small short choppy-0.90 1"),
        (("-e", "nobody"), "no session 'nobody' in results/sessions; there are: .*first"),
        (("-n", "first", *TINY, "-p", "mchop", "--repeat", "1"), "has this run already.*-e first"),
        (("-n", "a/b", *TINY), "'a/b' cannot name a session"),
        ((), "-n NAME, or an existing one, -e NAME"),
        (("-n", "a", "-e", "b"), "-n NAME, or an existing one, -e NAME"),
        (("-t", "-n", "a"), "only an existing session can be tested; name it: -t -e NAME"),
        (("-n", "x", "-d", "foo"), "no dataset 'foo'; there are: phantom, .*tiny"),
        (("-n", "x", *TINY, "-m", "vgg"), "no model 'vgg'; there are: unet, segnet, .*also fcn"),
        (("-n", "x", *TINY, "-p", "xchop"), "no perturbation 'xchop'; .*natural-0.85.*also.* lrnd"),
        (("-n", "x", *TINY, "--recipe", "keras"), "no recipe 'keras'; there are: labels18, plain"),
        (("-n", "x", *TINY, "-v"), r"viz/tiny holds no x\*\.npy.*make_viz\.py tiny"),
    ],
)
def test_a_mistake_is_one_sentence(run, home, arguments, says):
    if not (home / "results/sessions/first").exists():
        test_a_new_session_is_a_run_like_any_other(run, home)
    before = sorted(home.rglob("*"))
    code, out, err = run(*arguments)
    assert code not in (0, None) and out == ""
    assert re.fullmatch(rf"error: .*{says}.*\n", err), err
    assert sorted(home.rglob("*")) == before


@pytest.mark.parametrize("name", ["lis", "psd"])
def test_data_that_are_not_there_are_asked_for(run, name):
    code, _, err = run("-n", "liver", "-d", name, config=())
    assert code != 0
    assert re.fullmatch(rf"error: dataset {name}: there is no folder data/.*; download .*\n", err)
    # And the same command again says the same, not that the session exists.
    assert run("-n", "liver", "-d", name, config=())[2] == err


def test_a_config_file_that_is_not_there_is_named(run):
    assert "there is no config file none.yaml" in run("-n", "x", config=("none.yaml",))[2]


def test_predictions_are_shown_on_a_pair_made_from_the_dataset(run, home):
    if not (home / "results/datasets/tiny.h5").exists():
        assert run("-n", "prepared", *TINY)[0] == 0
    code, out, _ = run("tiny", "--slices", "1", main=make_viz.main)
    assert code == 0 and out.split() == ["viz/tiny/xviz.npy", "viz/tiny/yviz.npy"]
    try:
        assert run("-n", "watched", *TINY, "--visualize")[0] == 0
        assert run("-n", "seen", *TINY)[0] == 0
    finally:
        for path in out.split():
            (home / path).unlink()
    for name in ("watched", "seen"):
        shown = sorted(path.name for path in (folder_of(home, name) / "viz").iterdir())
        assert shown == ["epoch00001.png", "epoch00002.png"]
    assert history(home, "watched") == history(home, "seen")


def test_a_pair_of_a_dataset_that_is_not_prepared_is_an_error(run):
    code, _, err = run("mni152", main=make_viz.main)
    assert code != 0 and "results/datasets/mni152.h5 does not exist" in err


def test_one_name_may_hold_several_runs(run, home):
    for perturbation in ("none", "lchop"):
        assert run("-n", "both", *TINY, "-p", perturbation)[0] == 0
    code, _, err = run("-e", "both", "--epochs", "3")
    assert code != 0 and "several runs fit" in err and "tiny small short choppy-0.85 0" in err
    assert run("-e", "both", "-p", "lchop", "--epochs", "3", "-g", "cpu")[0] == 0
    epochs = {
        each.names["perturbation"]: each.epochs
        for each in read_sessions(home / "results")
        if each.name == "both"
    }
    assert epochs == {"control": 2, "choppy-0.85": 3}


def shared_files(home):
    """Content of the study's own files, those of sessions left out."""
    return {
        path: path.read_bytes()
        for part in ("datasets", "calibration", "labels")
        for path in (home / "results" / part).rglob("*.*")
        if path.is_file()
    }


def test_files_of_other_settings_are_not_used_and_not_replaced(run, home):
    assert run("-n", "before", *TINY)[0] == 0
    shared = shared_files(home)
    other = {"datasets": {"tiny": {"size": 48}}}
    (home / "larger.yaml").write_text(yaml.safe_dump(other))
    for name in ("larger", "again"):
        code = run("-n", name, *TINY, "--epochs", "1", config=("tiny.yaml", "larger.yaml"))[0]
        assert code == 0
    assert shared_files(home) == shared
    own = home / "results/sessions/larger"
    with h5py.File(own / "datasets/tiny.h5") as file:
        assert file["images"].shape[1:] == (48, 48)
    assert (own / "labels/tiny/control/rep0.h5").exists()
    # A session keeps its definitions, whatever the config says now.
    assert run("-e", "larger", "--epochs", "2", "-g", "cpu")[0] == 0
    assert load_run(folder_of(home, "larger")).description["size"] == [48, 48]


def test_labels_of_another_kind_of_draw_are_made_for_the_session_alone(run, home):
    assert run("-n", "fixed", *TINY, "-p", "schop")[0] == 0
    fresh = {"perturbations": {"choppy-0.95": {"draws": "per_epoch"}}}
    (home / "fresh.yaml").write_text(yaml.safe_dump(fresh))
    code = run("-n", "fresh", *TINY, "-p", "schop", config=("tiny.yaml", "fresh.yaml"))[0]
    assert code == 0
    own = home / "results/sessions/fresh"
    assert not (own / "datasets").exists()
    with h5py.File(own / "labels/tiny/choppy-0.95/rep0.h5") as file:
        assert file.attrs["draws"] == "per_epoch"
    assert history(home, "fixed") != history(home, "fresh")


@pytest.mark.parametrize(
    ("short", "name"),
    [
        *PERTURBATIONS.items(),
        ("control", "control"),
        ("choppy-0.90", "choppy-0.90"),
        ("MCHOP", "choppy-0.90"),
    ],
)
def test_short_names_are_those_of_the_config(short, name):
    config = load_config(ROOT / "config.yaml")
    arguments = model_runner.parse(["-n", "x", "-p", short, "-m", "FCN"])
    assert model_runner.named(arguments, config) == {"model": "fcn32", "perturbation": name}


def test_the_nine_short_names_of_2018_are_known():
    sizes = {"s": "0.95", "m": "0.90", "l": "0.85"}
    kinds = {"nat": "natural", "chop": "choppy", "rnd": "random"}
    nine = {s + k: f"{kinds[k]}-{sizes[s]}" for s in sizes for k in kinds}
    assert nine | {"none": "control"} == PERTURBATIONS


CARDS = [Card(index, f"GPU-{index}abc", "Test card") for index in range(4)]


@pytest.mark.parametrize(
    ("gpu", "preset", "uuid"),
    [
        (None, None, "GPU-0abc"),
        (None, "3", "GPU-3abc"),
        ("2", None, "GPU-2abc"),
        ("1", "3", "GPU-1abc"),
        ("GPU-3", None, "GPU-3abc"),
        ("cpu", None, ""),
        ("-1", None, ""),
    ],
)
def test_the_gpu_is_the_one_asked_for(monkeypatch, tmp_path, gpu, preset, uuid):
    monkeypatch.setattr(model_runner, "installed_cards", lambda: CARDS)
    monkeypatch.setattr("labelnoise.jobs.devices._lock_folder", lambda: tmp_path)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", preset or "")
    if preset is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    with model_runner.chosen_device(gpu) as device:
        assert os.environ["CUDA_VISIBLE_DEVICES"] == uuid
        assert device.kind == ("cuda" if uuid else "cpu")


def test_a_gpu_that_is_not_there_is_an_error(run, monkeypatch):
    monkeypatch.setattr(model_runner, "installed_cards", lambda: CARDS)
    code, _, err = run("-n", "gpu", *TINY[:-1], "7")
    assert code != 0 and "there is no GPU '7' here; there are: 0, 1, 2, 3, or cpu" in err


def process(home, *arguments, **options):
    variables = os.environ | {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, ROOT / "scripts/model_runner.py", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=home,
        env=variables,
        **options,
    )


def test_help_shows_each_flag_in_use():
    out, err = process(ROOT, "--help").communicate()
    assert err == ""
    options, examples = out.split("examples:")
    for flags in re.findall(r"^  (-.*)$", options, re.MULTILINE):
        flag = re.match(r"-+\w+", flags).group()
        assert flag == "-h" or f" {flag} " in examples.replace("\n", " "), flag


def test_a_session_that_is_terminated_goes_on(home, run):
    assert run("-n", "whole", *TINY, "--epochs", "12")[0] == 0
    config = ("--config", "tiny.yaml")
    training = process(home, "-n", "ended", *TINY, "--epochs", "12", *config)
    state = home / "results/sessions/ended/runs/tiny/small/short/control/rep0/.state/state.pt"
    while not state.exists() and training.poll() is None:
        time.sleep(0.002)
    training.send_signal(signal.SIGTERM)
    _, err = training.communicate(timeout=60)
    assert training.returncode == 143
    assert "continue it with: -e ended" in err and "Traceback" not in err
    goes_on = process(home, "-e", "ended", "-g", "cpu", *config)
    out, err = goes_on.communicate()
    assert goes_on.returncode == 0, err
    assert "session ended" in out and "going on after epoch" in err
    assert history(home, "ended") == history(home, "whole")


def test_a_mistake_on_the_real_command_line_has_no_traceback(tmp_path):
    failed = process(tmp_path, "-n", "x", "-d", "lis")
    out, err = failed.communicate()
    assert failed.returncode == 1 and out == ""
    assert err.splitlines()[-1].startswith("error: dataset lis: there is no folder data/")
    assert "Traceback" not in err
    assert not (tmp_path / "results").exists()
    bad = process(tmp_path, "-n", "x", "-b", "none")
    assert "none is not a whole number of at least 1" in bad.communicate()[1]
    assert bad.returncode == 2
