"""Every flag of the command line, on a phantom small enough for a test.

Sessions are made by Snakemake, in seconds each, so tests share one of them.
"""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import pandas as pd
import pytest
import torch
import yaml

import make_viz
import model_runner
from labelnoise.config import load_config
from labelnoise.evaluation.tables import degradation_table, sessions_tables
from labelnoise.jobs.devices import Card, Device
from labelnoise.names import PERTURBATIONS
from labelnoise.seeds import label_seed, training_seed
from labelnoise.sessions import Session, find_session
from labelnoise.study import Recipe, Results, Run, RunFolder, Study, Task
from labelnoise.training.checkpoints import load_run
from labelnoise.training.run import train_run
from workflow_runs import ROOT, TINY

STUDY = {section: TINY[section] for section in ("datasets", "models", "recipes")}
# So many that Ctrl-C meets the training between two of them.
EPOCHS = 48
NAMES = ("-d", "tiny", "-m", "small", "-g", "cpu")
FIRST = (*NAMES, "--recipe", "short", "-p", "mchop", "--repeat", "1")
RESULTS = Results(Path("results"))


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """A folder with a session `first` that met Ctrl-C, and (exit code, stdout, stderr) of that."""
    folder = tmp_path_factory.mktemp("home")
    (folder / "tiny.yaml").write_text(yaml.safe_dump(STUDY))
    flags = ("--batch_size", "3", "--epochs", str(EPOCHS))
    training = process(folder, "--new", "first", *FIRST, *flags)
    run = "tiny/small/short/choppy-0.90/rep1"
    state = folder / f"results/sessions/first/runs/{run}/.state/state.pt"
    while not state.exists() and training.poll() is None:
        time.sleep(0.002)
    training.send_signal(signal.SIGINT)
    said = training.communicate()
    return folder, (training.returncode, *said)


@pytest.fixture(scope="module")
def home(stopped):
    """A folder with a session `first` that was stopped and continued to its last epoch."""
    folder, _ = stopped
    done = process(folder, "-e", "first", "-g", "cpu")
    out, err = done.communicate()
    assert (done.returncode, err) == (0, "")
    assert "session first: results/sessions/first/runs/tiny/small/short/choppy-0.90/rep1" in out
    return folder


def process(folder, *arguments, config=("tiny.yaml",), **options):
    overlay = ("--config", *config) if config else ()
    return subprocess.Popen(
        [sys.executable, ROOT / "scripts/model_runner.py", *arguments, *overlay],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        env=os.environ | {"CUDA_VISIBLE_DEVICES": ""},
        **options,
    )


@pytest.fixture
def run(home, monkeypatch, capfd):
    """Return a function that calls the command line: (exit code, stdout, stderr)."""
    # It chooses the card by this variable, which other tests must find as it was.
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.chdir(home)

    def call(*arguments, main=model_runner.main, config=("tiny.yaml",)):
        code = 0
        try:
            main([*arguments, *(("--config", *config) if config else ())])
        except SystemExit as stop:
            code = stop.code
        out, err = capfd.readouterr()
        return code, out, err if isinstance(code, int) else f"{code}\n"

    return call


def session(home, name="first", **wanted) -> Session:
    return find_session(Results(home / "results"), name, wanted)


def folder(home, **wanted):
    found = session(home, **wanted)
    return Results(home / "results").session("first").run_folder(found.run)


def test_ctrl_c_ends_a_session_which_goes_on(stopped, home):
    code, out, err = stopped[1]
    assert (code, out) == (128 + signal.SIGINT, "")
    assert "continue it with: -e first" in err and "Traceback" not in err
    found = folder(home, recipe="short", perturbation="choppy-0.90")
    record = pd.read_json(found.record, typ="series")
    assert [sitting["after_epoch"] > 0 for sitting in record["interruptions"]] == [True]
    assert pd.read_csv(found.history)["epoch"].tolist() == [*range(1, EPOCHS + 1)]


def test_a_session_is_a_run_like_any_other(home):
    own = Results(home / "results").session("first")
    run = Run("tiny", "small", "short", "choppy-0.90", 1)
    trained = load_run(own.run_folder(run).path)
    assert trained.description["perturbation"] == "choppy-0.90"
    record = pd.read_json(own.run_folder(run).record, typ="series")
    assert record["training_seed"] == training_seed(2018, "small", 1)
    assert record["label_seed"] == label_seed(2018, "tiny", "choppy-0.90", 1)
    config = load_config(ROOT / "config.yaml", home / "tiny.yaml")
    recipe = Recipe(**config["recipes"]["short"] | {"batch_size": 3, "epochs": EPOCHS}).as_dict()
    assert record["definitions"] == {"model": config["models"]["small"], "recipe": recipe}
    # All that it rests on is its own.
    assert own.fill(own.dataset, run).exists() and own.fill(own.labels, run).exists()
    assert not (home / "results/datasets").exists()


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


def test_a_session_is_tested_goes_on_and_is_shown_as_if_it_had_not_stopped(run, home):
    code, out, err = run("-t", "-e", "first", "-g", "cpu")
    assert (code, err) == (0, "")
    assert re.search(
        r"liver: Dice \d\.\d{4}, precision .*, recall .* \(epoch \d+, test slices", out
    )
    counts = pd.read_csv(folder(home).counts)
    with h5py.File(home / "results/sessions/first/datasets/tiny.h5") as file:
        test = file["split"].asstr()[:] == "test"
        foreground = int((file["labels"][:][test] == 1).sum())
    assert counts.groupby("rank")[["tp", "fn"]].sum().sum(axis=1).tolist() == [foreground] * 2
    table, cases = sessions_tables(RESULTS)
    assert table["recipe"].tolist() == ["first: short"]
    assert table["label_dice"].item() == pytest.approx(0.9, abs=0.05)
    (row,) = degradation_table(table, cases).to_dict("records")
    assert (row["n"], row["left_out"]) == (
        1,
        "repeats" if row["cases"] > 1 else "repeats and cases",
    )

    # Beyond the last epoch, watched: a pair of arrays is made from the study's dataset.
    code, out, err = run("tiny", "--slices", "1", main=make_viz.main)
    assert (code, err) == (0, "") and out.split() == ["viz/tiny/xviz.npy", "viz/tiny/yviz.npy"]
    assert run("-e", "first", "--epochs", str(EPOCHS + 2), "-g", "cpu", "-v")[0] == 0
    shown = sorted(path.name for path in folder(home).visualisations.iterdir())
    assert shown == [f"epoch000{EPOCHS + 1}.png", f"epoch000{EPOCHS + 2}.png"]
    assert folder(home).history.read_bytes() == history_in_one(session(home))


def history_in_one(made):
    """Train a session's run without Snakemake and a stop; return its history."""
    study, own = Study.of(made.config), made.results
    files = [Path(own.fill(pattern, made.run)) for pattern in (own.dataset, own.labels)]
    recipe = study.recipes[made.run.recipe]
    task = Task(made.run, study.models[made.run.model], recipe, study.seed, *files)
    # As many as the session's jobs have: sums depend on it.
    before = torch.get_num_threads()
    torch.set_num_threads(os.cpu_count() or 1)
    train_run(task, RunFolder(Path("in-one")), Device("cpu", "cpu"))
    torch.set_num_threads(before)
    return RunFolder(Path("in-one")).history.read_bytes()


def test_a_dataset_of_other_settings_is_made_again(run, home):
    """Another road once trained on the old file without a word."""
    path = home / "results/sessions/first/datasets/tiny.h5"
    with h5py.File(path) as file:
        assert len(set(file["case"].asstr()[:])) == 6
    (home / "more.yaml").write_text(yaml.safe_dump({"datasets": {"tiny": {"cases": 7}}}))
    control = (*NAMES, "--recipe", "short", "-p", "none")
    shorter = (*control, "--epochs", "1")
    assert run("-n", "first", *shorter, config=("tiny.yaml", "more.yaml"))[0] == 0
    with h5py.File(path) as file:
        assert len(set(file["case"].asstr()[:])) == 7
    # A session keeps its definitions, whatever the config says now.
    assert session(home, perturbation="control").config["datasets"]["tiny"]["cases"] == 7
    assert session(home, repeat=1).config["datasets"]["tiny"]["cases"] == 6
    # The pair on which another run was watched is there, and was not asked for.
    assert not folder(home, perturbation="control").visualisations.exists()
    # One name holds several runs.
    code, _, err = run("-e", "first", "--epochs", "99")
    assert code != 0 and "several runs fit" in err and "tiny small short choppy-0.90 1" in err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("-e", "first", "--repeat", "1"), "has been trained for its .* epochs; name more"),
        (("-e", "first", "--repeat", "1", "--epochs", "2"), "has been trained for its"),
        (
            ("-e", "first", "--repeat", "1", "-b", "7"),
            "is trained with batches of 3; start a new one for -b 7",
        ),
        (("-e", "first", "-m", "unet"), "no run fits; .* one of: .*tiny small short choppy-0.90 1"),
        (("-e", "nobody"), "no session 'nobody' in results/sessions; there are: first"),
        (("-n", "first", *FIRST), "has this run already.*-e first"),
        (("-n", "a/b", *NAMES), "'a/b' cannot name a session"),
        ((), "-n NAME, or an existing one, -e NAME"),
        (("-n", "a", "-e", "b"), "-n NAME, or an existing one, -e NAME"),
        (("-t", "-n", "a"), "only an existing session can be tested; name it: -t -e NAME"),
        (("-n", "x", "-d", "foo"), "no dataset 'foo'; there are: phantom, .*tiny"),
        (("-n", "x", *NAMES, "-m", "vgg"), "no model 'vgg'; there are: unet, segnet, .*also fcn"),
        (("-n", "x", *NAMES, "-p", "xchop"), "no perturbation 'xchop'; .*natural-0.85.*also.* lrn"),
        (("-n", "x", *NAMES, "--recipe", "keras"), "no recipe 'keras'; there are: labels18, plain"),
        (
            ("-n", "x", "-d", "phantom", "-g", "cpu", "-v"),
            r"viz/phantom holds no x\*\.npy.*make_viz\.py phantom --config tiny\.yaml",
        ),
    ],
)
def test_a_mistake_is_one_sentence(run, home, arguments, says):
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
    ("gpu", "preset", "allowed", "number"),
    [
        (None, None, "0", 1),
        (None, "3", "3", 1),
        ("2", None, "2", 1),
        ("1", "3", "1", 1),
        ("GPU-3", None, "GPU-3", 1),
        ("cpu", None, None, 0),
        ("-1", None, None, 0),
    ],
)
def test_the_gpu_is_the_one_asked_for(monkeypatch, gpu, preset, allowed, number):
    monkeypatch.setattr(model_runner, "installed_cards", lambda: CARDS)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", preset or "")
    if preset is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert model_runner.choose_gpu(gpu) == number
    assert os.environ.get("CUDA_VISIBLE_DEVICES") == allowed


def test_a_gpu_that_is_not_there_is_an_error(run, monkeypatch):
    monkeypatch.setattr(model_runner, "installed_cards", lambda: CARDS)
    code, _, err = run("-n", "gpu", *NAMES[:-1], "7", "--recipe", "short")
    assert code != 0 and "there is no GPU '7' here; there are: 0, 1, 2, 3, or cpu" in err


def test_help_shows_each_flag_in_use():
    out, err = process(ROOT, "--help", config=()).communicate()
    assert err == ""
    options, examples = out.split("examples:")
    for flags in re.findall(r"^  (-.*)$", options, re.MULTILINE):
        flag = re.match(r"-+\w+", flags).group()
        assert flag == "-h" or f" {flag} " in examples.replace("\n", " "), flag


def test_a_mistake_on_the_real_command_line_has_no_traceback(tmp_path):
    failed = process(tmp_path, "-n", "x", "-d", "lis", config=())
    out, err = failed.communicate()
    assert failed.returncode == 1 and out == ""
    assert err.splitlines()[-1].startswith("error: dataset lis: there is no folder data/")
    assert "Traceback" not in err
    assert not (tmp_path / "results").exists()
    bad = process(tmp_path, "-n", "x", "-b", "none", config=())
    assert "none is not a whole number of at least 1" in bad.communicate()[1]
    assert bad.returncode == 2
