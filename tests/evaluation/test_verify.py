"""Two makings of one run: which difference is found first, and how it is told."""

import math

import pytest
import torch

from labelnoise.errors import InputError
from labelnoise.evaluation.verify import (
    Comparison,
    compare_tables,
    compare_weights,
    describe_comparisons,
)
from labelnoise.networks import make_network
from labelnoise.training.checkpoints import save
from tiny import MODEL

HISTORY = "epoch,train_loss,dice\n1,0.5,0.25\n2,0.25,0.5\n3,0.125,0.5\n"


def difference(folder, first, second, name="history.csv"):
    paths = [folder / which / name for which in ("first", "second")]
    for path, text in zip(paths, (first, second), strict=True):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(text.encode())
    return compare_tables(*paths).difference


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (HISTORY, None),
        (
            HISTORY.replace("0.25,0.5\n", "0.25,0.6\n").replace("0.125", "0.12"),
            "row 2 (epoch 2): dice 0.5 recorded, 0.6 again; rows that differ: 2 of 3",
        ),
        (HISTORY[:-12], "3 rows recorded, 2 again"),
        (HISTORY.replace("0.125,0.5", "0.125"), "row 3 (epoch 3): 3 cells recorded, 2 again"),
        (
            HISTORY.replace("dice", "loss"),
            "columns: epoch,train_loss,dice recorded, epoch,train_loss,loss again",
        ),
        (HISTORY.replace("\n", "\r\n"), "no part of a cell"),
    ],
)
def test_the_first_cell_that_differs_is_named(tmp_path, changed, said):
    found = difference(tmp_path, HISTORY, changed)
    assert found is None if said is None else said in found


def test_a_row_of_counts_is_named_by_its_slice(tmp_path):
    counts = "rank,epoch,case,slice,class_index,structure,tp\n1,3,a,7,1,liver,12\n"
    found = difference(tmp_path, counts, counts.replace("12", "13"), "test.csv")
    name = "row 1 (rank 1, epoch 3, case a, slice 7, structure liver)"
    assert found.startswith(f"{name}: tp 12 recorded, 13 again")


def test_a_record_without_its_table_is_refused(tmp_path):
    (tmp_path / "again.csv").write_text(HISTORY)
    with pytest.raises(InputError, match=r"history.csv cannot be read .*nothing is left"):
        compare_tables(tmp_path / "history.csv", tmp_path / "again.csv")


@pytest.fixture
def checkpoints(tmp_path):
    """Return a function that writes one network twice, changed in between; the two paths."""

    def write(change=None, epoch=4):
        network = make_network(MODEL, classes=2)
        description = {"model": MODEL, "class_names": ["background", "disc"]}
        paths = [tmp_path / which / "checkpoints" / "top1.pt" for which in ("first", "second")]
        save(paths[0], network, {**description, "epoch": 4})
        with torch.no_grad():
            (change or (lambda state: None))(network.state_dict())
        save(paths[1], network, {**description, "epoch": epoch, "note": "not compared"})
        return paths

    return write


def first_weight(state):
    return next(tensor for tensor in state.values() if tensor.ndim == 4)


def test_weights_are_equal_by_their_bits(checkpoints):
    assert compare_weights(*checkpoints()).difference is None
    nan = compare_weights(*checkpoints(lambda state: first_weight(state).fill_(math.nan)))
    assert "nan again; tensors that differ: 1 of" in nan.difference
    one = checkpoints(lambda state: first_weight(state)[1, 0, 0, 2].mul_(1 + 2**-20))
    assert "[1, 0, 0, 2] " in compare_weights(*one).difference


def test_nan_equals_nan_and_no_zero_equals_its_negative(checkpoints):
    def set_first(value):
        def change(state):
            first_weight(state)[0, 0, 0, 0] = value

        return change

    paths = [checkpoints(set_first(value))[1].read_bytes() for value in (0.0, -0.0)]
    assert paths[0] != paths[1]
    first, second = checkpoints()
    for content, equal in ((paths[0], paths[0]), (paths[0], paths[1])):
        first.write_bytes(content)
        second.write_bytes(equal)
        assert (compare_weights(first, second).difference is None) == (content == equal)


def test_a_checkpoint_of_another_epoch_or_none_differs(checkpoints):
    first, second = checkpoints(epoch=5)
    assert compare_weights(first, second).difference == "epoch 4 recorded, 5 again"
    second.unlink()
    assert compare_weights(first, second).difference == "not kept again"
    assert compare_weights(second, first).difference == "not kept in the record"


def test_what_may_explain_a_difference_is_told():
    record = {"gpu": None, "interruptions": []}
    history, counts = Comparison("history.csv", "3 rows"), Comparison("test.csv", "9 rows", "row 1")
    told = describe_comparisons([history, counts], record)
    assert told.splitlines()[:2] == ["equal    history.csv  3 rows", "differs  test.csv     row 1"]
    assert "Only the test differs" in told
    lost = Comparison("history.csv", "3 rows", "row 2")
    told = describe_comparisons([lost, counts], {"gpu": {"name": "x"}, "interruptions": [{}]})
    assert "Only the test" not in told
    assert "not deterministic" in told and "in 2 sittings" in told
    assert describe_comparisons([history], record) == "equal    history.csv  3 rows"
