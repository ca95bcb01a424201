"""Folds: names that no dataset of the config has, and a study that runs each of them."""

import pytest

from labelnoise.config import complete
from labelnoise.errors import InputError
from labelnoise.folds import base_of, fold_of
from labelnoise.sessions import new_session
from labelnoise.study import Run, Study
from settings import CONFIG


def folded(repeats=2, **split):
    """A config of one dataset with folds and one without."""
    datasets = {"kidney": {"source": "phantom", "split": split}, "plain": {"source": "phantom"}}
    matrix = CONFIG["matrix"] | {"dataset": ["kidney", "plain"], "repeats": repeats}
    return complete(CONFIG | {"datasets": datasets, "matrix": matrix})


def test_a_dataset_with_folds_is_trained_once_per_fold():
    study = Study.of(folded(folds=3))
    assert study.matrix["dataset"] == ("kidney", "plain")
    assert study.folds == ["kidney@fold0", "kidney@fold1", "kidney@fold2", "plain"]
    assert len(study.runs) == len(set(study.runs)) == 4 * 2
    assert study.runs[2] == Run("kidney@fold1", "x", "x", "x", 0)
    assert [study.datasets[name].get("split")["fold"] for name in study.folds[:3]] == [0, 1, 2]


def test_one_fold_alone_is_a_dataset_like_any_other():
    assert Study.of(folded(folds=3, fold=1)).folds == ["kidney", "plain"]
    assert Study.of(folded(file="splits.json", fold=1)).folds == ["kidney", "plain"]


def test_no_dataset_can_have_the_name_of_a_fold():
    assert (base_of("kidney@fold12"), fold_of("kidney@fold12")) == ("kidney", 12)
    assert (base_of("kidney.fold1"), fold_of("kidney.fold1")) == ("kidney.fold1", None)
    with pytest.raises(InputError, match="'kidney@fold1'"):
        complete(CONFIG | {"datasets": {"x": {"source": "phantom"}, "kidney@fold1": {}}})


def test_the_runs_of_all_folds_count():
    with pytest.raises(InputError, match=r"asks for 1001000 runs.*folds"):
        folded(folds=1000, repeats=1000)


def test_a_session_by_hand_is_of_one_fold():
    with pytest.raises(InputError, match=r"'kidney' has 3 folds.*'fold'"):
        new_session(folded(folds=3), "mine", Run("kidney", "x", "x", "x", 0), {})
