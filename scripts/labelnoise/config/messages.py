"""Sentences about a configuration: every mistake is named by its key, in one line."""

import difflib
import reprlib
from collections.abc import Iterable
from math import isfinite
from typing import NamedTuple

from jsonschema import ValidationError

# Far above any setting; Python refuses to print integers of more than 4300 digits.
LARGEST_INTEGER = 10**18

KINDS = {"object": "mapping", "array": "list", "string": "text"}
_shorten = reprlib.Repr()
_shorten.maxstring = _shorten.maxother = 100
_shorten.maxlevel = 2


def shown(value: object) -> str:
    """Return a value as messages show it: in YAML's spelling, and short."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int) and abs(value) > LARGEST_INTEGER:
        return "an integer of more than 18 digits"
    return _shorten.repr(value)


class Naming(NamedTuple):
    """How messages call a key, and all that keys are in."""

    key: str
    whole: str


CONFIG = Naming("config key", "the config")


def where(path: Iterable[str | int], naming: Naming = CONFIG) -> str:
    """Return the key at a path as messages name it, unprintable characters escaped."""
    parts = (str(part) for part in path)
    key = ".".join(part if part.isprintable() else ascii(part)[1:-1] for part in parts)
    return f"{naming.key} '{key}'" if key else naming.whole


def schema_sentence(error: ValidationError, naming: Naming = CONFIG) -> str:
    """Return one sentence that tells the user what an error of the schema means."""
    named, found, rule = where(error.absolute_path, naming), error.instance, error.validator_value
    is_wrong = f"{named} is {shown(found)}"
    match error.validator:
        case "additionalProperties":
            known = sorted(error.schema.get("properties", {}))
            unknown = sorted(set(found) - set(known))[0]
            close = difflib.get_close_matches(unknown, known, 1)
            hint = f"did you mean '{close[0]}'?" if close else f"it takes {', '.join(known)}."
            return f"{named} has an unknown key {shown(unknown)}; {hint}"
        case "required":
            missing = next(name for name in rule if name not in found)
            return f"{named} lacks the key '{missing}'; add it."
        case "enum" | "const":
            members = map(_plain, rule if error.validator == "enum" else [rule])
            return f"{is_wrong}; expected one of: {', '.join(dict.fromkeys(members))}."
        case "type":
            kinds = [rule] if isinstance(rule, str) else rule
            names = [KINDS.get(kind, kind) for kind in kinds]
            if "number" in names and "integer" in names:
                names.remove("integer")
            hint = _written_as_text(found) if "number" in names or "integer" in names else ""
            return (
                f"{is_wrong}; expected a value of type {' or '.join(names)}{_about(error)}{hint}."
            )
        case "format" if error.cause:
            return f"{is_wrong}, which is not a regular expression: {error.cause}."
        case "format":
            return f"{is_wrong}; put the case's part of the name in parentheses."
        case "minItems" | "minProperties" if not found:
            return f"{named} is empty; give one at least{_about(error)}."
        case "uniqueItems":
            twice = next(item for item in found if found.count(item) > 1)
            return f"{named} names {shown(twice)} twice; name it once."
        case "minimum" | "exclusiveMinimum" | "maximum" | "exclusiveMaximum":
            sign = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<="}
            bound = f"{sign.get(error.validator, '<')} {rule:.16g}"
            return f"{is_wrong}; expected a number {bound}{_about(error)}."
        case _:
            about = error.schema.get("description", f"another one ({error.validator}: {rule})")
            return f"{is_wrong}; expected {about}."


def _plain(value):
    return value if isinstance(value, str) else shown(value)


def _about(error):
    text = error.schema.get("description")
    return f" ({text})" if text else ""


def _written_as_text(found):
    """Return a hint for a number that YAML 1.1 reads as text, such as 1e-3."""
    if not isinstance(found, str):
        return ""
    try:
        number = float(found)
    except ValueError:
        return ""
    if not isfinite(number):
        return ""
    if "e" in found.lower() and "." not in found:
        mantissa, exponent = found.lower().split("e")
        return f"; YAML reads this as text, write {mantissa}.0e{int(exponent):+d}"
    return f"; write it without quotes: {number:g}"
