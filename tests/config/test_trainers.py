"""Models and recipes of a matrix that go together, and the sentences where none do."""

import pytest

from labelnoise.config import complete
from labelnoise.errors import InputError
from labelnoise.study import Study
from settings import CONFIG

COMMAND = "python train.py {dataset} {output}"


def config(models=("net", "mine"), recipes=("plain", "own"), **others):
    return CONFIG | {
        "models": {
            "net": {"network": "unet"},
            "other": {"network": "segnet"},
            "mine": {"trainer": "command", "command": COMMAND},
            "nnunet": {"trainer": "nnunet", "epochs": 5, "folds": [0, 3]},
        },
        "recipes": {
            "plain": {"loss": "cross_entropy"},
            "dice": {"loss": "dice"},
            "own": {"loss": "trainer"},
        },
        "perturbations": {
            "control": {"kind": "control"},
            "choppy-0.9": {"kind": "choppy", "target_dice": 0.9},
        },
        "matrix": {
            "dataset": ["x"],
            "model": list(models),
            "recipe": list(recipes),
            "perturbation": ["control", "choppy-0.9"],
            "repeats": 2,
        },
        **others,
    }


def refusal(given):
    with pytest.raises(InputError) as caught:
        complete(given)
    return str(caught.value)


def test_the_runs_are_the_pairs_that_go_together():
    study = Study.of(complete(config(["net", "mine", "other"], ["plain", "own", "dice"])))
    expected = [("net", "plain"), ("net", "dice"), ("mine", "own")]
    expected += [("other", "plain"), ("other", "dice")]
    assert study.pairs == expected
    assert list(dict.fromkeys((run.model, run.recipe) for run in study.runs)) == expected
    assert len(study.runs) == 5 * 2 * 2


def test_a_trainers_definition_is_its_own_and_its_recipe_holds_nothing_else():
    study = Study.of(complete(config(["nnunet"], ["own"])))
    recipe = study.recipes["own"]
    assert recipe.as_dict() == {"loss": "trainer"}
    definition = study.models["nnunet"].as_dict()
    assert definition["trainer"] == "nnunet" and "network" not in definition
    assert (definition["configuration"], definition["iterations"]) == ("2d", 250)
    # Two folds of five epochs; a command is one.
    assert study.models["nnunet"].epochs(recipe) == 10
    assert study.models["mine"].epochs(recipe) == 1
    assert study.models["net"].epochs(study.recipes["plain"]) == 100


@pytest.mark.parametrize(
    ("models", "recipes", "sentence"),
    [
        (["mine"], ["plain"], "'matrix.model' names 'mine', a trainer, .* own: {loss: trainer}"),
        (["net"], ["own"], "'matrix.model' names 'net', a network, but all recipes"),
        (["net", "mine"], ["plain"], "'matrix.model' names 'mine', a trainer"),
        (["net"], ["plain", "own"], "'matrix.recipe' names 'own', for models with a 'trainer'"),
        (["mine"], ["plain", "own"], "'matrix.recipe' names 'plain', which trains networks"),
    ],
)
def test_a_model_or_recipe_of_no_run_is_named(models, recipes, sentence):
    with pytest.raises(InputError, match=sentence):
        complete(config(models, recipes))


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        ("train {dataset}", "lacks {output}; add it"),
        ("train {dataset} {output} {gpu}", "the placeholder {gpu}; known are {dataset}"),
        ("train '{dataset} {output}", "cannot be read: No closing quotation"),
        ("train {dataset} {output", "cannot be read: expected '}'"),
    ],
)
def test_a_command_is_read_before_anything_runs(command, sentence):
    given = config()
    given["models"]["mine"]["command"] = command
    assert sentence in refusal(given)


def test_a_trainer_gets_labels_once():
    given = config()
    given["perturbations"]["choppy-0.9"]["draws"] = "per_epoch"
    assert "'perturbations.choppy-0.9.draws' is per_epoch, but 'mine', a trainer" in refusal(given)
    given["matrix"] |= {"model": ["net"], "recipe": ["plain"]}
    complete(given)


@pytest.mark.parametrize(
    ("section", "name", "definition", "sentence"),
    [
        ("recipes", "own", {"loss": "trainer", "epochs": 3}, "unknown key 'epochs'"),
        ("models", "mine", {"trainer": "command"}, "lacks the key 'command'"),
        ("models", "mine", {"trainer": "nnunet", "folds": []}, "empty; give one at least"),
        ("models", "mine", {"trainer": "nnunet", "folds": "some"}, "'some'; expected"),
        ("models", "mine", {"trainer": "nnunet", "folds": [5]}, "expected a number <= 4"),
        ("models", "mine", {"trainer": "monai"}, "expected one of: command, nnunet"),
        ("models", "mine", {"trainer": "nnunet", "network": "unet"}, "unknown key 'network'"),
        ("models", "mine", {"width": 3}, "lacks the key 'network'"),
    ],
)
def test_what_does_not_belong_there_is_named(section, name, definition, sentence):
    given = config()
    given[section][name] = definition
    assert sentence in refusal(given)


CELLS = {"kind": "worse", "perturbation": "choppy-0.9"}


def claims(definition, **others):
    given = config(["net", "mine"], ["plain", "dice", "own"], claims={"c": definition}, **others)
    return [(claim.model, claim.recipe, claim.than) for claim in Study.of(complete(given)).claims]


def test_a_claim_is_about_the_pairs_that_go_together():
    costs = {"kind": "costs", "perturbation": "choppy-0.9"}
    assert [cell[:2] for cell in claims(costs)] == [
        ("net", "plain"),
        ("net", "dice"),
        ("mine", "own"),
    ]
    than = {"model": "mine", "recipe": "own"}
    found = claims({**CELLS, "than": than})
    assert found == [(*cell, ("mine", "own", "choppy-0.9")) for cell in _networks()]
    than = {"recipe": "plain"}
    assert [cell[:2] for cell in claims({**CELLS, "than": than})] == [("net", "dice")]


def _networks():
    return [("net", "plain"), ("net", "dice")]


def test_a_claim_about_no_such_pair_is_refused_where_it_was_asked_for():
    claim = {"kind": "costs", "perturbation": "choppy-0.9", "model": "net", "recipe": "own"}
    given = config(claims={"c": claim})
    # A standing question is left out, one that the matrix selects is not.
    assert Study.of(complete(given)).claims == []
    given["matrix"]["claims"] = ["c"]
    assert "'claims.c' is about no model and recipe of 'matrix' that go together" in refusal(given)
