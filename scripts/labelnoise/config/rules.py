"""Rules between the keys of a configuration, which a schema cannot state."""

from collections import Counter
from itertools import chain
from math import prod

from labelnoise.config.messages import shown
from labelnoise.errors import InputError

# The lists of the matrix, and the section that defines the names of each.
AXES = {
    "dataset": "datasets",
    "model": "models",
    "recipe": "recipes",
    "perturbation": "perturbations",
}
MOST_RUNS = 1_000_000


def apply_rules(config: dict) -> None:
    """Check the keys of a configuration against each other, and fill in the modes of recipes.

    Args:
        config: a configuration in canonical form, see `labelnoise.config.schema`.

    Raises:
        InputError: two keys contradict each other; the message names one of them.
    """
    _check_matrix(config)
    for name, dataset in config["datasets"].items():
        _check_dataset(name, dataset)
    for name, recipe in config["recipes"].items():
        _complete_recipe(name, recipe)
    for name, perturbation in config["perturbations"].items():
        _check_perturbation(name, perturbation)


def _check_matrix(config):
    for axis, section in AXES.items():
        for name in config["matrix"][axis]:
            if name not in config[section]:
                raise InputError(
                    f"config key 'matrix.{axis}' names {shown(name)}, which '{section}' does not "
                    f"define; defined are: {', '.join(config[section])}."
                )
    matrix = config["matrix"]
    runs = prod(len(matrix[axis]) for axis in AXES) * matrix["repeats"]
    if runs > MOST_RUNS:
        raise InputError(
            f"config key 'matrix' asks for {runs} runs, the product of its lists and repeats; "
            f"expected at most {MOST_RUNS}."
        )


def _check_dataset(name, dataset):
    split = dataset.get("split", {})
    if split and abs(sum(split.values()) - 1) > 1e-6:
        raise InputError(
            f"config key 'datasets.{name}.split' sums to {sum(split.values()):g}; "
            "make the three shares sum to 1."
        )
    if "window" in dataset and not dataset["window"][0] < dataset["window"][1]:
        raise InputError(
            f"config key 'datasets.{name}.window' is {dataset['window']}; "
            "expected [low, high] with low < high."
        )
    _check_classes(name, dataset)


def _check_classes(name, dataset):
    key = f"config key 'datasets.{name}"
    classes = dataset.get("classes", {})
    if "background" in classes or dataset.get("structure") == "background":
        section = "classes" if classes else "structure"
        raise InputError(
            f"{key}.{section}' names 'background', which is every pixel of no structure; remove it."
        )
    for value, number in Counter(chain.from_iterable(map(set, classes.values()))).items():
        if number > 1:
            owners = [structure for structure, values in classes.items() if value in values]
            raise InputError(
                f"{key}.classes' gives the label value {value} to {' and '.join(owners)}; "
                "give every value to one structure."
            )
    for value in dataset.get("ignore", []):
        if any(value in values for values in classes.values()):
            raise InputError(
                f"{key}.ignore' holds {value}, which '{name}.classes' gives to a structure; "
                "name it in one of the two."
            )


def _complete_recipe(name, recipe):
    key = f"config key 'recipes.{name}"
    if recipe["keep"] > recipe["epochs"]:
        raise InputError(
            f"{key}.keep' is {recipe['keep']} but 'epochs' is {recipe['epochs']}; "
            "keep at most one checkpoint per epoch."
        )
    batch, parts = recipe["batch_size"], recipe["accumulation"]
    if batch % parts:
        raise InputError(
            f"{key}.accumulation' is {parts}, which does not cut the batch_size of {batch} into "
            f"equal parts; write a divisor of {batch}."
        )
    better = "min" if recipe["monitor"].endswith("loss") else "max"
    if recipe["mode"] not in (None, better):
        raise InputError(
            f"{key}.mode' is '{recipe['mode']}', but a {'low' if better == 'min' else 'high'} "
            f"{recipe['monitor']} is the better one; write {better}, or leave it out."
        )
    recipe["mode"] = better


def _check_perturbation(name, perturbation):
    key = f"config key 'perturbations.{name}'"
    sizes = [size for size in ("target_dice", "severity") if size in perturbation]
    if perturbation["kind"] == "control":
        if sizes or perturbation["draws"] != 1:
            raise InputError(f"{key} is a control, which has no error; remove its other keys.")
    elif len(sizes) != 1:
        raise InputError(
            f"{key} has {' and '.join(sizes) or 'no size'}; "
            "give either target_dice or severity, and not both."
        )
    elif perturbation["kind"] == "random" and perturbation.get("severity", 0) > 1:
        raise InputError(
            f"config key 'perturbations.{name}.severity' is {perturbation['severity']}; for random "
            "it is a probability, expected a number <= 1."
        )
