"""One canonical form: order and spelling of a configuration change nothing."""

import copy

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from labelnoise.config import complete
from workflow_runs import ROOT, TINY, job_counts, snakemake

CONFIG = yaml.safe_load((ROOT / "config.yaml").read_text())
# An entry of every kind, each with what is optional left out.
VOLUMES = {"folder": "data", "classes": {"liver": [1, 2], "tumour": [3]}, "window": [-128, 128]}
CONFIG["datasets"] |= {
    "pairs": {"source": "images", "case": "(a)", **VOLUMES},
    "volumes": {
        "source": "volumes",
        **VOLUMES,
        "split": {"train": 0.5, "validation": 0.25, "test": 0.25},
    },
    "msd": {"source": "msd", "folder": "data", "window": [0, 1], "split": {"folds": 5}},
    "listed": {
        "source": "nifti",
        **VOLUMES,
        "split": {"train": ["1", "2"], "validation": ["3"], "test": ["4"]},
    },
    "nnunet": {"source": "nifti", **VOLUMES, "split": {"file": "splits_final.json", "fold": 0}},
    "dicom": {"source": "dicom", **VOLUMES},
    "bundles": {"source": "bundles", "folder": "data"},
    "scaled": {
        "source": "msd",
        "folder": "data",
        "normalise": {"method": "zscore", "by": "dataset", "percentiles": [1, 99]},
    },
    "mr": {"source": "msd", "folder": "data", "normalise": {"method": "percentile"}},
}
CONFIG["models"]["own"] = {
    "network": "smp.Unet",
    "settings": {"decoder_use_norm": {"type": "batchnorm", "eps": 1}, "decoder_channels": [16, 8]},
}
CONFIG["recipes"]["own"] = {
    "loss": "smp.FocalLoss",
    "loss_settings": {"reduction": "mean", "gamma": 2, "alpha": 0.5},
    "optimiser_settings": {"eps": 1.0e-7, "betas": [0, 0.9], "amsgrad": True},
    "background_share": 1,
    "learning_rate": 1,
    "schedule": {"kind": "step", "every": 30, "warmup": 5},
    "augmentation": {"rotation": {"degrees": [-15, 15]}, "flip_vertical": {}, "noise": {}},
}
CONFIG["perturbations"] |= {
    "pixels": {"kind": "natural", "severity": 3},
    "fresh": {"kind": "random", "target_dice": 1, "draws": "per_epoch"},
    "cycled": {"kind": "random", "target_dice": 0.9, "draws": 3},
}
CONFIG["claims"]["own"] = {"kind": "slope", "dataset": "phantom", "error": "natural", "above": 1}
CONFIG["tolerances"] = {"tumour": 1, "liver": 3}
FORM = complete(CONFIG)
NAMED_BY_THE_USER = ("datasets", "models", "recipes", "perturbations", "claims", "classes")


def test_a_bare_word_is_short_for_a_method():
    short = copy.deepcopy(CONFIG)
    short["datasets"]["mr"]["normalise"] = "percentile"
    assert repr(complete(short)) == repr(FORM)
    assert FORM["datasets"]["mr"]["normalise"] == {
        "method": "percentile",
        "by": "case",
        "over": "all",
        "percentiles": [0.5, 99.5],
    }
    assert FORM["datasets"]["volumes"]["normalise"] == {"method": "window"}
    assert "window" not in FORM["datasets"]["mr"]


@st.composite
def respelt(draw, value, form, key=None):
    """Another spelling of `value`, whose canonical form is `form`."""
    if isinstance(value, dict):
        names = list(value)
        if key not in NAMED_BY_THE_USER:
            spelt = [name for name in form if name in value or draw(st.booleans())]
            names = draw(st.permutations(spelt))
        return {
            name: draw(respelt(value.get(name, copy.deepcopy(form[name])), form[name], name))
            for name in names
        }
    if isinstance(value, list):
        return [draw(respelt(*pair)) for pair in zip(value, form, strict=True)]
    if key == "precision":
        return draw(st.sampled_from(["32", 32, 32.0]))
    if isinstance(value, int | float) and not isinstance(value, bool) and value == int(value):
        return draw(st.sampled_from([int, float]))(value)
    return value


@settings(max_examples=50, deadline=None)
@given(respelt(CONFIG, FORM))
def test_order_defaults_and_whole_floats_change_nothing(config):
    assert repr(complete(config)) == repr(FORM)


def test_the_form_is_its_own_form():
    assert repr(complete(FORM)) == repr(FORM)


def test_values_are_of_the_types_that_the_schema_names():
    assert FORM["matrix"]["repeats"] == 3 and type(FORM["matrix"]["repeats"]) is int
    assert FORM["datasets"]["pairs"]["window"] == [-128.0, 128.0]
    assert [type(bound) for bound in FORM["datasets"]["pairs"]["window"]] == [float, float]
    assert type(FORM["recipes"]["own"]["learning_rate"]) is float
    assert FORM["datasets"]["pairs"]["size"] is None
    assert (FORM["recipes"]["own"]["precision"], FORM["recipes"]["own"]["mode"]) == ("32", "min")
    draws = [FORM["perturbations"][name]["draws"] for name in ("pixels", "fresh", "cycled")]
    assert repr(draws) == "[1, 'per_epoch', 3]"
    changed = copy.deepcopy(CONFIG)
    changed["perturbations"]["cycled"]["draws"] = 2.0
    assert repr(complete(changed)["perturbations"]["cycled"]["draws"]) == "2"


def test_classes_keep_the_order_of_the_user_since_it_numbers_them():
    changed = copy.deepcopy(CONFIG)
    changed["datasets"]["pairs"]["classes"] = {"tumour": [3], "liver": [1, 2]}
    assert list(complete(changed)["datasets"]["pairs"]["classes"]) == ["tumour", "liver"]
    assert list(FORM["datasets"]["pairs"]["classes"]) == ["liver", "tumour"]


def test_the_form_is_of_built_in_types_alone():
    # Snakemake compares no others to decide what runs again.
    def types(value):
        yield type(value)
        for inner in value.values() if isinstance(value, dict) else value:
            if isinstance(inner, dict | list):
                yield from types(inner)
            else:
                yield type(inner)

    assert set(types(FORM)) <= {dict, list, str, int, float, bool, type(None)}


def test_snakemake_runs_nothing_again_for_another_spelling(study_copy):
    study = copy.deepcopy(TINY)
    spelt = dict(reversed(study["datasets"]["tiny"].items()))
    study["datasets"]["tiny"] = {**spelt, "size": 32.0, "target": "liver"}
    recipe = dict(reversed(study["recipes"]["short"].items()))
    study["recipes"]["short"] = {**recipe, "epochs": float(recipe["epochs"]), "optimiser": "Adam"}
    done = snakemake(study_copy, study, "--dry-run")
    assert done.returncode == 0 and job_counts(done) == {}
    study["datasets"]["tiny"]["cases"] = 7
    counts = job_counts(snakemake(study_copy, study, "--dry-run"))
    assert counts["prepare_dataset"] == 1 and counts["train_model"] == 4


def test_older_words_mean_what_newer_ones_do():
    older = copy.deepcopy(CONFIG)
    for name, key in (("volumes", "source"), ("dicom", "label_kind")):
        older["datasets"][name][key] = "nifti"
    assert repr(complete(older)) == repr(FORM)


def test_channels_keep_their_order_and_have_short_forms_too():
    config = copy.deepcopy(CONFIG)
    sequences = {
        "source": "volumes",
        "folder": "data",
        "classes": {"liver": [1]},
        "images": {"T1": "(.)a", "FLAIR": "(.)b", "CT": "(.)c"},
        "normalise": {"T1": "zscore", "FLAIR": {"method": "percentile"}, "CT": "window"},
        "window": {"CT": [-100, 100]},
    }
    config["datasets"]["sequences"] = sequences
    form = complete(config)["datasets"]["sequences"]
    assert list(form["images"]) == ["T1", "FLAIR", "CT"]
    assert form["window"] == {"CT": [-100.0, 100.0]}
    of_t1 = {"method": "zscore", "by": "case", "over": "all", "percentiles": None}
    assert form["normalise"]["T1"] == of_t1
    assert form["normalise"]["FLAIR"] == of_t1 | {
        "method": "percentile",
        "percentiles": [0.5, 99.5],
    }
    assert form["normalise"]["CT"] == {"method": "window"}
    turned = dict(reversed(sequences["normalise"].items()))
    config["datasets"]["sequences"] = sequences | {"normalise": turned}
    assert repr(complete(config)["datasets"]["sequences"]) == repr(form)
