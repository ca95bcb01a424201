"""Splits: by shares, as listed, and in folds, of which each case is tested in exactly one."""

import json

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from labelnoise.data.splits import assign_folds, assign_splits, split_cases
from labelnoise.data.storage import SPLITS
from labelnoise.errors import InputError
from settings import dataset_settings

CASES = [f"patient_{number:02d}" for number in range(10)]
LISTS = {"train": CASES[:6], "validation": CASES[6:8], "test": CASES[8:]}


def split_setting(**split):
    """The setting as the config completes it."""
    return dataset_settings(source="phantom", split=split)["split"]


def parts_of(split_of):
    return {split: [case for case in split_of if split_of[case] == split] for split in SPLITS}


def refuse(split, *words, cases=CASES, name="kidney"):
    with pytest.raises(InputError) as error:
        assign_splits(name, cases, split, 0)
    for word in ("dataset kidney", *words):
        assert word in str(error.value)


@pytest.fixture
def splits_file(tmp_path):
    """Write nnU-Net's splits_final.json; return its path as the config names it."""

    def write(folds):
        path = tmp_path / "splits_final.json"
        path.write_text(folds if isinstance(folds, str) else json.dumps(folds))
        return str(path)

    return write


def nnunet(tested):
    """Folds of CASES as nnU-Net writes them, each testing the cases at these places."""
    return [
        {
            "train": [case for place, case in enumerate(CASES) if place not in places],
            "val": [CASES[place] for place in places],
        }
        for places in tested
    ]


# As listed


def test_cases_go_where_they_are_listed():
    split_of = assign_splits("kidney", CASES, split_setting(**LISTS), 0)
    assert list(split_of) == CASES and parts_of(split_of) == LISTS


def test_an_unknown_case_is_named_with_those_that_it_may_mean():
    lists = LISTS | {"test": ["patient_8", "patient_09"]}
    refuse(split_setting(**lists), "'patient_8', which is no case", "did you mean 'patient_08'")
    lists = LISTS | {"test": ["xyz", "zyx"]}
    refuse(split_setting(**lists), "'xyz'", "2 such names", "its cases are 'patient_00', 'pa")


def test_a_case_that_no_list_names_is_refused_or_skipped():
    lists = LISTS | {"test": CASES[9:]}
    refuse(split_setting(**lists), "does not name 1 of 10 cases, 'patient_08'", "unlisted: skip")
    split_of = assign_splits("kidney", CASES, split_setting(**lists, unlisted="skip"), 0)
    assert parts_of(split_of) == lists


# Folds


@given(
    st.integers(3, 60),
    st.integers(2, 20),
    st.floats(0.05, 0.95),
    st.integers(0, 2**53),
)
@examples(max_examples=60, deadline=None)
def test_each_case_is_tested_once_and_never_chosen_on(count, folds, validation, seed):
    cases = [f"p{number}" for number in range(count)]
    split = split_setting(folds=folds, validation=validation)
    if folds > count or count - -(-count // folds) < 2:
        with pytest.raises(InputError, match="cases"):
            assign_folds("kidney", cases, split, seed)
        return
    found = assign_folds("kidney", cases, split, seed)
    assert list(found) == list(range(folds))
    tested = [case for split_of in found.values() for case in parts_of(split_of)["test"]]
    assert sorted(tested) == sorted(cases)
    for split_of in found.values():
        assert list(split_of) == cases
        sizes = {split: len(names) for split, names in parts_of(split_of).items()}
        assert min(sizes.values()) >= 1
        assert sizes["test"] in (count // folds, -(-count // folds))
        others = sizes["train"] + sizes["validation"]
        assert abs(sizes["validation"] - validation * others) <= 1


def test_a_fold_is_the_same_alone_and_among_all():
    split, alone = split_setting(folds=5), split_setting(folds=5, fold=3)
    found = assign_folds("kidney", CASES, split, 7)
    assert assign_splits("kidney", CASES, alone, 7) == found[3]
    assert assign_splits("kidney@fold3", CASES, alone, 7) == found[3]
    assert len({frozenset(parts_of(split_of)["validation"]) for split_of in found.values()}) > 1
    assert assign_folds("kidney", CASES, split, 8) != found
    assert assign_folds("liver", CASES, split, 7) != found


def test_too_few_cases_for_the_folds():
    refuse(split_setting(folds=11, fold=0), "`split.folds` is 11, but there are 10 cases")
    refuse(split_setting(folds=2, fold=0), "fold 0: there are 1 cases besides", cases=CASES[:3])


def test_a_file_for_all_folds_is_not_made():
    refuse(split_setting(folds=2), "has 2 folds", "kidney@fold0, kidney@fold1")


def test_nnunet_tests_its_val_and_validates_on_a_share_of_its_train(splits_file):
    path = splits_file(nnunet([(0, 1), (2, 3), (4, 5), (6, 7), (8, 9)]))
    split = split_setting(file=path, folds=5, validation=0.25)
    found = assign_folds("kidney", CASES, split, 0)
    for fold, split_of in found.items():
        parts = parts_of(split_of)
        assert parts["test"] == CASES[2 * fold : 2 * fold + 2]
        assert (len(parts["train"]), len(parts["validation"])) == (6, 2)
    one = assign_splits("kidney", CASES, split_setting(file=path, fold=2, validation=0.25), 0)
    assert one == found[2]


def test_a_file_of_other_folds_than_the_config_says(splits_file):
    path = splits_file(nnunet([(0, 1, 2, 3, 4), (5, 6, 7, 8, 9)]))
    refuse(split_setting(file=path, folds=5, fold=0), path, "has 2 folds", "is 5")
    refuse(split_setting(file=path, fold=2), path, "folds 0 to 1", "is 2")


def test_folds_that_do_not_test_each_case_once(splits_file):
    path = splits_file(nnunet([(0, 1, 2, 3, 4), (4, 5, 6, 7, 8)]))
    split = split_setting(file=path, folds=2, fold=0)
    refuse(split, path, "'patient_04' is in that of 2 (2 such cases)", "`fold`")
    # One of them alone is as good as any.
    assign_splits("kidney", CASES, split_setting(file=path, fold=1), 0)


def test_folds_of_different_cases(splits_file):
    folds = nnunet([(0, 1, 2, 3, 4), (5, 6, 7, 8, 9)])
    folds[1]["train"].remove("patient_02")
    path = splits_file(folds)
    refuse(split_setting(file=path, folds=2, fold=0), "fold 1 does not name 1 of 10 cases")
    split = split_setting(file=path, folds=2, fold=0, unlisted="skip")
    refuse(split, "fold 0 and fold 1 are not of the same cases", "'patient_02'")


def test_a_case_that_a_fold_trains_on_and_tests(splits_file):
    folds = nnunet([(0, 1), (2, 3)])
    folds[0]["train"].append("patient_01")
    split = split_setting(file=splits_file(folds), fold=0)
    refuse(split, "fold 0 names 'patient_01' 2 times, in train and test")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "cannot be read as JSON"),
        ("[" * 100_000, "cannot be read as JSON"),
        ("{}", "holds no list of folds"),
        ("[]", "holds no list of folds"),
        ('[{"train": ["a"]}]', "fold 0 has no list of names under 'val'"),
        ('[{"train": ["a"], "val": ["b"]}, {"train": [1], "val": ["b"]}]', "fold 1 has no list"),
        ('[{"train": [], "val": ["b"]}]', "fold 0 has no list of names under 'train'"),
        ("[7]", "fold 0 has no list"),
    ],
)
def test_a_file_that_is_no_list_of_folds(splits_file, content, words):
    path = splits_file(content)
    with pytest.raises(InputError) as error:
        assign_splits("kidney", CASES, split_setting(file=path, fold=0), 0)
    assert path in str(error.value) and words in str(error.value)


def test_a_file_that_is_missing(tmp_path):
    with pytest.raises(InputError, match=r"there is no file of splits.*`split.file`"):
        assign_splits("kidney", CASES, split_setting(file=str(tmp_path / "x"), fold=0), 0)


# Shares


def test_shares_are_as_they_always_were():
    """The split of the studies that exist: another one would make them other studies."""
    shares = split_setting(train=0.6, validation=0.2, test=0.2)
    found = " ".join(assign_splits("phantom", CASES, shares, 3).values())
    assert found == ("test train validation test train train train train train validation")


@given(
    st.integers(3, 60),
    st.integers(1, 98),
    st.integers(0, 2**63 - 1),
)
@examples(max_examples=40, deadline=None)
def test_every_split_gets_its_share(count, validation, seed):
    test = (99 - validation) / 200
    fractions = {"train": 1 - validation / 100 - test, "validation": validation / 100, "test": test}
    split_of = split_cases("x", [f"p{index}" for index in range(count)], fractions, seed)
    assert len(split_of) == count
    for split, share in fractions.items():
        found = list(split_of.values()).count(split)
        assert found >= 1
        # Largest remainder is never a case away; giving a case to an empty split may take two.
        assert abs(found - share * count) < 3


@pytest.mark.parametrize(
    ("count", "expected"), [(3, [1, 1, 1]), (4, [2, 1, 1]), (40, [24, 8, 8]), (89, [53, 18, 18])]
)
def test_counts_by_hand(count, expected):
    fractions = {"train": 0.6, "validation": 0.2, "test": 0.2}
    split_of = split_cases("x", list(range(count)), fractions, 0)
    assert [list(split_of.values()).count(split) for split in SPLITS] == expected
