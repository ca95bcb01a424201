"""Runs that differ from their neighbours are named, with what differs."""

from copy import deepcopy
from dataclasses import replace

from labelnoise.consistency import differences, misfits
from labelnoise.study import Run

RUN = Run("lis", "unet", "plain", "control", 0)
RECORD = {
    "code": "4d5e6f",
    "packages": {"torch": "2.14.1", "numpy": "2.0"},
    "definitions": {
        "model": {"network": "unet", "width": 6},
        "recipe": {"epochs": 2, "loss_settings": {"a": 1, "b": 2}},
    },
    "device": "cpu",
}


def record(code="4d5e6f", torch="2.14.1", **recipe):
    made = deepcopy(RECORD) | {"code": code, "packages": {"torch": torch}}
    made["definitions"]["recipe"] |= recipe
    return made


def repeats(*records, setting=RUN):
    return {replace(setting, repeat=index): each for index, each in enumerate(records)}


def test_equal_runs_fit():
    assert misfits(repeats(record(), record(), record())) == []
    assert misfits(repeats(record())) == misfits({}) == []


def test_folds_are_compared_with_each_other_as_they_are_averaged():
    folds = [replace(RUN, dataset=f"lis@fold{fold}") for fold in range(3)]
    made = dict(zip(folds, [record(), record("1a2b3c"), record()], strict=True))
    assert misfits(made) == [(folds[1], "code 1a2b3c instead of 4d5e6f")]
    others = {replace(RUN, dataset="lis2"): record("1a2b3c")}
    assert misfits({folds[0]: record(), **others}) == []


def test_a_run_of_other_code_or_torch_is_named():
    """Of four runs the second has other code, the fourth other code and torch."""
    runs = repeats(record(), record("1a2b3c"), record(), record("777777", "2.13.0"))
    assert misfits(runs) == [
        (replace(RUN, repeat=1), "code 1a2b3c instead of 4d5e6f"),
        (replace(RUN, repeat=3), "code 777777 instead of 4d5e6f, torch 2.13.0 instead of 2.14.1"),
    ]


def test_a_run_of_another_definition_is_named():
    runs = repeats(record(), record(epochs=3, keep=1), record())
    found = "recipe.epochs 3 instead of 2, recipe.keep 1 instead of unknown"
    assert misfits(runs) == [(replace(RUN, repeat=1), found)]


def test_devices_and_other_packages_may_differ():
    other = record() | {"device": "NVIDIA H100", "host": "node7"}
    other["packages"]["numpy"] = "1.26"
    assert misfits(repeats(record(), other, record())) == []


def test_values_are_compared_not_their_spelling():
    same = record(loss_settings={"b": 2, "a": 1}, epochs=2.0)
    assert misfits(repeats(record(), same)) == []


def test_perturbations_of_a_setting_are_neighbours_and_settings_are_not():
    error = replace(RUN, perturbation="choppy-0.90")
    runs = repeats(record(), record()) | {error: record("1a2b3c")}
    assert [run for run, _ in misfits(runs)] == [error]
    other = replace(error, recipe="labels18")
    assert misfits(repeats(record(), record()) | {other: record("1a2b3c")}) == []


def test_own_kinds_are_compared_among_runs_of_that_kind():
    def shaved(code, kind="mykinds.shave"):
        return record() | {"label_kind": {"kind": kind, "code": code}}

    error = replace(RUN, perturbation="shaved-0.90")
    other = replace(RUN, perturbation="grown-0.90")
    runs = repeats(record(), record())
    runs |= repeats(shaved("1a2b"), shaved("1a2b"), setting=error)
    runs |= repeats(shaved("ffff", "mykinds.grow"), setting=other)
    assert misfits(runs) == []
    edited = {replace(error, repeat=2): shaved("3c4d")}
    says = "error mykinds.shave code 3c4d instead of code 1a2b"
    assert misfits(runs | edited) == [(replace(error, repeat=2), says)]


def test_of_equally_many_the_first_is_usual():
    runs = repeats(record("a"), record("b"), record("b"), record("a"))
    assert [run.repeat for run, _ in misfits(runs)] == [1, 2]


def test_what_a_record_lacks_is_unknown():
    (found,) = misfits(repeats(record(), record(), {}))
    assert found[1].startswith("code unknown instead of 4d5e6f, torch unknown instead of 2.14.1")


def test_differences_by_hand():
    assert differences({"a": "1", "b": "2"}, {"a": "1", "b": "3"}) == "b 2 instead of 3"
    assert differences({"a": "1"}, {"a": "1"}) == ""
