"""What a config may say of given labels, and where they are read from."""

import pytest

from labelnoise.config import complete
from labelnoise.study import Study
from refusals import assert_refused
from settings import CONFIG

IMAGES = {
    "source": "images",
    "folder": "data",
    "case": r"(p\d+)",
    "classes": {"liver": [255]},
    "window": [0, 255],
}
VOLUMES = {"source": "volumes", "folder": "ct", "classes": {"liver": [1]}, "window": [0, 1]}
GIVEN = {"kind": "given", "folder": "intern"}


def config_of(perturbations, datasets, chosen=None):
    matrix = {"dataset": [*datasets], "perturbation": chosen or [*perturbations]}
    return CONFIG | {
        "datasets": datasets,
        "perturbations": perturbations,
        "matrix": CONFIG["matrix"] | matrix,
    }


def study_of(perturbations, datasets=None, chosen=None):
    return Study.of(complete(config_of(perturbations, datasets or {"a": IMAGES}, chosen)))


def refused(given, *words, datasets=None, **others):
    perturbations = {"intern": GIVEN | given, **others}
    chosen = ["intern"] if not others else [*others]
    config = config_of(perturbations, datasets or {"a": IMAGES}, chosen)
    assert_refused(("perturbations.intern", *words), complete, config)


def test_labels_stand_in_for_the_datasets_where_they_say_so():
    reading = {
        "folder": {"b": "other", "a": "intern"},
        "mask_name": "{name}_x",
        "labels": r"(\d+)\.nrrd",
        "classes": {"liver": [7]},
    }
    study = study_of({"intern": GIVEN | reading}, {"a": IMAGES, "b": VOLUMES})
    found = study.given_settings("a", "intern")
    given = {"labels_folder": "intern", "mask_name": "{name}_x", "classes": {"liver": [7]}}
    assert found == {**study.datasets["a"], "given": given}
    given = {"labels_folder": "other", "labels": r"(\d+)\.nrrd", "classes": {"liver": [7]}}
    assert study.given_settings("b", "intern")["given"] == given


def test_where_labels_lie_is_no_part_of_the_error():
    study = study_of({"a": GIVEN, "b": GIVEN | {"folder": "elsewhere", "share": 0.5}})
    assert study.perturbations["a"].as_dict() == {
        "kind": "given",
        "target_dice": None,
        "severity": None,
        "draws": 1,
    }
    assert study.perturbations["b"].settings == {"share": 0.5, "share_of": "cases"}
    assert [family for _, family, _ in study.drawn] == ["a", "b"]


def test_a_mixture_takes_the_given_labels_of_its_parts_and_folds_share_them():
    choppy = {"kind": "choppy", "severity": 1}
    mixed = {"kind": "mixture", "of": ["one", "choppy", "two"]}
    perturbations = {"one": GIVEN, "two": GIVEN, "choppy": choppy, "mixed": mixed}
    folds = {"a": IMAGES | {"split": {"folds": 3}}}
    study = study_of(perturbations, folds, ["mixed", "one", "choppy"])
    assert study.given_in("mixed") == ["one", "two"]
    assert study.given_in("one") == ["one"] and study.given_in("choppy") == []
    assert study.given_settings("a", "one")["folder"] == "data"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"draws": 2}, [".draws' is 2", "one draw"]),
        ({"draws": "per_epoch"}, [".draws' is per_epoch"]),
        ({"target_dice": 0.9}, ["has target_dice", "measured, not chosen"]),
        ({"severity": 1}, ["has severity"]),
        ({"labels": r"(\d+)\.nii"}, [".labels' is for the source volumes or dicom", "remove"]),
        ({"classes": {"lung": [1]}}, [".classes' names lung", "'a' has liver"]),
        ({"classes": {"liver": [1]}, "ignore": [1]}, [".ignore' holds 1"]),
        ({"folder": {"b": "x"}}, [".folder' names no folder for the dataset 'a', but for b"]),
        ({"folder": "~/x"}, [".folder"]),
        ({"clicks": 3}, ["'clicks'"]),
    ],
)
def test_what_given_labels_cannot_be_is_refused_in_a_sentence(given, words):
    refused(given, *words)


@pytest.mark.parametrize("source", [{"source": "phantom"}, {"source": "mni152"}])
def test_a_source_whose_labels_are_no_files_is_refused(source):
    said = ("the dataset 'a' is of the source", source["source"], "images, volumes, msd, dicom")
    refused({}, *said, datasets={"a": source})
    mixed = {"kind": "mixture", "of": ["intern", "other"]}
    others = {"other": {"kind": "choppy", "severity": 1}, "mixed": mixed}
    refused({}, *said, datasets={"a": source}, **others)


def test_what_the_matrix_does_not_name_is_not_asked():
    control = {"kind": "control"}
    complete(config_of({"intern": GIVEN, "c": control}, {"a": {"source": "phantom"}}, ["c"]))
