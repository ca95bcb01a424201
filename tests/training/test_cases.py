import logging
from itertools import pairwise

import pytest

import tiny
from labelnoise.data.storage import Dataset
from labelnoise.errors import InputError
from labelnoise.seeds import cases_seed
from labelnoise.training.run import training_rows


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return tiny.write_files(tmp_path_factory.mktemp("data"))


def cases_of(data, number, repeat=0):
    rows = training_rows(data, number, cases_seed(1, data.name, repeat))
    assert set(data.split[rows]) == {"train"}
    chosen = set(data.case[rows])
    # All slices of each case that is taken.
    assert set(rows) == {row for row in data.rows("train") if data.case[row] in chosen}
    return chosen


def test_fewer_cases_are_among_more_and_repeats_take_others(files):
    with Dataset(files["dataset"]) as data:
        chosen = [cases_of(data, number) for number in range(1, 6)]
        assert [len(each) for each in chosen] == [1, 2, 3, 4, 5]
        assert all(few < more for few, more in pairwise(chosen))
        assert cases_of(data, None) == chosen[-1]
        assert len({frozenset(cases_of(data, 2, repeat)) for repeat in range(20)}) > 5


def test_more_cases_than_there_are_is_a_sentence(files):
    with Dataset(files["dataset"]) as data, pytest.raises(InputError) as error:
        training_rows(data, 6, 0)
    assert str(error.value) == (
        "recipe key 'training_cases' is 6, but dataset 'discs' has 5 training cases; name at most "
        "as many."
    )


def test_a_training_sees_the_slices_of_its_cases_alone(files, tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        tiny.train(tmp_path / "few", files, {"training_cases": 2})
        tiny.train(tmp_path / "all", files)
    assert "4 training and 4 validation slices" in caplog.text
    assert "10 training and 4 validation slices" in caplog.text
    histories = [(tmp_path / name / "history.csv").read_bytes() for name in ("few", "all")]
    assert histories[0] != histories[1]
