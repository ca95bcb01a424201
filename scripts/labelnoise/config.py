"""The study's configuration: read, completed, checked key by key, expanded into runs."""

import difflib
import re
from collections import Counter
from copy import deepcopy
from functools import cache
from itertools import chain, product
from math import isfinite
from pathlib import Path

import jsonschema
import yaml
from jsonschema.exceptions import best_match, relevance

from labelnoise.errors import InputError

SCHEMA = Path(__file__).parents[2] / "rules" / "schemas" / "config.schema.yaml"
METRICS = ("loss", "dice", "precision", "recall")
# The matrix lists, and the mapping that defines the names of each.
DEFINED_IN = {
    "dataset": "datasets",
    "model": "models",
    "recipe": "recipes",
    "perturbation": "perturbations",
}


def load_config(*paths):
    """Read configuration files as Snakemake merges them: mappings merge, all else is replaced.

    Returns:
        The completed configuration, see `complete`.

    Raises:
        InputError: a file is not YAML, or the configuration is wrong.
    """
    config = {}
    for path in paths:
        try:
            merge(config, yaml.safe_load(Path(path).read_text()) or {})
        except yaml.YAMLError as error:
            raise InputError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    return complete(config)


def merge(base, overlay):
    """Merge `overlay` into `base` in place."""
    for key, value in overlay.items():
        if isinstance(value, dict) and isinstance(base.get(key), dict):
            merge(base[key], value)
        else:
            base[key] = deepcopy(value)


def complete(config):
    """Check a configuration and fill in its defaults.

    Args:
        config: a mapping, as YAML gives it. It is not changed.

    Returns:
        A new mapping in which every key of the schema that has a default is present.

    Raises:
        InputError: a key is unknown, missing or out of range, or a name is not defined; the
            message names the key.
    """
    config = deepcopy(config)
    error = best_match(_validator().iter_errors(config), key=_depth_first)
    if error is not None:
        raise InputError(_sentence(error))
    _check_numbers(config)
    _check_matrix(config)
    for name, dataset in config["datasets"].items():
        _check_dataset(name, dataset)
    for name, recipe in config["recipes"].items():
        _complete_recipe(name, recipe)
    for name, perturbation in config["perturbations"].items():
        _check_perturbation(name, perturbation)
    return config


def expand_runs(config):
    """List the runs of a completed configuration, the product of the lists in its matrix.

    Returns:
        A list of mappings with dataset, model, recipe, perturbation, repeat, and the
        perturbation's kind and target_dice (None where a severity is given).
    """
    matrix = config["matrix"]
    names = product(*(matrix[axis] for axis in DEFINED_IN), range(matrix["repeats"]))
    return [
        {
            **dict(zip((*DEFINED_IN, "repeat"), values, strict=True)),
            "kind": config["perturbations"][values[3]]["kind"],
            "target_dice": config["perturbations"][values[3]].get("target_dice"),
        }
        for values in names
    ]


@cache
def _schema():
    return yaml.safe_load(SCHEMA.read_text())


@cache
def _validator():
    """Build a validator that also fills in the schema's defaults."""
    base = jsonschema.Draft202012Validator
    check_properties = base.VALIDATORS["properties"]

    def fill_and_check(validator, properties, instance, schema):
        if isinstance(instance, dict):
            for name, subschema in properties.items():
                found = _default(subschema)
                if found is not None and name not in instance:
                    instance[name] = deepcopy(found[0])
        yield from check_properties(validator, properties, instance, schema)

    return jsonschema.validators.extend(base, {"properties": fill_and_check})(_schema())


def _default(subschema):
    """Find the default of a property, through references; (default,) or None."""
    while True:
        if "default" in subschema:
            return (subschema["default"],)
        if "$ref" not in subschema:
            return None
        subschema = _schema()["$defs"][subschema["$ref"].removeprefix("#/$defs/")]


def _depth_first(error):
    # An unknown key says more than what its absence elsewhere leads to.
    return (error.validator == "additionalProperties", *relevance(error))


def _sentence(error):
    """Say in one sentence what a schema error means for the user."""
    key = ".".join(str(part) for part in error.absolute_path)
    where = f"config key '{key}'" if key else "the config"
    found, rule = error.instance, error.validator_value
    match error.validator:
        case "additionalProperties":
            known = sorted(error.schema.get("properties", {}))
            unknown = sorted(set(found) - set(known))[0]
            close = difflib.get_close_matches(unknown, known, 1)
            hint = f"did you mean '{close[0]}'?" if close else f"it takes {', '.join(known)}."
            return f"{where} has an unknown key '{unknown}'; {hint}"
        case "required":
            missing = next(name for name in rule if name not in found)
            return f"{where} lacks the key '{missing}'; add it."
        case "enum" | "const":
            known = ", ".join(dict.fromkeys(map(str, rule))) if error.validator == "enum" else rule
            return f"{where} is {found!r}; expected one of: {known}."
        case "pattern":
            about = error.schema.get("description") or f"a name that matches {rule}"
            return f"{where} is {found!r}; expected {about}."
        case "type":
            kind = " or ".join(rule) if isinstance(rule, list) else rule
            hint = _written_as_text(found) if "number" in kind else ""
            return f"{where} is {found!r}; expected a value of type {kind}{_about(error)}{hint}."
        case "minItems" | "minProperties" if not found:
            return f"{where} is empty; give one at least{_about(error)}."
        case "uniqueItems":
            twice = next(item for item in found if found.count(item) > 1)
            return f"{where} names {twice!r} twice; name it once."
        case "minimum" | "exclusiveMinimum" | "maximum" | "exclusiveMaximum":
            sign = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<="}
            bound = f"{sign.get(error.validator, '<')} {rule}"
            return f"{where} is {found!r}; expected a number {bound}{_about(error)}."
        case _:
            about = error.schema.get("description", error.message)
            return f"{where} is {found!r}; expected {about}."


def _about(error):
    text = error.schema.get("description")
    return f" ({text})" if text else ""


def _written_as_text(found):
    """Hint for a number that YAML 1.1 reads as text, such as 1e-3."""
    try:
        number = float(found)
    except (TypeError, ValueError):
        return ""
    if isinstance(found, str) and "e" in found.lower() and "." not in found:
        mantissa, exponent = found.lower().split("e")
        return f"; YAML reads this as text, write {mantissa}.0e{int(exponent):+d}"
    return f"; write it without quotes: {number:g}"


def _check_numbers(value, key=""):
    """Refuse NaN and infinity, which pass every comparison of the schema or mean nothing."""
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for name, item in items:
            _check_numbers(item, f"{key}.{name}" if key else str(name))
    elif isinstance(value, float) and not isfinite(value):
        raise InputError(f"config key '{key}' is {value}; expected a finite number.")


def _check_matrix(config):
    for axis, section in DEFINED_IN.items():
        for name in config["matrix"][axis]:
            if name not in config[section]:
                raise InputError(
                    f"config key 'matrix.{axis}' names '{name}', which '{section}' does not "
                    f"define; defined are: {', '.join(config[section])}."
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
    if "case" in dataset:
        _check_case_pattern(name, dataset["case"])


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


def _check_case_pattern(name, pattern):
    key = f"config key 'datasets.{name}.case'"
    try:
        groups = re.compile(pattern).groups
    except re.error as error:
        raise InputError(
            f"{key} is {pattern!r}, which is not a regular expression: {error}."
        ) from error
    if groups == 0:
        raise InputError(f"{key} is {pattern!r}; put the case's part of the name in parentheses.")


def _complete_recipe(name, recipe):
    key = f"config key 'recipes.{name}"
    recipe["precision"] = str(recipe["precision"])
    if recipe["keep"] > recipe["epochs"]:
        raise InputError(
            f"{key}.keep' is {recipe['keep']} but 'epochs' is {recipe['epochs']}; "
            "keep at most one checkpoint an epoch."
        )
    monitors = [f"{part}_{metric}" for part in ("validation", "train") for metric in METRICS]
    if recipe["monitor"] not in monitors:
        raise InputError(
            f"{key}.monitor' is '{recipe['monitor']}'; expected one of: {', '.join(monitors)}."
        )
    better = "min" if recipe["monitor"].endswith("loss") else "max"
    if recipe.setdefault("mode", better) != better:
        raise InputError(
            f"{key}.mode' is '{recipe['mode']}', but a {'low' if better == 'min' else 'high'} "
            f"{recipe['monitor']} is the better one; write {better}, or leave it out."
        )


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
