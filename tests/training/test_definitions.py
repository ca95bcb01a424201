"""Models and recipes are tried before anything is trained, and a mistake is named by its key."""

import importlib.util
import json
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

import own_modules
import tiny
from labelnoise import extras
from labelnoise.errors import InputError
from labelnoise.study import Model, read_study
from labelnoise.training import definitions
from labelnoise.training.augmentation import CHANGES
from labelnoise.training.definitions import check_definitions, try_definitions
from labelnoise.training.loop import UNFIT_OPTIMISERS
from settings import model_settings

ROOT = Path(__file__).parents[2]
STUDY = read_study(ROOT / "config.yaml")
PLAIN = STUDY.recipes["plain"].as_dict()


def changed(**recipe):
    """Return the shipped study with another plain recipe."""
    plain = replace(STUDY.recipes["plain"], **recipe)
    return replace(STUDY, recipes={**STUDY.recipes, "plain": plain})


def test_the_shipped_definitions_work(monkeypatch):
    recipes = {name: recipe.as_dict() for name, recipe in STUDY.recipes.items()}
    # Whether cleanlab is installed is not asked here.
    monkeypatch.setattr(definitions, "require", lambda library, key: None)
    check_definitions({"unet": STUDY.models["unet"].as_dict()}, recipes)


def test_a_recipe_whose_library_is_not_installed_is_named(monkeypatch):
    monkeypatch.setattr(extras.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"'recipes\.mended\.relabelling' needs cleanlab, .*`make"):
        check_definitions({}, {"mended": PLAIN | {"relabelling": {"folds": 5}}})


@pytest.mark.parametrize("loss", ["dice", "class_sampled_cross_entropy", "noise_robust_dice"])
def test_pixels_of_a_loss_of_masks_cannot_be_left_out(loss):
    selection = {"share": 0.1, "of": "pixels", "ramp": 10}
    with pytest.raises(InputError, match=r"'recipes\.plain'.*no pixels can be left out"):
        check_definitions({}, {"plain": PLAIN | {"loss": loss, "selection": selection}})
    check_definitions(
        {}, {"plain": PLAIN | {"loss": loss, "selection": selection | {"of": "slices"}}}
    )


def test_only_what_a_library_must_judge_takes_a_process(monkeypatch):
    asked = []

    def run(command, input, **settings):
        asked.append(json.loads(input))
        return SimpleNamespace(returncode=0)

    monkeypatch.setattr(definitions.subprocess, "run", run)
    definitions.try_definitions(STUDY)
    assert asked == []
    models = (*STUDY.matrix["model"], "unet-resnet18")
    study = replace(changed(optimiser="SGD"), matrix={**STUDY.matrix, "model": models})
    definitions.try_definitions(study)
    assert [*asked[0]["models"]] == ["unet-resnet18"] and [*asked[0]["recipes"]] == ["plain"]
    for unusual in ({"schedule": {"kind": "poly"}}, {"augmentation": {"flip_vertical": {}}}):
        definitions.try_definitions(changed(**unusual))
        assert [*asked.pop()["recipes"]] == ["plain"]


@pytest.mark.parametrize("optimiser", ["Adam", "SGD", "Rprop"])
def test_a_step_is_taken_with_every_change_and_schedule(optimiser):
    for schedule in ({"kind": "poly"}, {"kind": "cosine"}, {"kind": "step", "every": 1}):
        recipe = tiny.make_recipe(
            augmentation={name: {"probability": 0} for name in CHANGES},
            schedule={**schedule, "warmup": 1},
            optimiser=optimiser,
        )
        check_definitions({}, {"mine": recipe.as_dict()})


def test_a_mistake_comes_back_from_the_process():
    with pytest.raises(InputError, match=r"^config key 'recipes.plain': .*'adamw'"):
        definitions.try_definitions(changed(optimiser="adamw"))


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


OWN = """
models: {mine: {network: mynets.Net}}
perturbations: {shaved: {kind: mykinds.shave, severity: 2}}
matrix: {model: [mine], perturbation: [control, shaved]}
"""


def own_study(folder, net=own_modules.NET, kind=own_modules.SHAVE):
    own_modules.write(folder, "mynets", net)
    own_modules.write(folder, "mykinds", kind)
    (folder / "own.yaml").write_text(OWN)
    return read_study(ROOT / "config.yaml", folder / "own.yaml")


def test_the_users_code_is_tried_in_a_process_of_its_own(tmp_path):
    """It says what it likes there, and this process never runs it."""
    before = {*sys.modules}
    definitions.try_definitions(own_study(tmp_path, own_modules.NET + "\n    print('hello')"))
    study = own_study(tmp_path, kind="def shave(mask, severity, rng):\n    return mask + severity")
    says = r"^config key 'perturbations\.shaved': shave of .*mykinds\.py returns an array .*\.$"
    with pytest.raises(InputError, match=says):
        definitions.try_definitions(study)
    assert not any("mynets" in name or "mykinds" in name for name in {*sys.modules} - before)


def test_a_file_that_is_edited_between_two_looks_is_not_taken(tmp_path, no_own_code):
    study = own_study(tmp_path)
    definitions.use_own_code(study.modules)
    own_modules.write(tmp_path, "mynets", own_modules.NET + "\n")
    models = {"mine": study.models["mine"].as_dict()}
    with pytest.raises(InputError, match=r"'models\.mine': .*mynets\.py is not the file"):
        check_definitions(models, {})


def test_every_optimiser_that_is_offered_can_take_a_step():
    base = torch.optim.Optimizer
    known = [n for n, k in vars(torch.optim).items() if isinstance(k, type) and issubclass(k, base)]
    for name in sorted({*known} - UNFIT_OPTIMISERS):
        check_definitions({}, {name: PLAIN | {"optimiser": name, "optimiser_settings": {}}})
    assert "AdamW" in known
    for name in UNFIT_OPTIMISERS & {*known}:
        with pytest.raises(InputError, match=f"'{name}'; expected one of"):
            check_definitions({}, {name: PLAIN | {"optimiser": name}})


def test_networks_are_tried_with_the_channels_of_the_datasets(monkeypatch):
    def only_three(model, in_channels):
        if in_channels != 3:
            raise InputError(f"{in_channels} channels")

    monkeypatch.setattr("labelnoise.networks.make_network", only_three)
    picky = {"picky": model_settings(network="smp.Unet", encoder="resnet18")}
    check_definitions(picky, {}, channels=[3])
    for channels in ({}, {"channels": [1, 3]}):
        with pytest.raises(InputError, match=r"config key 'models\.picky': 1 channels"):
            check_definitions(picky, {}, **channels)


def test_a_network_of_the_users_own_is_tried_with_them_too(tmp_path, no_own_code):
    study = own_study(tmp_path, own_modules.NET.replace("(in_channels, width, 2", "(1, width, 2"))
    definitions.use_own_code(study.modules)
    models = {"mine": study.models["mine"].as_dict()}
    check_definitions(models, {})
    with pytest.raises(InputError, match=r"'models\.mine': .*expected input.* to have 1 channels"):
        check_definitions(models, {}, channels=[3])


def test_nnunet_that_is_not_installed_is_named_before_anything_runs(monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "nnunetv2" else found(name)
    )
    models = {"nnunet": Model("", {}, "nnunet")}
    with pytest.raises(InputError) as caught:
        try_definitions(replace(STUDY, models=models, matrix={**STUDY.matrix, "model": ["nnunet"]}))
    assert str(caught.value) == (
        "config key 'models.nnunet.trainer' needs nnunetv2, which is not installed; run `make "
        "nnunet`, or leave it out."
    )
    # A matrix without it needs none.
    try_definitions(replace(STUDY, models={**STUDY.models, **models}))
