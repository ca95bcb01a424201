"""Repeats that train together take the steps of those that train apart, or rates say nothing."""

import pytest
import torch

import together
from training import Trial

REPEATS, SIZE = 3, 32


@pytest.fixture(scope="module")
def trial(tmp_path_factory):
    return Trial(tmp_path_factory.mktemp("together"), SIZE, batch_size=4)


@pytest.mark.parametrize("way", together.WAYS)
def test_repeats_together_lose_what_each_loses_alone(trial, way):
    """In three steps: the second and third are right only if gradients and updates were."""
    # Of 64 bits: Adam's first steps go by signs, and carry the last of 32 into the losses.
    networks = [network.double() for network in together.make_networks(REPEATS)]
    at_once = together.WAYS[way](networks, trial)
    alone = together.Separate(networks, trial)
    rng = torch.Generator().manual_seed(0)
    images, labels = trial.tensors["train"]
    images = images.double()
    losses = []
    for _ in range(3):
        chosen = torch.randint(len(labels), (REPEATS, 4), generator=rng)
        losses.append([each.step(images[chosen], labels[chosen]) for each in (alone, at_once)])
    expected, found = torch.tensor(losses).transpose(0, 1)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=0)
    assert len(set(expected.flatten().tolist())) == 3 * REPEATS
