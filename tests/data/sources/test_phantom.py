"""The phantom: exact labels, the paper's foreground fractions, one anatomy at every size."""

import itertools

import numpy as np
import pytest

from labelnoise.data.prepare import prepare_dataset
from labelnoise.data.resize import fit_grid, resize_images
from labelnoise.data.sources import phantom
from labelnoise.data.sources.phantom import Anatomy, render_case
from labelnoise.data.sources.shapes import Chain, Ellipse, Grid, Outline, bean
from labelnoise.data.storage import Dataset
from settings import dataset_settings

SETTINGS = dataset_settings(source="phantom", cases=5, slices=3, size=32)
TARGETS = ("liver", "pancreas")


def anatomy(seed=0, case=0):
    return Anatomy(np.random.default_rng([seed, case, 0]))


def pixels_area(shape, size=2048):
    """Area of a shape in units of the half slice, by counting pixel centres."""
    return Grid(size).inside(shape).sum() * (2 / size) ** 2


# Shapes: areas against formulas that know nothing of pixels.


def test_area_of_an_ellipse():
    shape = Ellipse(0.1, -0.2, 0.4, 0.15, 0.7)
    assert pixels_area(shape) == pytest.approx(np.pi * 0.4 * 0.15, rel=1e-3)


def test_area_of_a_chain():
    # A straight chain of equal balls is a rectangle with two half discs.
    along = np.linspace(-0.5, 0.5, 100)
    shape = Chain(0.6 * along, 0.8 * along, np.full(100, 0.1))
    assert pixels_area(shape, 1024) == pytest.approx(1.0 * 0.2 + np.pi * 0.1**2, rel=1e-3)


@pytest.mark.parametrize("case", range(3))
@pytest.mark.parametrize("z", [-0.2, 0.0, 0.2])
def test_liver_label_has_the_area_of_its_outline(case, z):
    shape = anatomy(case=case).liver(z)
    x, y = shape.points()
    shoelace = 0.5 * abs(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1)))
    assert pixels_area(shape) == pytest.approx(shoelace, rel=2e-3)


@pytest.mark.parametrize("case", range(3))
def test_pancreas_label_has_the_area_of_its_balls(case):
    shape = anatomy(case=case).pancreas(0.02)
    # Points thrown at random, and every ball asked by itself.
    rng = np.random.default_rng(case)
    low_x, high_x, low_y, high_y = shape.bounds()
    x, y = rng.uniform(low_x, high_x, 100_000), rng.uniform(low_y, high_y, 100_000)
    hit = np.zeros(len(x), bool)
    for ball in zip(shape.x_K, shape.y_K, shape.radius_K, strict=True):
        hit |= (x - ball[0]) ** 2 + (y - ball[1]) ** 2 < ball[2] ** 2
    expected = hit.mean() * (high_x - low_x) * (high_y - low_y)
    assert pixels_area(shape) == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize("target", TARGETS)
def test_labels_ask_the_shape_at_pixel_centres(target):
    size, z = 64, 0.02
    body = anatomy()
    _, labels = phantom.render_slice(body, target, z, size, np.random.default_rng(0))
    centres = (np.arange(size) + 0.5) / size * 2 - 1
    x, y = np.meshgrid(centres, centres)
    np.testing.assert_array_equal(labels, body.target(target, z).distance(x, y) < 0)
    assert labels.any()


@pytest.mark.parametrize(
    "shape",
    [
        Ellipse(0.1, 0.2, 0.3, 0.1, 1.0),
        bean(0.0, 0.1, 0.3, 0.2, 0.5, 0.3),
        Outline(0.0, 0.0, 0.3 + 0.05 * np.cos(3 * phantom.ANGLE_T)),
        Chain(np.array([0.0, 0.1]), np.array([0.1, 0.1]), np.array([0.1, 0.15])),
    ],
)
def test_painting_covers_the_area_at_every_size(shape):
    # Partial volume: the sum over pixels is the area, however few pixels there are.
    areas = []
    for size in (48, 512):
        image = np.zeros((size, size))
        Grid(size).paint(image, shape, 1.0)
        assert image.min() == 0 and image.max() == 1
        areas.append(image.sum() * (2 / size) ** 2)
    assert areas == pytest.approx([pixels_area(shape)] * 2, rel=0.02)


# What the study needs


@pytest.mark.parametrize(("target", "expected"), [("liver", 0.0716), ("pancreas", 0.0050)])
def test_foreground_fraction_is_near_the_papers(target, expected):
    shares = np.array([render_case(1, case, target, 6, 64)[1].mean((1, 2)) for case in range(40)])
    assert shares.mean() == pytest.approx(expected, rel=0.15)
    # Cases differ, and no slice is without its target.
    assert shares.mean(axis=1).std() > 0.1 * expected
    assert shares.min() > 0


@pytest.mark.parametrize("target", TARGETS)
def test_slices_change_smoothly(target):
    _, labels, numbers = render_case(3, 0, target, 8, 128)
    assert numbers.tolist() == list(range(8))
    areas = labels.sum((1, 2)).astype(float)
    assert np.ptp(areas) > 0.1 * areas.mean()
    for before, after in itertools.pairwise(labels):
        dice = 2 * (before & after).sum() / (before.sum() + after.sum())
        assert dice > (0.9 if target == "liver" else 0.4)


def test_case_depends_on_seed_and_index_alone():
    few = phantom.cases(SETTINGS, seed=11)
    many = phantom.cases(SETTINGS | {"cases": 8}, seed=11)
    assert [case.name for case in many[:5]] == [case.name for case in few]
    for ours, theirs in zip(few, many, strict=False):
        for mine, other in zip(ours.read(), theirs.read(), strict=True):
            np.testing.assert_array_equal(mine, other)
    first, second = few[0].read()[0], few[1].read()[0]
    assert not np.array_equal(first, second)
    assert not np.array_equal(first, phantom.cases(SETTINGS, seed=12)[0].read()[0])


@pytest.mark.parametrize("target", TARGETS)
def test_same_anatomy_at_every_size(target):
    fine, fine_labels, _ = render_case(5, 1, target, 2, 256)
    coarse, coarse_labels, _ = render_case(5, 1, target, 2, 64)
    shrunk = resize_images(np.clip(fine, -150, 250), fit_grid(fine.shape[1:], size=64))
    # Noise and the few mixed pixels at bone and gas are what differs.
    difference = np.abs(shrunk - np.clip(coarse, -150, 250))
    assert np.median(difference) < 15 and np.mean(difference > 60) < 0.03
    assert fine_labels.mean() == pytest.approx(coarse_labels.mean(), rel=0.1)


@pytest.mark.parametrize("size", [32, 65, 512])
def test_sizes(size):
    images, labels, _ = render_case(0, 0, "liver", 1, size)
    assert images.shape == labels.shape == (1, size, size)
    assert images.dtype == np.float32 and labels.dtype == np.uint8
    assert np.isfinite(images).all() and set(np.unique(labels)) == {0, 1}


def test_values_are_those_of_tissues():
    images, labels, _ = render_case(0, 2, "liver", 6, 128)
    assert np.median(images[labels == 1]) == pytest.approx(60, abs=14)
    assert np.median(images[:, :4]) == pytest.approx(-1000, abs=10)
    assert images.max() > 250
    # Fat is the commonest tissue outside the target.
    outside = images[(labels == 0) & (images > -200)]
    assert np.mean(np.abs(outside + 100) < 40) > 0.15


@pytest.mark.parametrize("target", TARGETS)
def test_target_lies_under_the_skin_and_its_fat(target):
    for case in range(12):
        body = anatomy(2, case)
        under_fat = body.skin(body.fat)
        for z in body.heights(target, 4):
            _, labels = phantom.render_slice(body, target, z, 64, np.random.default_rng(0))
            rows, columns = np.nonzero(labels)
            x, y = (columns + 0.5) / 32 - 1, (rows + 0.5) / 32 - 1
            assert (under_fat.distance(x, y) < 0).all(), (case, z)


def test_noise_is_correlated_between_neighbours():
    # Two draws of one anatomy differ by noise alone.
    first, second = (
        phantom.render_slice(anatomy(), "liver", 0.0, 128, np.random.default_rng(seed))[0]
        for seed in (1, 2)
    )
    noise = (first - second)[np.minimum(first, second) > -900]
    assert 8 < noise.std() / np.sqrt(2) < 22
    rows = (first - second)[50:70, 40:90]
    correlation = np.corrcoef(rows[:, 1:].ravel(), rows[:, :-1].ravel())[0, 1]
    assert 0.3 < correlation < 0.9


@pytest.mark.parametrize("target", TARGETS)
def test_dataset(tmp_path, target):
    paths = tmp_path / "one.h5", tmp_path / "two.h5"
    for path, workers in zip(paths, (1, 3), strict=True):
        prepare_dataset("phantom", SETTINGS | {"target": target}, 3, path, workers)
    assert paths[0].read_bytes() == paths[1].read_bytes()
    dataset = Dataset(paths[0])
    assert len(dataset) == 15 and dataset.shape == (32, 32)
    assert dataset.class_names == ["background", target]
    assert "no data of others" in dataset.provenance["licence"]
