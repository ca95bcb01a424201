import numpy as np
import pytest

from labelnoise.labels.fields import random_field
from labelnoise.labels.volume import Draw, Volume

EMPTY = Volume(np.zeros((6, 150, 120), bool), (2.0, 0.5, 1.0))
ALL = (slice(0, 6), slice(0, 150), slice(0, 120))
LENGTHS = {"length": 4.0, "length_z": 3.0, "smoothness": 1.0}


def field(draw=0, wanted=range(6), box=ALL, volume=EMPTY, **lengths):
    lengths = LENGTHS | lengths
    return np.array([*random_field(volume, Draw(7, draw, 0, 0), wanted, box, **lengths)])


@pytest.fixture(scope="module")
def many():
    return np.array([field(draw) for draw in range(40)])


def test_the_field_is_standard_normal(many):
    assert abs(many.mean()) < 0.02 and abs(many.std() - 1) < 0.02
    assert abs((many**3).mean()) < 0.05 and abs((many**4).mean() - 3) < 0.1


@pytest.mark.parametrize(("rows", "columns"), [(2, 0), (8, 0), (0, 4), (0, 8), (6, 4), (30, 0)])
def test_correlation_in_the_plane_is_exponential_in_mm(many, rows, columns):
    there = many[..., rows:, columns:]
    here = many[..., : many.shape[-2] - rows, : many.shape[-1] - columns]
    wanted = np.exp(-np.hypot(0.5 * rows, columns) / 4)
    assert abs((here * there).mean() - wanted) < 0.02


@pytest.mark.parametrize("smoothness", [0.7, 1.5, 2.0])
def test_smoothness_is_the_power_of_the_distance(smoothness):
    fields = np.array([field(draw, smoothness=smoothness) for draw in range(20)])
    for columns in (1, 2, 4):
        wanted = np.exp(-((columns / 4) ** smoothness))
        found = (fields[..., columns:] * fields[..., :-columns]).mean()
        assert abs(found - wanted) < 0.03


@pytest.mark.parametrize("steps", [1, 2, 4])
def test_correlation_across_slices_is_exponential_in_mm(many, steps):
    assert abs((many[:, steps:] * many[:, :-steps]).mean() - np.exp(-2 * steps / 3)) < 0.035


def test_slices_are_independent_where_nothing_joins_them():
    one = Volume(np.zeros((1, 40, 40), bool), (np.nan, 1, 1))
    box = (slice(0, 1), slice(0, 40), slice(0, 40))
    apart = np.array([field(k, volume=EMPTY, length_z=0) for k in range(20)])
    assert abs((apart[:, 1:] * apart[:, :-1]).mean()) < 0.02
    assert field(wanted=[0], volume=one, box=box).shape == (1, 40, 40)


def test_any_slice_alone_has_the_same_bytes():
    together = field()
    for position in range(6):
        assert field(wanted=[position]).tobytes() == together[position].tobytes()
    assert (field(wanted=[4, 1, 1]) == together[[4, 1, 1]]).all()


def test_the_field_at_a_voxel_is_the_same_in_every_box():
    box = (slice(2, 3), slice(40, 77), slice(60, 120))
    np.testing.assert_allclose(field(box=box), field()[:, 40:77, 60:120], atol=1e-5)


def test_draws_differ():
    assert abs((field(0) * field(1)).mean()) < 0.1


@pytest.mark.parametrize("length", [1e-3, 0.3, 1000])
def test_any_length_works(length):
    values = np.array([field(k, wanted=[0], length=length) for k in range(30)])
    assert np.isfinite(values).all() and 0.5 < values.std() < 1.5
