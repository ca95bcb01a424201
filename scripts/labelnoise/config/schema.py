"""What the schema decides about a configuration: whether it fits, and its canonical form."""

import re
from functools import cache
from itertools import count
from math import isfinite
from pathlib import Path

import jsonschema
import yaml
from jsonschema.exceptions import best_match, relevance

from labelnoise.config.messages import (
    CONFIG,
    LARGEST_INTEGER,
    Naming,
    schema_sentence,
    shown,
    where,
)
from labelnoise.errors import InputError

SCHEMA = Path(__file__).with_name("config.schema.yaml")
# Far above any study. A file of a few lines can repeat itself into millions of values.
LONGEST_TEXT = 1000
MOST_VALUES = 100_000
DEEPEST = 16

FORMATS = jsonschema.FormatChecker(formats=())


def check_schema(config: dict) -> None:
    """Refuse a configuration that does not fit the schema, naming the key.

    Raises:
        InputError: a key is unknown, missing, of another type or out of range.
    """
    _check(config, _validator(), CONFIG)


def check_part(value: dict, part: str, naming: Naming) -> None:
    """Refuse what does not fit a definition of the schema, naming the key.

    Args:
        value: a mapping.
        part: name of the definition, such as "perturbation".
        naming: what messages call the keys.

    Raises:
        InputError: see `check_schema`.
    """
    _check(value, _validator().evolve(schema=_part(part)), naming)


def _check(value, validator, naming):
    _check_values(value, (), count(1), naming)
    error = best_match(validator.iter_errors(value), key=_unknown_key_first)
    if error is not None:
        raise InputError(schema_sentence(error, naming))


def part_keys(value: dict, part: str) -> list[str]:
    """Return the keys that a definition of the schema has, given those that choose among several.

    Args:
        value: such as {"kind": "rater"}.
        part: name of the definition, such as "perturbation".
    """
    return [*_at(_part(part), value)["properties"]]


def name_fault(text: str) -> str:
    """Return what the config expects of a name that it would not take; empty for one it takes."""
    rule = _schema()["$defs"]["name"]
    return "" if _fits(text, rule) else rule["description"]


def canonical(config: dict) -> dict:
    """Return the one form that all configurations of the same meaning share, in built-in types.

    Keys are in the schema's order with every default filled in. Names that the user makes up
    keep their order, which numbers the classes; settings handed to a library are sorted. Whole
    numbers are int where the schema takes integers, all other numbers float.

    Args:
        config: a mapping that fits the schema. It is not changed.
    """
    return _form(config, _schema())


def canonical_part(value: dict, part: str) -> dict:
    """Return the canonical form of a mapping that fits a definition of the schema."""
    return _form(value, _part(part))


def _part(part):
    return {"$ref": f"#/$defs/{part}"}


@cache
def _schema():
    return yaml.safe_load(SCHEMA.read_text(encoding="utf-8"))


@cache
def _validator():
    return jsonschema.Draft202012Validator(_schema(), format_checker=FORMATS)


@FORMATS.checks("pattern", raises=(re.error, OverflowError, RecursionError))
def _is_pattern(value):
    return not isinstance(value, str) or re.compile(value) is not None


@FORMATS.checks("case-pattern", raises=(re.error, OverflowError, RecursionError))
def _has_group(value):
    return not isinstance(value, str) or re.compile(value).groups > 0


def _check_values(value, path, counted, naming):
    """Refuse values that YAML can make and JSON does not have, which the schema ignores."""
    named = where(path, naming)
    if next(counted) > MOST_VALUES or len(path) > DEEPEST:
        raise InputError(f"{named} goes beyond {MOST_VALUES} values or {DEEPEST} levels; cut it.")
    if isinstance(value, dict):
        for name, item in value.items():
            if not isinstance(name, str):
                raise InputError(
                    f"{named} has the key {shown(name)}, which is not text; put it in quotes."
                )
            _check_values(item, (*path, name), counted, naming)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _check_values(item, (*path, index), counted, naming)
    elif isinstance(value, float) and not isfinite(value):
        raise InputError(f"{named} is {value}; expected a finite number.")
    elif isinstance(value, int) and abs(value) > LARGEST_INTEGER:
        raise InputError(f"{named} is {shown(value)}; expected a smaller one.")
    elif isinstance(value, str) and len(value) > LONGEST_TEXT:
        raise InputError(
            f"{named} is a text of {len(value)} characters; expected at most {LONGEST_TEXT}."
        )
    elif not isinstance(value, str | int | float | None):
        raise InputError(
            f"{named} is {shown(value)}, which YAML reads as a {type(value).__name__}; put it in "
            "quotes."
        )


def _form(value, rule):
    rule = _at(rule, value)
    if isinstance(value, dict):
        return _mapping_form(value, rule)
    if isinstance(value, list):
        return [_form(item, rule.get("items", {})) for item in value]
    if isinstance(value, bool) or not isinstance(value, int | float):
        return _member(value, rule)
    kinds = rule.get("type", ())
    if "integer" in kinds and value == int(value):
        return int(value)
    # The sum turns -0.0 into 0.0.
    return value + 0.0 if "number" in kinds else _member(value, rule)


def _member(value, rule):
    """Return the first of an enumeration's members that reads like the value, "32" for 32."""
    text = str(int(value)) if isinstance(value, float) else str(value)
    return next((member for member in rule.get("enum", ()) if str(member) == text), value)


def _mapping_form(value, rule):
    known, form = rule.get("properties", {}), {}
    for name, inner in known.items():
        inner = _follow(inner)
        if name in value or "default" in inner:
            form[name] = _form(value[name] if name in value else inner["default"], inner)
    others = [name for name in value if name not in known]
    # `propertyNames` marks names that the user makes up.
    for name in others if "propertyNames" in rule else sorted(others):
        form[name] = _form(value[name], rule["additionalProperties"])
    return form


def _at(rule, value):
    """Return the rule that holds for a value, its reference, conditions and choice resolved."""
    rule = _follow(rule)
    for part in rule.get("allOf", ()):
        if _fits(value, part["if"]):
            rule = rule | _at(part["then"], value)
    for choice in rule.get("oneOf", ()):
        if _fits(value, choice):
            return choice
    return rule


def _follow(rule):
    """Return a rule with its reference replaced by what it refers to."""
    if "$ref" not in rule:
        return rule
    own = {key: value for key, value in rule.items() if key != "$ref"}
    return _follow(_schema()["$defs"][rule["$ref"].removeprefix("#/$defs/")]) | own


def _fits(value, rule):
    return _validator().evolve(schema=rule).is_valid(value)


def _unknown_key_first(error):
    # An unknown key explains more than the missing one that it was meant to be.
    return (error.validator == "additionalProperties", *relevance(error))
