"""The MNI152 source: real MRI offline, slabs with gaps, and the word that it is one brain."""

import itertools
import socket

import numpy as np
import pytest
from nilearn.datasets import load_mni152_template

from labelnoise.data.prepare import prepare_dataset
from labelnoise.data.sources import mni152
from labelnoise.data.storage import SPLITS, Dataset
from settings import dataset_settings

FRACTIONS = {"train": 0.6, "validation": 0.2, "test": 0.2}
SETTINGS = dataset_settings(source="mni152", size=48)


@pytest.fixture(scope="module")
def brain(tmp_path_factory):
    path = tmp_path_factory.mktemp("mni152") / "mni152.h5"
    prepare_dataset("mni152", SETTINGS, 0, path)
    return Dataset(path)


def test_no_network_is_touched(monkeypatch, tmp_path):
    def refuse(*args, **kwargs):
        raise AssertionError("the network was touched")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setenv("HOME", str(tmp_path))
    mni152._volumes.cache_clear()
    images, *_ = mni152.cases(SETTINGS, 0)[7].read()
    assert images.shape == (5, 233, 197)
    assert not list(tmp_path.iterdir())


def test_slabs_of_two_splits_are_several_slices_apart():
    slices = {
        split: np.concatenate([c.read()[2] for c in mni152.cases(SETTINGS, 0) if c.split == split])
        for split in SPLITS
    }
    for first, second in itertools.combinations(SPLITS, 2):
        apart = np.abs(slices[first][:, None] - slices[second][None])
        # At least four slices lie between any two of different splits.
        assert apart.min() >= 5


def test_every_split_sees_low_middle_and_high_slices(brain):
    thirds = np.linspace(brain.slice.min(), brain.slice.max() + 1, 4)
    for split, share in FRACTIONS.items():
        counts, _ = np.histogram(brain.slice[brain.rows(split)], thirds)
        assert len(set(counts)) == 1 and counts.sum() == share * len(brain)


def test_every_slab_holds_white_matter(brain):
    assert len(brain) == 75 and len(set(brain.case)) == 15
    assert sorted(set(brain.case))[0] == "slab-00"
    assert brain.class_names == ["background", "white_matter"]
    assert 0.05 < brain.foreground_fraction[1] < 0.12


def test_spacing_is_the_templates_and_follows_the_size(brain):
    affine = load_mni152_template(resolution=1).affine
    *_, spacing = mni152.cases(SETTINGS, 0)[0].read()
    np.testing.assert_array_equal(spacing, np.linalg.norm(affine[:3, :3], axis=0))
    # Slices of 233 x 197 pixels, padded to squares, at 48.
    expected = np.array([1, 233 / 48, 233 / 48], np.float32)
    np.testing.assert_array_equal(brain.spacing, [expected] * len(brain))


def test_white_matter_is_brighter_than_the_rest_of_the_brain(brain):
    images, labels = brain.read(brain.rows("test"))
    images = images[:, 0]
    white, rest = images[labels == 1], images[(labels == 0) & (images > -1)]
    assert np.median(white) > np.median(rest) + 0.2
    # The window neither clips white matter nor leaves the range unused.
    assert np.mean(white == 1) == 0 and np.median(white) > 0.5


def test_front_is_up():
    images, *_ = mni152.cases(SETTINGS, 0)[6].read()
    brain = images[0] > 0
    rows, columns = np.nonzero(brain)
    # The brain is widest behind its middle, so more of it lies in the lower half of its box.
    middle = (rows.min() + rows.max()) / 2
    assert (rows > middle).sum() > (rows < middle).sum()
    assert np.ptp(rows) > np.ptp(columns)


def test_provenance_says_one_averaged_brain(brain):
    assert "one averaged brain" in brain.provenance["warning"]
    assert "nothing about patients" in brain.provenance["warning"]
    assert "McConnell" in brain.provenance["licence"] and brain.provenance["version"]
