"""Runs that do not match the runs they are compared with."""

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

from labelnoise.folds import base_of
from labelnoise.study import RECIPE_ADDITIONS, Run

UNKNOWN = "unknown"
OWN_KIND = "error "


def misfits(records: Mapping[Run, Mapping[str, Any]]) -> list[tuple[Run, str]]:
    """Find runs that were made differently from most runs of their dataset, model and recipe.

    The digest of the code, the version of torch, and every key of the definitions of model and
    recipe are compared, and the digest of the user's own code that drew the labels, among runs of
    that kind of error. Devices may differ. Of equally frequent values the first counts as usual.

    Args:
        records: the content of each run's run.json; what it lacks is "unknown".

    Returns:
        Each run that differs from what is usual in its setting, in the order of `records`, and how
        it differs: "code 1a2b3c instead of 4d5e6f, torch 2.13.0 instead of 2.14.1".
    """
    settings: dict[tuple[str, str, str], dict[Run, dict[str, str]]] = {}
    for run, record in records.items():
        # Folds are averaged with each other.
        setting = (base_of(run.dataset), run.model, run.recipe)
        settings.setdefault(setting, {})[run] = _facts(record)
    found = {}
    for facts in settings.values():
        names = dict.fromkeys(name for known in facts.values() for name in known)
        usual = {
            name: Counter(
                known.get(name, UNKNOWN) for known in facts.values() if _concerns(name, known)
            ).most_common(1)[0][0]
            for name in names
        }
        found |= {
            run: differences(known, {name: usual[name] for name in names if _concerns(name, known)})
            for run, known in facts.items()
        }
    return [(run, found[run]) for run in records if found[run]]


def differences(found: Mapping[str, str], wanted: Mapping[str, str]) -> str:
    """Return how two mappings differ, such as "epochs 3 instead of 2"; empty if they do not."""
    pairs = {
        name: (found.get(name, UNKNOWN), wanted.get(name, UNKNOWN)) for name in {**wanted, **found}
    }
    return ", ".join(
        f"{name} {value} instead of {other}"
        for name, (value, other) in pairs.items()
        if value != other
    )


def definition_facts(definitions: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Return every value in definitions, {"model": ..., "recipe": ...}, as text by its key."""
    facts = {
        f"{part}.{key}": _text(value)
        for part, definition in definitions.items()
        for key, value in definition.items()
    }
    if "recipe" in definitions:
        facts = {f"recipe.{key}": "none" for key in RECIPE_ADDITIONS} | facts
    return facts


def label_facts(kind: Mapping[str, str] | None) -> dict[str, str]:
    """Return which of the user's own code drew the labels, by the kind; nothing for other kinds.

    Args:
        kind: the `label_kind` of a run.json: the kind's name, and the digest of its code.
    """
    return {f"{OWN_KIND}{kind['kind']}": f"code {kind['code']}"} if kind else {}


def _concerns(name: str, known: Mapping[str, str]) -> bool:
    """Return whether a fact is about a run: that of a kind of error is only about runs of it."""
    return name in known or not name.startswith(OWN_KIND)


def _facts(record: Mapping[str, Any]) -> dict[str, str]:
    """Return what all runs of a setting should have in common."""
    return {
        "code": record.get("code", UNKNOWN),
        "torch": record.get("packages", {}).get("torch", UNKNOWN),
        **definition_facts(record.get("definitions", {})),
        **label_facts(record.get("label_kind")),
    }


def _text(value: Any) -> str:
    """Return the same text for equal values: 32 and 32.0, mappings in any order."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)
