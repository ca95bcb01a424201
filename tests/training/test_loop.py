"""The loop learns, repeats itself, stops at a loss that is no number, and records what it did."""

import json
import math

import numpy as np
import pandas as pd
import pytest
import torch

from labelnoise.errors import InputError
from labelnoise.study import Model, Recipe, Run
from labelnoise.training.checkpoints import load_run
from labelnoise.training.loop import check_finite, make_optimiser
from labelnoise.training.provenance import code_digest
from labelnoise.training.run import choose
from settings import model_settings
from tiny import MODEL, make_recipe, make_task, train, write_discs, write_files


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return write_files(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def run(files, tmp_path_factory):
    path = tmp_path_factory.mktemp("run") / "rep0"
    return train(path, files, {"epochs": 12}, preview_every=6)


def test_the_network_learns(run):
    history = pd.read_csv(run.history)
    assert history["epoch"].tolist() == list(range(1, 13))
    assert history["validation_dice"].iloc[-1] > 0.9
    assert history["train_loss"].iloc[-1] < history["train_loss"].iloc[0] / 2


def test_a_run_leaves_what_it_promises(run):
    assert {path.name for path in run.path.iterdir()} == {
        "checkpoints",
        "history.csv",
        "timing.csv",
        "run.json",
        "tensorboard",
        "previews",
    }
    assert sorted(path.name for path in run.checkpoints.iterdir()) == ["top1.pt", "top2.pt"]
    assert len(list(run.tensorboard.iterdir())) == 1
    assert [path.name for path in sorted(run.previews.iterdir())] == [
        "epoch00006.png",
        "epoch00012.png",
    ]


def test_the_kept_epochs_are_the_best_of_the_history(run):
    history = pd.read_csv(run.history).set_index("epoch")
    record = json.loads(run.record.read_text())
    best = history["validation_loss"].nsmallest(2).index.tolist()
    assert [entry["epoch"] for entry in record["checkpoints"]] == best
    assert record["parameters"] == sum(
        parameter.numel() for parameter in load_run(run.path).network.parameters()
    )
    chosen = record["checkpoints"][record["chosen_rank"] - 1]["epoch"]
    assert history.loc[best, "validation_dice"].max() == history.loc[chosen, "validation_dice"]


@pytest.mark.parametrize("loss", ["cross_entropy", "class_sampled_cross_entropy"])
def test_a_run_repeats_itself_to_the_last_byte(files, tmp_path, loss):
    one, two = (train(tmp_path / name, files, {"loss": loss}) for name in ("one", "two"))
    assert one.history.read_bytes() == two.history.read_bytes()
    networks = [load_run(folder.path).network for folder in (one, two)]
    for first, second in zip(*(network.parameters() for network in networks), strict=True):
        assert torch.equal(first, second)


def test_the_last_epoch_is_kept_where_the_recipe_asks_for_it(files, tmp_path):
    folder = train(tmp_path / "rep0", files, {"monitor": "epoch", "keep": 1})
    record = json.loads(folder.record.read_text())
    assert [entry["epoch"] for entry in record["checkpoints"]] == [3]


def test_what_is_left_out_grows_with_the_epochs(files, tmp_path):
    plain, selected = (
        pd.read_csv(train(tmp_path / name, files, {"selection": selection}).history)
        for name, selection in (("plain", None), ("selected", {"share": 0.2, "ramp": 2}))
    )
    first, second = plain["train_loss"], selected["train_loss"]
    assert first[0] == second[0] and second[1] < first[1]
    # Validation leaves out nothing.
    assert plain["validation_loss"][0] == selected["validation_loss"][0]


def test_another_repeat_is_another_run(files, tmp_path):
    first, second = (train(tmp_path / str(repeat), files, repeat=repeat) for repeat in (0, 1))
    assert first.history.read_text() != second.history.read_text()


def test_validation_labels_may_be_perturbed_alike(files, tmp_path):
    clean, wrong = (
        pd.read_csv(train(tmp_path / labels, files, {"validation_labels": labels}).history)
        for labels in ("clean", "perturbed")
    )
    assert clean["train_loss"].equals(wrong["train_loss"])
    assert not clean["validation_loss"].equals(wrong["validation_loss"])


@pytest.mark.parametrize(
    ("recipe", "model"),
    [
        ({"precision": "bf16"}, MODEL),
        ({"optimiser": "SGD", "optimiser_settings": {"momentum": 0.9}}, MODEL),
        ({"loss": "smp.FocalLoss"}, model_settings(network="smp.Unet", encoder="resnet18")),
        ({"monitor": "validation_dice", "batch_size": 50}, MODEL),
        ({"accumulation": 2}, MODEL),
        ({"loss": "t_loss", "accumulation": 2}, MODEL),
        ({"selection": {"share": 0.1, "ramp": 1}}, MODEL),
        ({"loss": "dice", "selection": {"share": 0.25, "of": "slices", "ramp": 0}}, MODEL),
    ],
)
def test_recipes_and_networks_run(files, tmp_path, recipe, model):
    short = {"epochs": 2, "steps_per_epoch": 2}
    history = pd.read_csv(train(tmp_path / "run", files, short | recipe, model).history)
    assert np.isfinite(history["train_loss"]).all()


@pytest.mark.parametrize(
    ("setting", "tolerance"),
    [
        ({"optimiser_settings": {"fused": True}}, 1e-5),
        ({"precision": "bf16"}, 0.05),
    ],
)
def test_a_setting_for_speed_hardly_changes_the_first_losses(files, tmp_path, setting, tolerance):
    short = {"epochs": 2, "learning_rate": 0.001}
    plain, fast = (
        pd.read_csv(train(tmp_path / name, files, short | recipe).history)["train_loss"]
        for name, recipe in (("plain", {}), ("fast", setting))
    )
    assert fast.tolist() == pytest.approx(plain.tolist(), rel=tolerance)
    assert not fast.equals(plain)
    definitions = json.loads((tmp_path / "fast/run.json").read_text())["definitions"]
    assert definitions["recipe"].items() >= setting.items()


def test_compiling_without_a_compiler_is_named(files, tmp_path, monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler -O2")
    with pytest.raises(InputError, match="compiler 'no-such-compiler -O2'; install"):
        train(tmp_path / "run", files, {"compile": True})


def test_a_loss_that_is_no_number_stops_the_run(files, tmp_path):
    with pytest.raises(InputError, match=r"became (nan|inf) in epoch \d+, step \d+; lower"):
        train(tmp_path / "run", files, {"learning_rate": 1000, "optimiser": "SGD"})
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_the_first_step_that_fails_is_named():
    losses = torch.tensor([0.5, 0.4, math.inf, math.nan])
    with pytest.raises(InputError, match=r"inf in epoch 7, step 3; .*precision"):
        check_finite(losses, 7, make_recipe(precision="bf16"))


@pytest.mark.parametrize(
    ("recipe", "says"),
    [
        ({"optimiser": "Adma"}, "'optimiser' is 'Adma'; expected one of: .*Adam, "),
        ({"optimiser": "Optimizer"}, "'optimiser' is 'Optimizer'"),
        ({"optimiser_settings": {"momentun": 1}}, "'optimiser_settings' does not fit Adam"),
        ({"optimiser_settings": {"eps": -1}}, "'optimiser_settings' does not fit Adam"),
    ],
)
def test_a_wrong_optimiser_is_named(recipe, says):
    with pytest.raises(InputError, match=says):
        make_optimiser([torch.nn.Parameter(torch.zeros(1))], make_recipe(**recipe))


def test_labels_of_another_dataset_are_refused(files, tmp_path):
    other = write_discs(tmp_path / "other.h5", name="other")
    with pytest.raises(InputError, match="labels of dataset 'discs', not of 'other'"):
        train(tmp_path / "run", files | {"dataset": other})


def test_a_record_says_what_the_run_was(run, files):
    record = json.loads(run.record.read_text())
    task = make_task(files, {"epochs": 12})
    assert Run.of(record) == task.run
    assert Model.of(record["definitions"]["model"]) == task.model
    assert Recipe(**record["definitions"]["recipe"]) == task.recipe
    assert record["code"] == code_digest() and record["interruptions"] == []


@pytest.mark.parametrize(
    ("dices", "rank"),
    [([0.7, 0.9, 0.8], 2), ([0.9, 0.9], 1), ([math.nan, 0.1], 2), ([math.nan, math.nan], 1)],
)
def test_the_run_is_judged_by_the_best_validation_dice(dices, rank):
    kept = [
        {"rank": rank, "epoch": rank, "metrics": {"validation_dice": dice}}
        for rank, dice in enumerate(dices, start=1)
    ]
    assert choose(kept) == rank
