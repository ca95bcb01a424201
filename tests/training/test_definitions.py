"""Models and recipes are tried before anything is trained, and a mistake is named by its key."""

import copy
import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from labelnoise.config import load_config
from labelnoise.errors import InputError
from labelnoise.training import definitions
from labelnoise.training.definitions import check_definitions
from labelnoise.training.loop import UNFIT_OPTIMISERS
from settings import model_settings

CONFIG = load_config(Path(__file__).parents[2] / "config.yaml")
PLAIN = CONFIG["recipes"]["plain"]


def test_the_shipped_definitions_work():
    check_definitions({"unet": CONFIG["models"]["unet"]}, CONFIG["recipes"])


def test_only_what_a_library_must_judge_takes_a_process(monkeypatch):
    asked = []

    def run(command, input, **settings):
        asked.append(json.loads(input))
        return SimpleNamespace(returncode=0)

    monkeypatch.setattr(definitions.subprocess, "run", run)
    definitions.try_definitions(CONFIG)
    assert asked == []
    config = copy.deepcopy(CONFIG)
    config["matrix"]["model"].append("unet-resnet18")
    config["recipes"]["plain"]["optimiser"] = "SGD"
    definitions.try_definitions(config)
    assert [*asked[0]["models"]] == ["unet-resnet18"] and [*asked[0]["recipes"]] == ["plain"]


def test_a_mistake_comes_back_from_the_process():
    config = copy.deepcopy(CONFIG)
    config["recipes"]["plain"]["optimiser"] = "adamw"
    with pytest.raises(InputError, match=r"^config key 'recipes.plain': .*'adamw'"):
        definitions.try_definitions(config)


@pytest.mark.parametrize(
    ("model", "says"),
    [
        ({"network": "smp.unet"}, "Unknown network 'smp.unet'"),
        ({"network": "smp.Unet", "encoder": "nope"}, "Unknown encoder 'nope'"),
        ({"network": "smp.Unet", "settings": {"foo": 1}}, "Unknown setting 'foo'"),
    ],
)
def test_a_model_that_cannot_be_built_is_named(model, says):
    with pytest.raises(InputError, match=f"^config key 'models.mine': {says}"):
        check_definitions({"mine": model_settings(**model)}, {})


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"loss": "smp.focal"}, "Unknown loss 'smp.focal'"),
        (
            {"loss": "smp.SoftCrossEntropyLoss", "loss_settings": {"reduction": "none"}},
            "set its reduction",
        ),
        ({"loss": "smp.TverskyLoss", "loss_settings": {"alpha": "x"}}, "a step with loss"),
        ({"optimiser": "adamw"}, "'adamw'; expected one of: .* AdamW"),
        ({"optimiser_settings": {"foo": 1}}, "'optimiser_settings' does not fit Adam"),
    ],
)
def test_a_recipe_that_cannot_be_used_is_named(change, says):
    with pytest.raises(InputError, match=f"^config key 'recipes.mine': .*{says}"):
        check_definitions({}, {"mine": PLAIN | change})


def test_every_optimiser_that_is_offered_can_take_a_step():
    base = torch.optim.Optimizer
    known = [n for n, k in vars(torch.optim).items() if isinstance(k, type) and issubclass(k, base)]
    for name in sorted({*known} - UNFIT_OPTIMISERS):
        check_definitions({}, {name: PLAIN | {"optimiser": name, "optimiser_settings": {}}})
    assert "AdamW" in known
    for name in UNFIT_OPTIMISERS & {*known}:
        with pytest.raises(InputError, match=f"'{name}'; expected one of"):
            check_definitions({}, {name: PLAIN | {"optimiser": name}})
