"""What a batch leaves out: how much, which of it, and that the rest counts as before."""

import numpy as np
import pytest
import torch

from labelnoise.errors import InputError
from labelnoise.training.losses import make_loss
from labelnoise.training.selection import left_out, smallest

PIXELS = {"share": 0.2, "of": "pixels", "ramp": 4}


def test_the_share_grows_from_nothing_as_that_of_co_teaching():
    """R(T) = 1 - min(T / T_k tau, tau), with T epochs done."""
    shares = [left_out(PIXELS, epoch)["left_out"] for epoch in range(1, 8)]
    assert shares == pytest.approx([0, 0.05, 0.1, 0.15, 0.2, 0.2, 0.2])
    assert left_out(PIXELS | {"ramp": 0}, 1) == {"left_out": 0.2, "of": "pixels"}
    assert left_out(None, 3) == {}


@pytest.mark.parametrize(
    ("share", "kept"),
    [(0, "11111"), (0.19, "11111"), (0.2, "11011"), (0.5, "10011"), (0.9, "00010")],
)
def test_the_largest_losses_go(share, kept):
    found = smallest(torch.tensor([2.0, 3.0, 5.0, 1.0, 1.5]), share)
    assert "".join(map(str, found.int().tolist())) == kept


def test_of_equal_losses_none_goes_before_the_others():
    assert smallest(torch.ones(10), 0.5).all()


def logits_of(probability_NHW):
    p_NHW = torch.as_tensor(probability_NHW, dtype=torch.float32)
    return torch.stack([(1 - p_NHW).log(), p_NHW.log()], dim=1).requires_grad_()


def test_pixels_that_are_left_out_have_no_gradient_and_the_rest_its_mean():
    logits, labels = logits_of([[[0.1, 0.9], [0.8, 0.3]]]), torch.ones(1, 2, 2, dtype=torch.long)
    value = make_loss("cross_entropy")(logits, labels, left_out=0.25, of="pixels")
    value.backward()
    assert value.item() == pytest.approx(-np.log(0.9 * 0.8 * 0.3) / 3)
    assert (logits.grad[0, 1] != 0).tolist() == [[False, True], [True, True]]


@pytest.mark.parametrize("name", ["cross_entropy", "dice", "t_loss", "class_sampled_cross_entropy"])
def test_slices_that_are_left_out_might_not_be_there(name):
    """Of four slices, the one of the largest loss goes, and the batch is the other three."""
    probability = torch.full((4, 3, 3), 0.7)
    probability[2] = 0.2
    labels = torch.ones(4, 3, 3, dtype=torch.long)
    loss = make_loss(name, background_share=0.5)
    logits = logits_of(probability)
    loss(logits, labels, torch.Generator(), left_out=0.25, of="slices").backward()
    rest = logits_of(probability[[0, 1, 3]])
    loss.zero_grad()
    loss(rest, labels[[0, 1, 3]]).backward()
    torch.testing.assert_close(logits.grad[[0, 1, 3]], rest.grad)
    assert not logits.grad[2].any()


def test_nothing_left_out_is_the_loss_itself():
    logits, labels = logits_of(torch.rand(2, 4, 4)), torch.ones(2, 4, 4, dtype=torch.long)
    loss = make_loss("generalised_cross_entropy")
    assert loss(logits, labels, left_out=0.0, of="slices") == loss(logits, labels)


@pytest.mark.parametrize("name", ["dice", "class_sampled_cross_entropy", "smp.FocalLoss"])
def test_pixels_of_a_loss_that_is_no_mean_over_them_are_refused(name):
    logits, labels = logits_of(torch.rand(1, 2, 2)), torch.ones(1, 2, 2, dtype=torch.long)
    with pytest.raises(InputError, match=r"no mean over them; set selection\.of: slices"):
        make_loss(name, background_share=0.5)(logits, labels, left_out=0.1, of="pixels")
