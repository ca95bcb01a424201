"""Schedules against their formulas; a resumed one goes on, a finished one is not lengthened."""

import math

import pytest
import torch

from labelnoise.training.schedule import make_schedule
from tiny import make_recipe


def rates(epochs=10, **schedule):
    """The learning rate of each epoch, and that after a state was put back after each."""
    recipe = make_recipe(schedule=schedule, epochs=epochs, keep=1, learning_rate=0.5)
    found, resumed, state = [], [], None
    for _ in range(epochs):
        again = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=recipe.learning_rate)
        following = make_schedule(again, recipe)
        if state:
            again.load_state_dict(state[0])
            following.load_state_dict(state[1])
        else:
            optimiser, steps = again, following
        resumed.append(again.param_groups[0]["lr"])
        found.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        steps.step()
        state = optimiser.state_dict(), steps.state_dict()
    assert resumed == found
    return [rate / 0.5 for rate in found]


def test_poly_is_nnunets():
    assert rates(kind="poly") == pytest.approx([(1 - e / 10) ** 0.9 for e in range(10)])
    assert rates(kind="poly", power=2) == pytest.approx([(1 - e / 10) ** 2 for e in range(10)])


def test_cosine_falls_to_its_lowest():
    wave = [(1 + math.cos(math.pi * e / 10)) / 2 for e in range(10)]
    assert rates(kind="cosine") == pytest.approx(wave)
    assert rates(kind="cosine", lowest=0.2) == pytest.approx([0.2 + 0.8 * w for w in wave])


def test_steps_multiply():
    assert rates(kind="step", every=4) == pytest.approx([1] * 4 + [0.1] * 4 + [0.01] * 2)
    assert rates(3, kind="step", every=1, factor=0.5) == pytest.approx([1, 0.5, 0.25])


@pytest.mark.parametrize("kind", ["poly", "cosine", "step"])
def test_warmup_rises_in_equal_steps_and_the_rest_is_the_schedule_of_the_other_epochs(kind):
    settings = {"kind": kind, **({"every": 3} if kind == "step" else {})}
    found = rates(10, **settings, warmup=3)
    assert found[:4] == pytest.approx([0.25, 0.5, 0.75, 1])
    assert found[3:] == pytest.approx(rates(7, **settings))


def test_no_schedule_is_none():
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.5)
    assert make_schedule(optimiser, make_recipe()) is None
    assert "initial_lr" not in optimiser.param_groups[0]
