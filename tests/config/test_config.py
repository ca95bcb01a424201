"""The configuration: defaults, and a sentence that names the key for every mistake."""

import copy
import datetime

import jsonschema
import pytest
import yaml

from labelnoise.config import complete, load_config
from labelnoise.config.rules import recipe_groups
from labelnoise.config.schema import SCHEMA
from labelnoise.errors import InputError
from labelnoise.study import Recipe, Study, read_study
from workflow_runs import ROOT

RAW = yaml.safe_load((ROOT / "config.yaml").read_text())
IMAGES = {
    "source": "images",
    "folder": "data",
    "case": r"(p\d+)",
    "classes": {"liver": [255]},
    "window": [0, 255],
}
NIFTI = {"source": "nifti", "folder": "data", "classes": {"liver": [1]}, "window": [0, 1]}
MSD = {"source": "msd", "folder": "data"}
UNWINDOWED = {key: value for key, value in NIFTI.items() if key != "window"}
TWO = {**UNWINDOWED, "images": {"T1": "(.)a", "T2": "(.)b"}}
DICOM = {**NIFTI, "source": "dicom"}


COSTS = {"kind": "costs", "dataset": "phantom", "perturbation": "natural-0.85"}
WORSE = {**COSTS, "kind": "worse", "than": {"perturbation": "natural-0.95"}}
THRESHOLD = {**COSTS, "kind": "threshold", "share": 0.5}
SLOPE = {"kind": "slope", "dataset": "phantom", "error": "natural", "above": 1}


RATER = {"kind": "rater", "target_dice": 0.9}
CLICKS = {"kind": "polygon", "clicks": 8}


def consensus(of=("natural-0.95",), **settings):
    return {"kind": "consensus", "of": [*of], **settings}


def mixture(of=("natural-0.95", "choppy-0.95"), **settings):
    return {"kind": "mixture", "of": [*of], **settings}


def changed(path, value):
    config = copy.deepcopy(RAW)
    *parents, last = path.split("/")
    place = config
    for key in parents:
        place = place[key]
    place[last] = value
    return config


def test_errors_with_settings_are_told_apart_by_their_names():
    errors = {
        "thick-0.90": {**RATER, "bias_share": 1},
        "thick-0.80": {**RATER, "bias_share": 1.0, "target_dice": 0.8},
        "rater-0.90": RATER,
        "natural-0.90": {"kind": "natural", "target_dice": 0.9, "share": 1.0},
    }
    config = copy.deepcopy(RAW) | {"perturbations": RAW["perturbations"] | errors}
    config["matrix"] = RAW["matrix"] | {"perturbation": [*errors]}
    families = [family for _, family, _ in Study.of(complete(config)).drawn]
    assert families == ["thick", "thick", "rater", "natural"]
    config["perturbations"]["thick-0.80"]["bias_share"] = 0.5
    with pytest.raises(
        InputError, match=r"thick-0\.90' and .*thick-0\.80' differ .* both are thick"
    ):
        complete(config)


def test_the_shipped_config_is_the_papers_matrix():
    runs = read_study(ROOT / "config.yaml").runs
    matrix = RAW["matrix"]
    assert len(matrix["model"]) == 3 and len(matrix["dataset"]) == 2
    assert len(matrix["perturbation"]) == 10
    assert len(runs) == 3 * 2 * 10 * len(matrix["recipe"]) * matrix["repeats"]
    assert len(set(runs)) == len(runs)


@pytest.mark.parametrize("study", sorted((ROOT / "studies").glob("*.yaml")), ids=lambda p: p.stem)
def test_every_study_overlays_the_config(study):
    assert read_study(ROOT / "config.yaml", study).runs


def test_defaults_are_filled_in_and_the_input_is_not_changed():
    before = copy.deepcopy(RAW)
    config = complete(RAW)
    assert before == RAW
    assert config["datasets"]["phantom"]["split"] == {"train": 0.6, "validation": 0.2, "test": 0.2}
    assert config["perturbations"]["natural-0.95"]["draws"] == 1
    assert config["models"]["fcn32"]["head_width"] == 4096
    assert config["recipes"]["labels18"]["precision"] == "32"
    assert config["recipes"]["labels18"]["accumulation"] == 1
    assert config["recipes"]["plain"]["schedule"] is None
    assert config["recipes"]["plain"]["augmentation"] is None
    assert config["keep_state"] is False and config["visualize"] is False


def test_structures_without_a_tolerance_share_one():
    assert Study.of(complete(RAW)).tolerances == {"*": 2}
    study = Study.of(complete(changed("tolerances", {"liver": 3})))
    assert study.tolerances == {"*": 2, "liver": 3}
    assert Study.of(complete(changed("tolerances", {"*": 1}))).tolerances == {"*": 1}


def test_the_mode_follows_from_the_monitor():
    modes = {"validation_loss": "min", "validation_dice": "max", "epoch": "max"}
    for monitor, mode in modes.items():
        recipe = {"loss": "dice", "monitor": monitor}
        assert complete(changed("recipes/mine", recipe))["recipes"]["mine"]["mode"] == mode


def test_a_recipe_without_additions_is_recorded_as_before_they_existed():
    """Snakemake compares it with its records of finished runs, and run.json holds it."""
    recipe = {"loss": "dice", "schedule": None, "augmentation": None, "compile": False}
    recipe |= {"training_cases": None, "selection": None, "relabelling": None}
    plain = Study.of(complete(changed("recipes/mine", recipe))).recipes["mine"]
    assert [*plain.as_dict()] == [
        *("loss", "loss_settings", "background_share", "optimiser", "optimiser_settings"),
        *("learning_rate", "batch_size", "accumulation", "steps_per_epoch", "epochs", "precision"),
        *("monitor", "mode", "keep", "validation_labels"),
    ]
    assert Recipe(**plain.as_dict()) == plain
    compiled = Study.of(complete(changed("recipes/mine", {**recipe, "compile": True})))
    assert compiled.recipes["mine"].as_dict() == {**plain.as_dict(), "compile": True}


def test_slices_of_any_values_are_not_augmented():
    config = changed("datasets/x", {**UNWINDOWED, "normalise": "none"})
    config["recipes"]["mine"] = {"loss": "dice", "augmentation": {"gamma": {}}}
    config["matrix"]["recipe"] = ["plain", "mine"]
    assert complete(config)
    config["matrix"] |= {"dataset": ["phantom", "x"], "claims": []}
    with pytest.raises(InputError, match=r"'recipes\.mine\.augmentation' .* 'datasets\.x\.norm"):
        complete(config)
    config["matrix"]["recipe"] = ["plain"]
    assert complete(config)


def test_a_channel_of_any_values_is_not_augmented_either():
    config = changed("datasets/x", {**TWO, "normalise": {"T1": "zscore", "T2": "none"}})
    config["recipes"]["mine"] = {"loss": "dice", "augmentation": {"gamma": {}}}
    config["matrix"] |= {"recipe": ["plain", "mine"], "dataset": ["phantom", "x"], "claims": []}
    with pytest.raises(InputError, match=r"'datasets\.x\.normalise\.T2' is none"):
        complete(config)
    config["datasets"]["x"]["normalise"]["T2"] = "percentile"
    assert complete(config)


def test_changes_and_schedules_have_defaults():
    recipe = {
        "loss": "dice",
        "schedule": {"kind": "poly"},
        "augmentation": {"gamma": {}, "flip_vertical": {}, "rotation": {"degrees": [0, 90]}},
    }
    found = complete(changed("recipes/mine", recipe))["recipes"]["mine"]
    assert found["schedule"] == {"kind": "poly", "power": 0.9, "warmup": 0}
    assert found["augmentation"] == {
        "rotation": {"probability": 0.2, "degrees": [0, 90]},
        "flip_vertical": {"probability": 0.5},
        "gamma": {"probability": 0.3, "exponent": [0.7, 1.5]},
    }


def test_an_overlay_merges_mappings_and_replaces_lists(tmp_path):
    overlay = tmp_path / "overlay.yaml"
    overlay.write_text("matrix: {model: [segnet]}\nrecipes: {plain: {epochs: 7}}\n")
    config = load_config(ROOT / "config.yaml", overlay)
    assert config["matrix"]["model"] == ["segnet"]
    assert config["recipes"]["plain"]["epochs"] == 7
    assert config["recipes"]["plain"]["loss"] == "cross_entropy"


@pytest.mark.parametrize(
    ("path", "value", "parts"),
    [
        ("matrx", 1, ["'matrx'", "did you mean 'matrix'"]),
        ("datasets/phantom/targt", "liver", ["datasets.phantom", "'targt'", "'target'"]),
        ("datasets/phantom/source", "dicm", ["datasets.phantom.source", "'dicm'", "phantom"]),
        ("datasets/x", {**IMAGES, "case": "("}, ["datasets.x.case", "'('", "regular expression"]),
        ("datasets/x", {**IMAGES, "case": "p"}, ["datasets.x.case", "'p'", "parentheses"]),
        ("datasets/x", {**IMAGES, "folder": "~/data"}, ["datasets.x.folder", "'~/data'"]),
        ("datasets/x", {**IMAGES, "folder": "a\0b"}, ["datasets.x.folder", "control"]),
        ("datasets/x", {**NIFTI, "images": "("}, ["datasets.x.images", "regular expression"]),
        ("datasets/x", {**NIFTI, "images": "v.nii"}, ["datasets.x.images", "parentheses"]),
        ("datasets/x", {**NIFTI, "labels": "[a"}, ["datasets.x.labels", "regular expression"]),
        ("datasets/x", {**NIFTI, "labels": "s.nii"}, ["datasets.x.labels", "parentheses"]),
        ("datasets/x", {**NIFTI, "labels": "(" * 999}, ["datasets.x.labels", "regular expression"]),
        ("datasets/x", {**DICOM, "case": "P+"}, ["datasets.x.case", "parentheses"]),
        (
            "datasets/x",
            {**DICOM, "series_description": "*"},
            ["datasets.x.series_description", "regular expression"],
        ),
        (
            "datasets/x",
            {**IMAGES, "classes": {"liver": [1, 1.0]}},
            ["datasets.x.classes.liver", "1 twice"],
        ),
        (
            "datasets/x",
            {**IMAGES, "classes": {f"rib{n}": [n] for n in range(1, 257)}},
            ["datasets.x.classes", "at most 255"],
        ),
        ("datasets/x", {"folder": "data"}, ["datasets.x", "lacks the key 'source'"]),
        ("datasets/x", {**IMAGES, "window": [5, 5]}, ["datasets.x.window", "low < high"]),
        ("datasets/x", {**NIFTI, "plane": "oblique"}, ["datasets.x.plane", "sagittal"]),
        ("datasets/x", {**NIFTI, "spacing": [1, 0]}, ["datasets.x.spacing"]),
        ("datasets/x", {**NIFTI, "spacing": 1}, ["datasets.x.spacing"]),
        ("datasets/x", {**IMAGES, "spacing": [1, 1]}, ["datasets.x", "key 'spacing'"]),
        ("datasets/x", {**IMAGES, "normalise": "mean"}, ["x.normalise.method", "zscore"]),
        (
            "datasets/x",
            {**IMAGES, "normalise": "zscore"},
            ["datasets.x.window' is given", "'normalise' is zscore"],
        ),
        (
            "datasets/x",
            {**UNWINDOWED, "normalise": {"method": "zscore", "over": "foreground"}},
            ["datasets.x.normalise.over' is foreground", "by: dataset"],
        ),
        (
            "datasets/x",
            {**UNWINDOWED, "normalise": {"method": "percentile", "percentiles": [9, 9]}},
            ["datasets.x.normalise.percentiles' is [9", "low < high"],
        ),
        (
            "datasets/x",
            {**UNWINDOWED, "normalise": {"method": "none", "by": "case"}},
            ["datasets.x.normalise", "by"],
        ),
        ("datasets/x", UNWINDOWED, ["datasets.x.window' is missing", "normalise: percentile"]),
        ("datasets/x", {**NIFTI, "window": {"T1": [0, 1]}}, ["x.window' is a mapping", "no name"]),
        ("datasets/x", {**TWO, "window": {"T1": [0, 1]}}, ["datasets.x.window.T2' is missing"]),
        ("datasets/x", {**TWO, "window": {"T1": [0, 1], "T2": [1, 0]}}, ["window.T2' is [1", "<"]),
        ("datasets/x", {**TWO, "window": {"T3": [0, 1]}}, ["x.window' names", "'T3'", "T1, T2"]),
        ("datasets/x", {**TWO, "window": {"T1": [0]}}, ["x.window.T1", "[low, high]"]),
        ("datasets/x", {**TWO, "normalise": {"T1": "zscore"}}, ["normalise' lacks", "'T2'"]),
        ("datasets/x", {**TWO, "normalise": {"T1": "mean"}}, ["x.normalise.T1.method", "zscore"]),
        ("datasets/x", {**TWO, "normalise": {"by": "case"}}, ["x.normalise' lacks", "'method'"]),
        ("datasets/x", {**TWO, "normalise": {}}, ["x.normalise' is empty"]),
        (
            "datasets/x",
            {**TWO, "normalise": {"T1": "zscore", "T2": "none"}, "window": [0, 1]},
            ["datasets.x.window' is given", "no channel's 'normalise' is window"],
        ),
        (
            "datasets/x",
            {**TWO, "normalise": {"T1": "zscore", "T2": "window"}, "window": {"T1": [0, 1]}},
            ["datasets.x.window", "'normalise' is zscore"],
        ),
        ("datasets/x", {**IMAGES, "colour": "hsv"}, ["datasets.x.colour", "grey, rgb"]),
        ("datasets/x", {**TWO, "images": {"T1": "v.nii"}}, ["x.images.T1", "parentheses"]),
        ("datasets/x", {**TWO, "images": {"a b": "(v)"}}, ["datasets.x.images", "name"]),
        ("datasets/x", {**MSD, "channel": "both"}, ["datasets.x.channel", "all"]),
        ("datasets/x", {**MSD, "channel": []}, ["datasets.x.channel' is empty"]),
        ("datasets/x", {**MSD, "channel": [1, 1]}, ["datasets.x.channel", "1", "twice"]),
        ("datasets/x", {**MSD, "channel": "all", "window": {"CT": [1, 1]}}, ["window.CT", "<"]),
        (
            "datasets/x",
            {**IMAGES, "classes": {"liver": [0]}},
            ["datasets.x.classes.liver.0", ">= 1"],
        ),
        ("tolerances", {"liver": 0}, ["tolerances.liver", "> 0"]),
        ("tolerances", {"*": 2000}, ["tolerances.*", "<= 1000"]),
        ("tolerances", {"liver": "2 mm"}, ["tolerances.liver", "'2 mm'", "number"]),
        (
            "datasets/phantom/split",
            {"train": 0.5, "validation": 0.2, "test": 0.2},
            ["datasets.phantom.split", "0.9", "sum to 1"],
        ),
        (
            "datasets/phantom/split",
            {"train": 0.8, "validation": 0.2},
            ["datasets.phantom.split", "lacks the key 'test'"],
        ),
        (
            "datasets/phantom/split",
            {"train": 0.9, "validation": -0.1, "test": 0.2},
            ["datasets.phantom.split.validation", "> 0"],
        ),
        ("datasets/mni152/split", {}, ["datasets.mni152", "unknown key 'split'"]),
        (
            "datasets/phantom/split",
            {"train": ["a"], "validation": 0.2, "test": ["c"]},
            ["datasets.phantom.split.validation", "0.2", "type list", "names of cases"],
        ),
        (
            "datasets/phantom/split",
            {"train": ["a", "b"], "validation": ["c"], "test": ["b"]},
            ["datasets.phantom.split", "the case 'b' in train and test"],
        ),
        (
            "datasets/phantom/split",
            {"train": ["a"], "validation": [7], "test": ["b"]},
            ["datasets.phantom.split.validation.0", "7", "in quotes"],
        ),
        ("datasets/phantom/split", {"folds": 1}, ["datasets.phantom.split.folds", ">= 2"]),
        ("datasets/phantom/split", {"fold": 1}, ["datasets.phantom.split", "lacks 'folds'"]),
        (
            "datasets/phantom/split",
            {"folds": 5, "fold": 5},
            ["datasets.phantom.split.fold", "5", "0 to 4"],
        ),
        (
            "datasets/phantom/split",
            {"file": "splits_final.json"},
            ["datasets.phantom.split", "'folds', how many it has, or 'fold'"],
        ),
        (
            "datasets/phantom/split",
            {"folds": 5, "test": 0.2},
            ["datasets.phantom.split", "unknown key 'test'", "folds"],
        ),
        (
            "datasets/phantom/split",
            {"folds": 5, "unlisted": "skip"},
            ["datasets.phantom.split.unlisted", "every case"],
        ),
        ("datasets/phantom/case_names", "source", ["datasets.phantom", "'case_names'"]),
        ("models/unet/depht", 3, ["models.unet", "'depht'", "'depth'"]),
        ("models/segnet/depth", 3, ["models.segnet", "unknown key 'depth'"]),
        ("models/unet/width", 0, ["models.unet.width", ">= 1"]),
        ("models/unet/width", 6.5, ["models.unet.width", "integer"]),
        ("models/fcn32/dropout", 1, ["models.fcn32.dropout", "< 1"]),
        ("models/unet/network", "unett", ["models.unet.network", "'unett'", "segnet"]),
        ("models/unet/network", None, ["models.unet.network", "null", "smp.<architecture>"]),
        ("models/unet", {"width": 6}, ["models.unet", "lacks the key 'network'"]),
        ("models/unet\n", {"network": "unet"}, ["config key 'models'", r"'unet\n'", "a name of"]),
        ("models/unet/network", "unet\n", ["models.unet.network", r"'unet\n'"]),
        ("recipes/plain/loss", "dice\n", ["recipes.plain.loss", r"'dice\n'"]),
        ("recipes/plain/optimiser", "Adam\n", ["recipes.plain.optimiser", r"'Adam\n'"]),
        ("models/unet-resnet18/encoder", "a b", ["models.unet-resnet18.encoder", "'a b'"]),
        ("recipes/a\nb", {}, ["config key 'recipes'"]),
        ("recipes/plain/optimiser_settings", {"eps": "x"}, ["plain.optimiser_settings.eps", "'x'"]),
        (
            "recipes/plain/optimiser_settings",
            {"eps": "1e-7"},
            ["plain.optimiser_settings.eps", "write 1.0e-7"],
        ),
        (
            "recipes/plain/optimiser_settings",
            {"betas": [0.9, "b"]},
            ["plain.optimiser_settings.betas.1", "'b'"],
        ),
        ("recipes/plain/loss_settings", {"gamma": "2"}, ["plain.loss_settings.gamma", "quotes: 2"]),
        ("recipes/plain/accumulation", 3, ["recipes.plain.accumulation", "3", "batch_size of 20"]),
        ("recipes/plain/accumulation", 0, ["recipes.plain.accumulation", ">= 1"]),
        ("recipes/plain/schedule", "poly", ["recipes.plain.schedule", "'poly'", "mapping"]),
        ("recipes/plain/schedule", {}, ["recipes.plain.schedule", "lacks the key 'kind'"]),
        (
            "recipes/plain/schedule",
            {"kind": "onecycle"},
            ["recipes.plain.schedule.kind", "'onecycle'", "poly, cosine, step"],
        ),
        (
            "recipes/plain/schedule",
            {"kind": "poly", "every": 3},
            ["recipes.plain.schedule", "unknown key 'every'", "power"],
        ),
        (
            "recipes/plain/schedule",
            {"kind": "step"},
            ["recipes.plain.schedule", "lacks the key 'every'"],
        ),
        (
            "recipes/plain/schedule",
            {"kind": "poly", "warmup": 100},
            ["recipes.plain.schedule.warmup", "100", "'epochs' is 100"],
        ),
        ("recipes/plain/augmentation", {}, ["recipes.plain.augmentation", "is empty"]),
        (
            "recipes/plain/augmentation",
            {"rotate": {}},
            ["recipes.plain.augmentation", "'rotate'", "did you mean 'rotation'"],
        ),
        (
            "recipes/plain/augmentation",
            {"scaling": {"factor": [1.4, 0.7]}},
            ["recipes.plain.augmentation.scaling.factor", "[1.4, 0.7]", "low <= high"],
        ),
        (
            "recipes/plain/augmentation",
            {"scaling": {"factor": [0, 2]}},
            ["augmentation.scaling.factor.0", ">= 0.1"],
        ),
        (
            "recipes/plain/augmentation",
            {"noise": {"probability": 20}},
            ["augmentation.noise.probability", "20", "<= 1", "share of the slices"],
        ),
        ("keep_state", "often", ["config key 'keep_state'", "boolean"]),
        ("visualize", 1, ["config key 'visualize'", "boolean"]),
        ("recipes/plain/keep", 101, ["recipes.plain.keep", "101", "'epochs' is 100"]),
        ("recipes/plain/monitor", "dice", ["recipes.plain.monitor", "validation_dice"]),
        ("recipes/plain/loss", "ce", ["recipes.plain.loss", "'ce'", "cross_entropy"]),
        ("recipes/plain/learning_rate", 0, ["recipes.plain.learning_rate", "> 0"]),
        ("recipes/plain/epochs", "many", ["recipes.plain.epochs", "'many'", "integer"]),
        ("perturbations/natural-0.95/target_dice", 1.5, ["natural-0.95.target_dice", "<= 1"]),
        ("perturbations/natural-0.95/target_dice", 0, ["natural-0.95.target_dice", "> 0"]),
        ("perturbations/natural-0.95/severity", 3, ["natural-0.95", "not both"]),
        ("perturbations/natural-0.95", {"kind": "natural"}, ["natural-0.95", "no size"]),
        ("perturbations/control/target_dice", 0.9, ["perturbations.control", "no error"]),
        ("perturbations/natural-0.95/draws", 0, ["natural-0.95.draws", ">= 1"]),
        ("perturbations/natural-0.95/length", 2, ["natural-0.95", "length"]),
        ("perturbations/natural-0.95/share", 0, ["natural-0.95.share", "> 0"]),
        ("perturbations/natural-0.95/kind", "neutral", ["natural-0.95.kind", "rater, bias"]),
        ("perturbations/x", {"kind": "rater"}, ["perturbations.x", "no size"]),
        ("perturbations/x", {**RATER, "bias_share": 2}, ["x.bias_share", "2", "<= 1"]),
        ("perturbations/x", {**RATER, "severity": 3}, ["perturbations.x", "not both"]),
        ("perturbations/x", {"kind": "omission", "severity": 2}, ["x.severity", "2", "<= 1"]),
        ("perturbations/x", {"kind": "bias", "severity": 1, "sign": 0}, ["x.sign", "0"]),
        ("perturbations/x", {**CLICKS, "severity": 3}, ["x.severity", "3", "clicks", "<= 1"]),
        ("perturbations/x", {"kind": "mixture"}, ["perturbations.x", "'of'"]),
        ("perturbations/x", mixture(["natural-0.95", "mine"]), ["x.of", "'mine'", "choppy-0.90"]),
        ("perturbations/x", mixture(["natural-0.95"]), ["x.of"]),
        ("perturbations/x", mixture(["x", "control"]), ["x.of", "'x'", "itself a mixture"]),
        ("perturbations/x", mixture(weights=[1, 1, 1]), ["x.weights", "3 numbers for 2"]),
        ("perturbations/x", consensus(["mine"]), ["x.of", "'mine'", "choppy-0.90"]),
        ("perturbations/x", consensus(["x"]), ["x.of", "'x'", "itself a consensus"]),
        ("perturbations/x", consensus(annotators=1), ["x.annotators", "1"]),
        ("perturbations/x", consensus(by="vote"), ["x.by", "majority, mean, staple"]),
        (
            "perturbations/x",
            consensus(["natural-0.95", "choppy-0.95", "random-0.95"], annotators=2),
            ["x.annotators", "2 for 3 errors"],
        ),
        ("perturbations/natural-0.95/draws", "often", ["natural-0.95.draws", "per_epoch"]),
        ("matrix/dataset", ["lis"], ["matrix.dataset", "'lis'", "phantom", "mni152"]),
        ("matrix/perturbation", ["mchop"], ["matrix.perturbation", "'mchop'", "choppy-0.90"]),
        ("matrix/recipe", ["a\n"], ["matrix.recipe", r"'a\n'", "labels18, plain"]),
        ("matrix/repeats", 0, ["matrix.repeats", ">= 1"]),
        ("matrix/repeats", 1e9, ["matrix.repeats", "<= 10000"]),
        ("matrix/repeats", 10_000, ["config key 'matrix'", "1200000 runs", "at most 1000000"]),
        pytest.param("matrix/repeats", 10**5000, ["matrix.repeats", "18 digits"], id="5001-digits"),
        ("recipes/plain/epochs", 1e308, ["recipes.plain.epochs", "<= 1000000"]),
        ("recipes/plain/steps_per_epoch", 1e10, ["plain.steps_per_epoch", "<= 1000000"]),
        ("recipes/plain/batch_size", 1e6, ["plain.batch_size", "<= 100000"]),
        ("recipes/plain/learning_rate", 1e300, ["plain.learning_rate", "<= 1000"]),
        ("recipes/plain/optimiser_settings", {"eps": float("inf")}, ["settings.eps", "inf"]),
        ("models/unet/width", 10**6, ["models.unet.width", "<= 10000"]),
        ("datasets/phantom/cases", 10**9, ["datasets.phantom.cases", "<= 100000"]),
        ("pathvars", {"results": "a{b}"}, ["pathvars.results", "'a{b}'", "braces"]),
        ("pathvars", {"results": "a<b>"}, ["pathvars.results", "'a<b>'", "brackets"]),
        ("pathvars", {"results": "~/a"}, ["pathvars.results", "'~/a'"]),
        ("pathvars", {"results": "s3://bucket/a"}, ["pathvars.results", "'s3://bucket/a'"]),
        ("pathvars", {"results": "a\0b"}, ["pathvars.results", r"'a\x00b'"]),
        ("pathvars", {"results": "a\n"}, ["pathvars.results", r"'a\n'"]),
        ("pathvars", {"results": "a\ud800"}, ["pathvars.results", r"'a\ud800'"]),
        ("pathvars", {"results": ""}, ["pathvars.results", "''"]),
        ("pathvars", {"results": "a" * 300}, ["pathvars.results", "255"]),
        ("seed", datetime.date(2018, 1, 1), ["config key 'seed'", "date", "quotes"]),
        ("recipes/plain", {1: 2}, ["recipes.plain", "key 1", "quotes"]),
        ("matrix/model", [], ["matrix.model", "is empty", "one at least"]),
        ("matrix/model", ["unet", "unet"], ["matrix.model", "'unet' twice"]),
        ("datasets/phantom/size", None, ["datasets.phantom.size", "integer"]),
        ("datasets/phantom/size", 16, ["datasets.phantom.size", ">= 32"]),
        ("datasets/x", {**IMAGES, "classes": {}}, ["datasets.x.classes", "is empty"]),
        (
            "datasets/x",
            {**IMAGES, "classes": {"liver": [1, 2], "tumour": [2]}},
            ["datasets.x.classes", "value 2 to liver and tumour"],
        ),
        (
            "datasets/x",
            {**IMAGES, "classes": {"background": [1]}},
            ["datasets.x.classes", "'background'", "remove it"],
        ),
        (
            "datasets/x",
            {
                "source": "msd",
                "folder": "d",
                "window": [0, 1],
                "classes": {"a": [1]},
                "ignore": [1],
            },
            ["datasets.x.ignore", "1"],
        ),
        ("recipes/plain/learning_rate", "1e-3", ["learning_rate", "'1e-3'", "write 1.0e-3"]),
        ("recipes/plain/learning_rate", "0.1", ["learning_rate", "without quotes: 0.1"]),
        ("recipes/plain/precision", 16, ["recipes.plain.precision", "16", "32, bf16"]),
        ("recipes/plain/monitor", "validation_dice", ["recipes.plain.mode", "'min'", "write max"]),
        (
            "perturbations/natural-0.95/target_dice",
            float("nan"),
            ["natural-0.95.target_dice", "nan"],
        ),
        (
            "perturbations/natural-0.95",
            {"kind": "random", "severity": 1.5},
            ["natural-0.95.severity", "1.5", "probability"],
        ),
        ("claims/x", {"kind": "cost"}, ["claims.x.kind", "'cost'", "costs"]),
        ("claims/x", {**COSTS, "margin": 0.1}, ["claims.x", "unknown key 'margin'"]),
        ("claims/x", {"kind": "costs"}, ["claims.x", "lacks the key 'perturbation'"]),
        ("claims/x", {**COSTS, "dataset": "lis"}, ["claims.x.dataset", "'lis'", "not define"]),
        ("claims/x", {**COSTS, "model": "fcn8"}, ["claims.x.model", "'fcn8'", "'matrix.model'"]),
        ("claims/x", {**COSTS, "perturbation": "mchop"}, ["claims.x.perturbation", "'mchop'"]),
        ("claims/x", {**COSTS, "perturbation": "control"}, ["claims.x.perturbation", "a control"]),
        ("claims/x", {**COSTS, "kind": "harmless"}, ["claims.x", "'margin'"]),
        ("claims/x", {**COSTS, "kind": "harmless", "margin": 0}, ["claims.x.margin", "> 0"]),
        ("claims/x", {**WORSE, "than": {}}, ["claims.x.than", "is empty"]),
        ("claims/x", {**WORSE, "than": {"model": "fcn8"}}, ["claims.x.than.model", "'fcn8'"]),
        ("claims/x", {**WORSE, "model": "unet", "than": {"model": "unet"}}, ["claims.x.than"]),
        ("claims/x", {**SLOPE, "below": 2}, ["claims.x", "above or below"]),
        ("claims/x", {"kind": "slope", "error": "natural"}, ["claims.x", "above or below"]),
        ("claims/x", {**COSTS, "dataset": None, "structure": "a"}, ["claims.x.structure"]),
        ("claims/x", {**COSTS, "kind": "threshold"}, ["claims.x", "lacks the key 'share'"]),
        ("claims/x", {**THRESHOLD, "share": 1.5}, ["claims.x.share", "1.5", "<= 1"]),
        ("claims/x", {**THRESHOLD, "at": "best"}, ["claims.x.at", "'best'", "perturbed"]),
        ("claims/x", {**COSTS, "measure": "auc"}, ["claims.x.measure", "'auc'", "hd95"]),
        ("matrix/claims", ["x"], ["matrix.claims", "'x'", "natural-costs"]),
    ],
)
def test_a_mistake_is_named_by_its_key(path, value, parts):
    with pytest.raises(InputError) as raised:
        complete(changed(path, value))
    message = str(raised.value)
    assert all(part in message for part in parts), message
    assert "\n" not in message


def test_a_key_is_named_in_one_line_whatever_stands_in_it():
    with pytest.raises(InputError) as raised:
        complete(changed("recipes/plain/a\nb", 1))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("results", ["results", "/data/my results", "../a~b", "été/1.0"])
def test_a_results_folder_may_lie_anywhere_on_this_machine(results):
    assert complete(changed("pathvars", {"results": results}))["pathvars"] == {"results": results}


def test_a_config_that_repeats_itself_without_end_is_refused():
    config = changed("recipes/plain/loss_settings", {})
    config["recipes"]["plain"]["loss_settings"]["again"] = config
    with pytest.raises(InputError, match="16 levels"):
        complete(config)
    values = [1] * 9
    for _ in range(9):
        values = [values] * 9
    with pytest.raises(InputError, match="100000 values"):
        complete(changed("recipes/plain/loss_settings", {"classes": values}))


def test_every_integer_has_a_minimum_and_a_maximum_and_every_default_fits():
    schema = yaml.safe_load(SCHEMA.read_text())
    rules = list(parts(schema))
    integers = [rule for rule in rules if "integer" in rule.get("type", ())]
    assert len(integers) > 20
    assert all("minimum" in rule and "maximum" in rule for rule in integers)
    validator = jsonschema.Draft202012Validator(schema)
    defaults = [rule for rule in rules if "default" in rule]
    assert len(defaults) > 40
    for rule in defaults:
        assert validator.evolve(schema=rule).is_valid(rule["default"]), rule


def parts(rule):
    """Yield the mappings within a schema that are rules of a value."""
    if isinstance(rule, dict):
        if rule.keys() & {"type", "enum", "$ref", "oneOf"}:
            yield rule
        for inner in rule.values():
            yield from parts(inner)
    elif isinstance(rule, list):
        for inner in rule:
            yield from parts(inner)


def with_matrix(defined, **lists):
    """The shipped config with these claims, and other lists in its matrix."""
    config = changed("claims", defined)
    config["matrix"] |= lists
    return config


def test_a_claim_is_about_each_of_what_it_does_not_name():
    claims = {
        "costs": {"kind": "costs", "recipe": "plain", "perturbation": "natural-0.85"},
        "other": {"kind": "worse", "perturbation": "choppy-0.85", "than": {"model": "unet"}},
    }
    found = Study.of(complete(with_matrix(claims, recipe=["labels18", "plain"]))).claims
    costs, other = ([claim for claim in found if claim.name == name] for name in ("costs", "other"))
    assert len(costs) == 2 * 3 and {claim.recipe for claim in costs} == {"plain"}
    # Of three networks, U-Net is not compared with itself.
    assert len(other) == 2 * 2 * 2 and {claim.model for claim in other} == {"segnet", "fcn32"}
    assert all(claim.than == ("unet", claim.recipe, "choppy-0.85") for claim in other)


def test_standing_claims_are_asked_where_the_matrix_can_answer():
    standing = {**COSTS, "dataset": None}
    small = ["control", "choppy-0.85"]
    form = complete(with_matrix({"x": standing}, perturbation=small))
    assert form["matrix"]["claims"] == [] and Study.of(form).claims == []
    assert complete(with_matrix({"x": standing}))["matrix"]["claims"] == ["x"]
    for claim, selected in ((COSTS, None), (standing, ["x"])):
        with pytest.raises(InputError, match=r"'claims\.x\.perturbation' names 'natural-0\.85'"):
            complete(with_matrix({"x": claim}, perturbation=small, claims=selected))
    assert complete(with_matrix({"x": COSTS}, perturbation=small, claims=[]))


def test_a_claim_without_control_or_without_an_error_of_its_kind_is_refused():
    with pytest.raises(InputError, match=r"'claims\.x' compares with a control"):
        complete(with_matrix({"x": COSTS}, perturbation=["natural-0.85"]))
    with pytest.raises(InputError, match=r"'claims\.x\.error' is natural"):
        complete(with_matrix({"x": SLOPE}, perturbation=["control", "choppy-0.85"]))


def test_a_structure_has_to_be_one_of_the_dataset():
    config = changed("datasets/mine", IMAGES)
    config["matrix"]["dataset"] = ["mine"]
    claim = {**COSTS, "dataset": "mine"}
    config["claims"] = {"x": {**claim, "structure": "liver"}}
    assert Study.of(complete(config)).claims[0].structure == "liver"
    config["claims"] = {"x": {**claim, "structure": "spleen"}}
    with pytest.raises(InputError, match=r"'claims\.x\.structure' is 'spleen'.* it has liver"):
        complete(config)


def test_the_papers_claims_are_asked_of_the_papers_study():
    found = read_study(ROOT / "config.yaml", ROOT / "studies" / "labels18.yaml")
    assert set(found.questions) == set(RAW["claims"])
    # Per dataset: five about each of three networks, and two networks beside U-Net.
    assert len(found.claims) == 2 * (5 * 3 + 2)


HELPS = {"kind": "helps", "perturbation": "natural-0.85"}


def test_what_helps_is_asked_of_every_other_recipe_and_of_the_control():
    claims = {
        "helps": {**HELPS, "model": "unet", "than": {"recipe": "plain"}},
        "moved": {**HELPS, "recipe": "plain", "model": "unet", "at": "perturbed"},
        "clean": {**HELPS, "perturbation": "control", "model": "unet", "than": {"recipe": "plain"}},
    }
    config = with_matrix(claims, dataset=["phantom"], recipe=["plain", "gce", "sce"])
    found = Study.of(complete(config)).claims
    told = [(claim.name, claim.recipe, claim.error, claim.than, claim.at) for claim in found]
    error, plain = "natural-0.85", ("unet", "plain")
    assert told == [
        ("helps", "gce", error, (*plain, error), None),
        ("helps", "sce", error, (*plain, error), None),
        ("moved", "plain", error, None, "perturbed"),
        ("clean", "gce", "control", (*plain, "control"), None),
        ("clean", "sce", "control", (*plain, "control"), None),
    ]


@pytest.mark.parametrize(
    ("claim", "says"),
    [
        (HELPS, r"'claims\.x' has to say what is better than what; give `than`"),
        ({**HELPS, "at": "clean", "measure": "hd95"}, r"'claims\.x\.measure' is hd95"),
        ({**HELPS, "than": {"perturbation": "natural-0.90"}}, r"'claims\.x\.than'.*perturbation"),
        ({**HELPS, "recipe": "plain", "than": {"recipe": "plain"}}, "name another one"),
    ],
)
def test_a_claim_of_what_helps_says_what_is_compared(claim, says):
    with pytest.raises(InputError, match=says):
        complete(with_matrix({"x": {**claim, "dataset": "phantom"}}, recipe=["plain", "gce"]))


def test_the_baseline_of_mitigations_is_a_recipe_of_the_matrix():
    assert Study.of(complete(RAW)).baseline is None
    assert Study.of(complete(changed("mitigation", {"baseline": "plain"}))).baseline == "plain"
    with pytest.raises(
        InputError, match=r"'mitigation\.baseline' is 'gce', which .*labels18, plain"
    ):
        complete(changed("mitigation", {"baseline": "gce"}))


@pytest.mark.parametrize("name", ["mitigation", "mitigation-liver"])
def test_mitigations_are_trained_as_the_baseline_is(name):
    study = read_study(ROOT / "config.yaml", ROOT / "studies" / f"{name}.yaml")
    own = {"loss", "loss_settings", "selection", "relabelling"}
    chosen = {"monitor", "validation_labels"}
    recipes = {name: study.recipes[name].as_dict() for name in study.matrix["recipe"]}
    baseline = recipes[study.baseline]
    for name, recipe in recipes.items():
        left_out = own | chosen if name == "early" else own
        assert {key: value for key, value in recipe.items() if key not in left_out} == {
            key: value for key, value in baseline.items() if key not in left_out
        }


def test_labels_that_change_with_the_epochs_are_not_mended():
    config = with_fresh({})
    config["matrix"]["recipe"] = ["plain", "relabelled"]
    with pytest.raises(
        InputError, match=r"'recipes\.relabelled\.relabelling' .*fresh\.draws' is per"
    ):
        complete(config)
    config["matrix"]["perturbation"].remove("fresh")
    recipe = Study.of(complete(config)).recipes["relabelled"]
    assert recipe.relabelling == {"folds": 5} and recipe.looks_ahead


def test_a_loss_says_where_it_decides_unless_labels_are_left_out_or_mended():
    recipes = Study.of(complete(RAW)).recipes
    deciding = {name: recipes[name].deciding_loss for name in ("gce", "small-loss", "relabelled")}
    assert deciding == {
        "gce": "generalised_cross_entropy",
        "small-loss": None,
        "relabelled": None,
    }


FRESH = {"kind": "natural", "target_dice": 0.9, "draws": "per_epoch"}


def with_fresh(claims):
    """Fixed and fresh natural errors, and fixed choppy ones, of one network and recipe."""
    config = with_matrix(claims, dataset=["phantom"], model=["unet"], recipe=["plain"])
    config["matrix"]["perturbation"] = ["control", "fresh", "natural-0.90", "choppy-0.90"]
    config["perturbations"]["fresh"] = FRESH
    return config


def test_a_slope_is_a_claim_about_each_way_to_draw():
    claims = {"natural": SLOPE, "choppy": {**SLOPE, "error": "choppy"}}
    claims["chosen"] = {**SLOPE, "draws": "per_epoch"}
    found = Study.of(complete(with_fresh(claims))).claims
    assert [(claim.name, claim.draws) for claim in found] == [
        ("natural", "1"),
        ("natural", "per_epoch"),
        ("choppy", None),
        ("chosen", "per_epoch"),
    ]


@pytest.mark.parametrize("draws", [7, 1])
def test_a_slope_of_draws_that_the_matrix_lacks_is_refused(draws):
    claims = {"x": {**SLOPE, "error": "natural" if draws == 7 else "random", "draws": draws}}
    place = r"draws' is 7.*no natural error" if draws == 7 else "error' is random"
    with pytest.raises(InputError, match=rf"'claims\.x\.{place}"):
        complete(with_fresh(claims))


def test_pictures_show_the_largest_error_of_each_kind_and_way_to_draw():
    study = Study.of(complete(with_fresh({})))
    assert study.examples() == ["control", "fresh", "natural-0.90", "choppy-0.90"]
    assert study.drawn[:2] == [("control", "control", "1"), ("fresh", "natural", "per_epoch")]
    assert len(read_study(ROOT / "config.yaml").examples()) == 4


def with_budget(cases=(2, 4, 8), **budget):
    """A study of some numbers of training cases, with a budget."""
    config = copy.deepcopy(RAW)
    recipe = config["recipes"]["plain"]
    few = {f"few-{number}": {**recipe, "training_cases": number} for number in cases}
    config["recipes"] |= few
    config["perturbations"] |= {"both": consensus(annotators=3)}
    config["matrix"] |= {"recipe": [*few], "perturbation": ["control", "natural-0.95", "both"]}
    config["matrix"]["claims"] = []
    usual = {"case": 1, "minute": 2, "wanted": 0.9, "minutes": {"control": 9, "natural-0.95": 3}}
    return config | {"budget": usual | budget}


def test_a_budget_counts_every_annotator_and_groups_recipes():
    config = complete(with_budget())
    assert config["budget"]["minutes"]["both"] == 9
    groups = {f"few-{number}": ("few", number) for number in (2, 4, 8)}
    assert recipe_groups(config) == groups
    assert complete(config) == config
    # All cases are no number, and another learning rate is another curve.
    config["matrix"]["recipe"].append("plain")
    config["recipes"]["few-8"]["learning_rate"] = 0.5
    assert recipe_groups(config) == {}
    assert complete(RAW)["budget"] is None


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (with_budget(minutes={"control": 1}), "'budget.minutes' lacks 'natural-0.95' of 'matrix."),
        (with_budget(minutes={"x": 1}), "'budget.minutes' names 'x', which 'perturbations' does"),
        (with_budget(cases=(2, 4)), "'budget' needs 3 recipes in 'matrix.recipe' that differ in"),
        (with_budget(wanted=1), "'budget.wanted'"),
        (with_budget(case=-1), "'budget.case'"),
    ],
)
def test_a_budget_that_cannot_be_counted_is_refused(config, words):
    with pytest.raises(InputError) as error:
        complete(config)
    assert words in str(error.value)
