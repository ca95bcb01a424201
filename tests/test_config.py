"""The configuration: defaults, and a sentence that names the key for every mistake."""

import copy
from pathlib import Path

import pytest
import yaml

from labelnoise.config import complete, expand_runs, load_config
from labelnoise.errors import InputError

ROOT = Path(__file__).parents[1]
RAW = yaml.safe_load((ROOT / "config.yaml").read_text())
IMAGES = {
    "source": "images",
    "folder": "data",
    "case": r"(p\d+)",
    "classes": {"liver": [255]},
    "window": [0, 255],
}


def changed(path, value):
    config = copy.deepcopy(RAW)
    *parents, last = path.split("/")
    place = config
    for key in parents:
        place = place[key]
    place[last] = value
    return config


def test_the_shipped_config_is_the_papers_matrix():
    runs = expand_runs(load_config(ROOT / "config.yaml"))
    matrix = RAW["matrix"]
    assert len(matrix["model"]) == 3 and len(matrix["dataset"]) == 2
    assert len(matrix["perturbation"]) == 10
    assert len(runs) == 3 * 2 * 10 * len(matrix["recipe"]) * matrix["repeats"]
    assert len({tuple(run.values()) for run in runs}) == len(runs)


@pytest.mark.parametrize("study", sorted((ROOT / "studies").glob("*.yaml")), ids=lambda p: p.stem)
def test_every_study_overlays_the_config(study):
    assert expand_runs(load_config(ROOT / "config.yaml", study))


def test_defaults_are_filled_in_and_the_input_is_not_changed():
    before = copy.deepcopy(RAW)
    config = complete(RAW)
    assert before == RAW
    assert config["datasets"]["phantom"]["split"] == {"train": 0.6, "validation": 0.2, "test": 0.2}
    assert config["perturbations"]["natural-0.95"]["draws"] == 1
    assert config["models"]["fcn32"]["head_width"] == 4096
    assert config["recipes"]["labels18"]["precision"] == "32"


def test_a_recipe_is_brought_into_one_form():
    config = complete(changed("recipes/plain/precision", 32))
    assert config["recipes"]["plain"]["precision"] == "32"
    for monitor, mode in {"validation_loss": "min", "validation_dice": "max"}.items():
        recipe = {"loss": "dice", "monitor": monitor}
        assert complete(changed("recipes/mine", recipe))["recipes"]["mine"]["mode"] == mode


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
        ("datasets/x", {**IMAGES, "window": [5, 5]}, ["datasets.x.window", "low < high"]),
        (
            "datasets/x",
            {**IMAGES, "classes": {"liver": [0]}},
            ["datasets.x.classes.liver.0", ">= 1"],
        ),
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
        ("models/unet/depht", 3, ["models.unet", "'depht'", "'depth'"]),
        ("models/segnet/depth", 3, ["models.segnet", "unknown key 'depth'"]),
        ("models/unet/width", 0, ["models.unet.width", ">= 1"]),
        ("models/unet/width", 6.5, ["models.unet.width", "integer"]),
        ("models/fcn32/dropout", 1, ["models.fcn32.dropout", "< 1"]),
        ("models/unet/network", "unett", ["models.unet.network", "'unett'", "segnet"]),
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
        ("perturbations/natural-0.95/draws", "often", ["natural-0.95.draws", "per_epoch"]),
        ("matrix/dataset", ["lis"], ["matrix.dataset", "'lis'", "phantom", "mni152"]),
        ("matrix/perturbation", ["mchop"], ["matrix.perturbation", "'mchop'", "choppy-0.90"]),
        ("matrix/repeats", 0, ["matrix.repeats", ">= 1"]),
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
    ],
)
def test_a_mistake_is_named_by_its_key(path, value, parts):
    with pytest.raises(InputError) as raised:
        complete(changed(path, value))
    message = str(raised.value)
    assert all(part in message for part in parts), message
    assert "\n" not in message


def test_a_file_that_is_not_yaml_is_named(tmp_path):
    path = tmp_path / "broken.yaml"
    path.write_text("matrix: [unet\n")
    with pytest.raises(InputError, match=r"broken\.yaml is not YAML"):
        load_config(path)
