"""Intensities as they are stored: each method by hand, and against plain NumPy."""

import numpy as np
import pytest

from labelnoise.data.intensity import Intensity, Scale, sample
from labelnoise.errors import InputError

RNG = np.random.default_rng(0)
MR = (RNG.gamma(2, 150, (6, 40, 50)) * (RNG.random((6, 40, 50)) > 0.3)).astype(np.int16)
CT = RNG.normal(40, 120, (6, 40, 50)).astype(np.float32)


def test_window_ends_map_to_minus_1_and_1():
    values = np.array([-2000, -128, -64, 0, 64, 128, 3000], np.int16)
    windowed = Intensity.of_window(-128, 128).fit(values).apply(values)
    np.testing.assert_array_equal(windowed, np.float32([-1, -1, -0.5, 0, 0.5, 1, 1]))
    assert windowed.dtype == np.float32


def test_percentiles_map_to_minus_1_and_1():
    scale = Intensity("percentile", "case", percentiles=(10, 90)).fit(np.arange(101))
    assert scale == Scale(10.0, 90.0)
    found = scale.apply([0, 10, 30, 50, 90, 100])
    np.testing.assert_allclose(found, [-1, -1, -0.5, 0, 1, 1], atol=1e-7)


def test_zscore_by_hand():
    # Mean 4, standard deviation 2; 5 deviations become 1.
    scale = Intensity("zscore", "case").fit(np.array([2, 6, 2, 6]))
    assert scale == Scale(mean=4.0, sd=2.0)
    np.testing.assert_allclose(scale.apply([4, 6, 14, 15, -100]), [0, 0.2, 1, 1, -1], rtol=1e-6)
    assert scale.ends == (-6.0, 14.0)


@pytest.mark.parametrize("over", ["all", "nonzero"])
@pytest.mark.parametrize("images", [MR, MR.astype(np.float32), CT], ids=["int16", "float", "CT"])
def test_zscore_of_a_case_is_numpys(images, over):
    scale = Intensity("zscore", "case", over).fit(images)
    chosen = images[images != 0] if over == "nonzero" else images
    exact = (images.astype(float) - chosen.mean(dtype=float)) / chosen.std(dtype=float)
    np.testing.assert_allclose(scale.apply(images), np.clip(exact / 5, -1, 1), atol=2e-6)


def test_a_view_of_a_volume_gives_the_same_and_is_not_changed():
    turned = MR.transpose(2, 1, 0)[::-1]
    before = turned.copy()
    for intensity in (
        Intensity("zscore", "case"),
        Intensity("percentile", "case", percentiles=(0.5, 99.5)),
    ):
        ours, theirs = intensity.fit(turned), intensity.fit(MR)
        assert ours.low == theirs.low and ours.high == theirs.high
        assert ours.mean == pytest.approx(theirs.mean, rel=1e-12) if ours.mean else True
    np.testing.assert_array_equal(turned, before)


def test_ct_as_nnunet_has_it():
    """Clip to percentiles of the training foreground, minus its mean, over its deviation."""
    labels = [(CT[part] > 20).astype(np.uint8) for part in (slice(0, 2), slice(2, 6))]
    rng = np.random.default_rng(1)
    samples = [
        sample(CT[part], label, "foreground", 10**6, rng)
        for part, label in zip((slice(0, 2), slice(2, 6)), labels, strict=True)
    ]
    intensity = Intensity("zscore", "dataset", "foreground", (0.5, 99.5))
    scale = intensity.fit_dataset(np.concatenate(samples)).fit(MR)
    foreground = CT[CT > 20]
    low, high = np.percentile(foreground, [0.5, 99.5])
    new = np.linspace(-1000, 1000, 999).astype(np.float32)
    exact = (np.clip(new, low, high) - foreground.mean(dtype=float)) / foreground.std(dtype=float)
    np.testing.assert_allclose(scale.apply(new) * 5, exact, atol=1e-4)


def test_a_sample_is_seeded_and_of_what_counts():
    labels = (MR > 100).astype(np.uint8)
    one, two = (sample(MR, labels, "foreground", 500, np.random.default_rng(3)) for _ in range(2))
    np.testing.assert_array_equal(one, two)
    assert len(one) == 500 and one.min() > 100 and one.dtype == np.float32
    assert len(sample(MR, labels, "all", 10**6, np.random.default_rng(3))) == MR.size
    assert (sample(MR, labels, "nonzero", 500, np.random.default_rng(3)) != 0).all()
    broken = np.array([[[1.0, np.nan, np.inf, 0.0]]])
    assert sample(broken, broken, "all", 9, np.random.default_rng(3)).tolist() == [1, 0]


@pytest.mark.parametrize(
    ("scale", "padding"),
    [
        (Scale(0.0, 100.0), -1),
        (Scale(-50.0, 100.0, mean=20.0, sd=10.0), -1),
        (Scale(0.0, 100.0, mean=20.0, sd=10.0), -0.4),
        (Scale(mean=20.0, sd=10.0), -0.6),
        (Scale(), -10),
    ],
    ids=["window", "zscore, low end beyond reach", "zscore, clipped", "zscore", "none"],
)
def test_padding_is_the_darkest_that_a_case_can_have(scale, padding):
    images = np.array([[[-10, 40, 200]]])
    assert scale.padding(images) == pytest.approx(padding)
    assert scale.apply(images).min() >= scale.padding(images) - 1e-6


@pytest.mark.parametrize(
    "scale",
    [Scale(-20.0, 60.0), Scale(mean=3.0, sd=50.0), Scale(-9.0, 50.0, 3.0, 20.0), Scale()],
)
def test_restored_values_are_those_of_the_source(scale):
    values = np.linspace(-9, 50, 20)
    np.testing.assert_allclose(scale.restore(scale.apply(values)), values, atol=1e-4)


@pytest.mark.parametrize(
    "intensity",
    [
        Intensity.of_window(0, 1),
        Intensity("percentile", "case", "nonzero", (1, 99)),
        Intensity("zscore", "dataset", "all", None, Scale(mean=1.0, sd=2.0)),
    ],
)
def test_an_intensity_survives_json(intensity):
    import json

    assert Intensity.of_dict(json.loads(json.dumps(intensity.as_dict()))) == intensity


def test_values_that_are_all_alike_are_refused():
    flat = np.full((2, 4, 4), 7)
    for intensity in (
        Intensity("zscore", "case"),
        Intensity("percentile", "case", percentiles=(0.5, 99.5)),
    ):
        with pytest.raises(InputError, match="nearly all 7, so they show nothing"):
            intensity.fit(flat)
    with pytest.raises(InputError, match="no value counts under"):
        Intensity("zscore", "case", "nonzero").fit(flat * 0)
