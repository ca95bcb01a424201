"""Augmentation: what each change does, by hand and by other libraries; who is changed, and when."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from labelnoise.training.augmentation import CHANGES, Augmentation
from tiny import make_recipe


def settings(**changes):
    """Complete changes by the schema, each made of every slice unless it says otherwise."""
    always = {name: {"probability": 1, **given} for name, given in changes.items()}
    return make_recipe(augmentation=always).augmentation


def scene(height=32, width=32, seed=0):
    """A smooth image in [-1, 1], dark at its border, and the labels of its brighter parts."""
    noise_HW = np.random.default_rng(seed).normal(size=(height, width))
    smooth_HW = ndimage.gaussian_filter(noise_HW, 2)
    smooth_HW = np.clip(smooth_HW / np.abs(smooth_HW).max(), -1, 1)
    smooth_HW[[0, -1]] = smooth_HW[:, [0, -1]] = -1
    label_HW = np.digitize(smooth_HW, [0.1, 0.4])
    return torch.from_numpy(smooth_HW.astype(np.float32))[None], torch.from_numpy(label_HW)


def augmented(pair, sample=0, seed=0, **changes):
    image_1HW, label_HW = pair
    augmentation = Augmentation(settings(**changes), seed)
    images, labels = augmentation.augment(image_1HW[None], label_HW[None], [sample])
    assert images.dtype == torch.float32 and labels.dtype == torch.int64
    assert images.shape[1:] == image_1HW.shape and labels.shape[1:] == label_HW.shape
    assert images.min() >= -1 and images.max() <= 1
    return images[0, 0].numpy(), labels[0].numpy()


def test_flips_are_exact():
    pair = scene(24, 32)
    for changes, axes in (
        ({"flip_horizontal": {}}, 1),
        ({"flip_vertical": {}}, 0),
        ({"flip_horizontal": {}, "flip_vertical": {}}, (0, 1)),
    ):
        image_HW, label_HW = augmented(pair, **changes)
        np.testing.assert_array_equal(image_HW, np.flip(pair[0][0].numpy(), axes))
        np.testing.assert_array_equal(label_HW, np.flip(pair[1].numpy(), axes))


@pytest.mark.parametrize(("degrees", "turns"), [(90, 1), (180, 2), (-90, 3)])
def test_a_quarter_turn_is_exact_and_counter_clockwise(degrees, turns):
    pair = scene()
    image_HW, label_HW = augmented(pair, rotation={"degrees": [degrees, degrees]})
    np.testing.assert_allclose(image_HW, np.rot90(pair[0][0].numpy(), turns), atol=1e-5)
    np.testing.assert_array_equal(label_HW, np.rot90(pair[1].numpy(), turns))


def test_rotation_keeps_pixels_square_and_agrees_with_scipy():
    """Also on a slice that is not square; the outermost pixels differ in what lies beyond them."""
    pair = scene(40, 64)
    image_HW, label_HW = augmented(pair, rotation={"degrees": [20, 20]})
    expected_HW = ndimage.rotate(pair[0][0].numpy(), 20, reshape=False, order=1, cval=-1)
    inner = np.s_[6:-6, 6:-6]
    np.testing.assert_allclose(image_HW[inner], expected_HW[inner], atol=0.02)
    expected_HW = ndimage.rotate(pair[1].numpy(), 20, reshape=False, order=0, cval=0)
    assert (label_HW[inner] == expected_HW[inner]).mean() > 0.99


def test_a_factor_of_two_doubles_lengths_about_the_centre():
    image_1HW, label_HW = torch.full((1, 32, 32), -1.0), torch.zeros((32, 32), dtype=torch.int64)
    image_1HW[:, 12:20, 14:18], label_HW[12:20, 14:18] = 1.0, 3
    for factor, expected in ((2, (16, 8)), (0.5, (4, 2))):
        found = augmented((image_1HW, label_HW), scaling={"factor": [factor, factor]})[1]
        rows, columns = np.nonzero(found)
        assert set(np.unique(found)) == {0, 3}
        assert (np.ptp(rows) + 1, np.ptp(columns) + 1) == expected
        assert (rows.mean(), columns.mean()) == (15.5, 15.5)


def test_what_comes_in_from_outside_is_the_low_end_and_background():
    pair = torch.full((1, 32, 32), 0.5), torch.ones((32, 32), dtype=torch.int64)
    image_HW, label_HW = augmented(pair, scaling={"factor": [0.5, 0.5]})
    assert (image_HW[:7] == -1).all() and (label_HW[:7] == 0).all()
    np.testing.assert_allclose(image_HW[10:22, 10:22], 0.5, atol=1e-6)


def test_an_elastic_change_moves_image_and_label_together_by_its_size():
    """Labels of the moved image are the moved labels, but where interpolation decides."""
    pair = scene(64, 64)
    for sample in range(5):
        changes = {"elastic": {"displacement": [0.03, 0.03]}}
        image_HW, label_HW = augmented(pair, sample, **changes)
        assert (label_HW != pair[1].numpy()).mean() > 0.02
        assert (np.digitize(image_HW, [0.1, 0.4]) == label_HW).mean() > 0.93
    # A ramp shows the displacement itself, which at the corners is a draw of N(0, sd).
    ramp_1HW = torch.linspace(-0.5, 0.5, 100).expand(1, 100, 100).contiguous()
    moved = []
    for sample in range(300):
        image_HW, _ = augmented((ramp_1HW, pair[1].new_zeros(100, 100)), sample, **changes)
        moved.append((image_HW[50, 50] - ramp_1HW[0, 50, 50].item()) * 99)
    assert np.std(moved) == pytest.approx(3, rel=0.15)


def test_noise_has_its_standard_deviation_and_leaves_labels():
    pair = torch.zeros((1, 64, 64)), scene(64, 64)[1]
    image_HW, label_HW = augmented(pair, noise={"sd": [0.1, 0.1]})
    assert image_HW.std() == pytest.approx(0.1, rel=0.05) and abs(image_HW.mean()) < 0.01
    np.testing.assert_array_equal(label_HW, pair[1])


@pytest.mark.parametrize("size", [2, 5, 64])
def test_blur_is_a_gaussian_also_on_tiny_slices(size):
    pair = (
        scene(64, 64) if size == 64 else (torch.rand(1, size, size), torch.ones(size, size).long())
    )
    image_HW, _ = augmented(pair, blur={"sigma": [2, 2]})
    expected_HW = ndimage.gaussian_filter(pair[0][0].numpy(), 2, mode="mirror", truncate=3)
    if size == 64:
        np.testing.assert_allclose(image_HW, expected_HW, atol=1e-5)


def test_grey_values_change_as_written():
    """At -1, 0 and 1, that is 0, 0.5 and 1 of the window; their mean is 0.5."""
    pair = torch.tensor([[[-1.0, 0.0, 1.0]]]), torch.zeros((1, 3), dtype=torch.int64)
    for changes, expected in (
        ({"brightness": {"factor": [0.5, 0.5]}}, [-1, -0.5, 0]),
        ({"brightness": {"factor": [1.5, 1.5]}}, [-1, 0.5, 1]),
        ({"contrast": {"factor": [0.5, 0.5]}}, [-0.5, 0, 0.5]),
        ({"gamma": {"exponent": [2, 2]}}, [-1, -0.5, 1]),
    ):
        image_HW, _ = augmented(pair, **changes)
        np.testing.assert_allclose(image_HW[0], expected, atol=1e-6)


def test_sizes_fill_their_range_and_the_probability_is_kept():
    image_1HW, label_HW = torch.full((1, 1, 1), 0.0), torch.zeros((1, 1), dtype=torch.int64)
    factors = settings(brightness={"factor": [0.2, 0.8], "probability": 0.3})
    augmentation = Augmentation(factors, 0)
    pairs = (augmentation.change(image_1HW, label_HW, sample) for sample in range(2000))
    greys = np.array([(image.item() + 1) / 2 for image, _ in pairs])
    changed = greys[greys != 0.5]
    assert len(changed) / len(greys) == pytest.approx(0.3, abs=0.04)
    assert 0.1 <= changed.min() < 0.11 and 0.39 < changed.max() <= 0.4
    assert changed.mean() == pytest.approx(0.25, abs=0.01)


def test_one_change_leaves_the_draws_of_the_others_as_they_are():
    pair = scene()
    shared = {"rotation": {}, "flip_vertical": {"probability": 0.5}}
    for sample in range(5):
        label_HW = augmented(pair, sample, **shared)[1]
        more = augmented(pair, sample, **shared, noise={}, blur={}, contrast={})[1]
        np.testing.assert_array_equal(label_HW, more)


def test_samples_and_seeds_differ_and_the_same_ones_do_not():
    pair = scene()
    turned = [augmented(pair, *which, rotation={})[0] for which in ((0, 0), (1, 0), (0, 1))]
    again = augmented(pair, 0, 0, rotation={})[0]
    np.testing.assert_array_equal(turned[0], again)
    assert all((turned[0] != other).any() for other in turned[1:])


def test_nothing_drawn_means_nothing_changed_and_no_generator_moves():
    pair = scene()
    torch.manual_seed(0)
    before = torch.get_rng_state()
    never = {name: {"probability": 0} for name in CHANGES}
    image_HW, label_HW = augmented(pair, **never)
    np.testing.assert_array_equal(image_HW, pair[0][0])
    np.testing.assert_array_equal(label_HW, pair[1])
    augmented(pair, **{name: {} for name in CHANGES})
    assert torch.equal(torch.get_rng_state(), before)


def test_the_schema_and_the_code_know_the_same_changes():
    assert {*settings(**{name: {} for name in CHANGES})} == {*CHANGES}


@pytest.mark.parametrize("channels", [2, 3, 5])
def test_channels_change_alike_and_each_about_its_own_mean(channels):
    image_1HW, label_HW = scene()
    images_KHW = torch.cat([image_1HW * (number + 1) / 10 for number in range(channels)])
    changes = settings(**{name: {} for name in CHANGES if name != "noise"})
    augmentation = Augmentation(changes, 0)
    for sample in range(3):
        found_KHW, found_HW = augmentation.change(images_KHW, label_HW, sample)
        assert found_KHW.shape == images_KHW.shape
        for place in range(channels):
            alone_1HW, alone_HW = augmentation.change(images_KHW[[place]], label_HW, sample)
            torch.testing.assert_close(found_KHW[[place]], alone_1HW)
            assert torch.equal(found_HW, alone_HW)


def test_every_channel_has_its_own_noise():
    augmentation = Augmentation(settings(noise={"sd": [0.1, 0.1]}), 0)
    flat_KHW, label_HW = torch.zeros(2, 32, 32), torch.zeros((32, 32), dtype=torch.int64)
    found_KHW, _ = augmentation.change(flat_KHW, label_HW, 0)
    assert abs(torch.corrcoef(found_KHW.flatten(1))[0, 1]) < 0.2
    assert found_KHW.std().item() == pytest.approx(0.1, rel=0.1)
