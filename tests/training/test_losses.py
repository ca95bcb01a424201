"""Losses against values worked out by hand, and what they do to the decision."""

import math

import pytest
import torch
import torch.nn.functional as F

from labelnoise.errors import InputError
from labelnoise.training.decision import EVEN, decision_odds
from labelnoise.training.losses import NAMES as OURS
from labelnoise.training.losses import PIXEL_LOSSES, make_loss

LABELS = torch.tensor([[[0, 1], [0, 0]]], dtype=torch.uint8)
NAMES = [
    *OURS,
    "smp.DiceLoss",
    "smp.FocalLoss",
    "smp.JaccardLoss",
    "smp.LovaszLoss",
    "smp.SoftCrossEntropyLoss",
    "smp.TverskyLoss",
]


def make(name, **settings):
    share = 0.5 if "sampled" in name else None
    return make_loss(name, background_share=share, **settings)


def logits_of(foreground_probability):
    """Two-class logits (1, 2, H, W) whose softmax is the given foreground probability."""
    p = torch.as_tensor(foreground_probability, dtype=torch.float64)
    return torch.stack([(1 - p).log(), p.log()])[None]


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_cross_entropy_of_four_pixels():
    value = make_loss("cross_entropy")(logits_of([[0.1, 0.8], [0.5, 0.2]]), LABELS)
    assert value.item() == pytest.approx(-math.log(0.9 * 0.8 * 0.5 * 0.8) / 4)


def test_cross_entropy_is_that_of_torch():
    logits = torch.randn(3, 4, 8, 8, generator=seeded())
    labels = torch.randint(0, 4, (3, 8, 8), generator=seeded())
    torch.testing.assert_close(
        make("cross_entropy")(logits, labels), F.cross_entropy(logits, labels)
    )


def test_dice_of_four_pixels():
    logits = logits_of([[0.1, 0.8], [0.5, 0.2]])
    # overlap 0.8, predicted 1.6, labelled 1
    assert make_loss("dice")(logits, LABELS).item() == pytest.approx(1 - 2.6 / 3.6)
    assert make_loss("dice", smooth=0.4)(logits, LABELS).item() == pytest.approx(1 - 2 / 3)


def test_dice_is_pooled_over_the_batch_and_averaged_over_foreground_classes():
    labels = torch.tensor([[[1, 1]], [[1, 2]]])
    predicted = torch.tensor([[[1, 0]], [[1, 1]]])
    logits = 50 * F.one_hot(predicted, 3).permute(0, 3, 1, 2).float()
    # class 1: 2 of 3 found, 1 wrong: 4 / 6; class 2: none of 1
    expected = 1 - ((4 + 0.5) / (6 + 0.5) + 0.5 / 1.5) / 2
    assert make_loss("dice", smooth=0.5)(logits, labels).item() == pytest.approx(expected)


def test_keeping_no_background_leaves_the_mean_over_foreground():
    logits = logits_of([[0.1, 0.8], [0.5, 0.2]])
    loss = make_loss("class_sampled_cross_entropy", background_share=0)
    assert loss(logits, LABELS).item() == pytest.approx(-math.log(0.8))


def test_keeping_all_background_is_cross_entropy():
    logits = torch.randn(3, 4, 8, 8, generator=seeded())
    labels = torch.randint(0, 4, (3, 8, 8), generator=seeded())
    loss = make_loss("class_sampled_cross_entropy", background_share=1)
    torch.testing.assert_close(loss(logits, labels), F.cross_entropy(logits, labels))


def kept_pixels(labels, share, generator):
    """The mask a call draws, read off the gradient: dropped pixels have none."""
    logits = torch.zeros(labels.shape[0], 2, *labels.shape[1:], requires_grad=True)
    loss = make_loss("class_sampled_cross_entropy", background_share=share)
    loss(logits, labels, generator).backward()
    return logits.grad[:, 0] != 0


def test_all_foreground_and_the_share_of_background_is_kept():
    labels = (torch.rand(4, 100, 100, generator=seeded()) < 0.2).long()
    kept = kept_pixels(labels, 0.3, seeded(1))
    assert kept[labels == 1].all()
    # 4 standard errors of a share over some 32 000 pixels
    assert kept[labels == 0].float().mean().item() == pytest.approx(0.3, abs=0.0103)


def test_the_mask_follows_the_generator_and_is_fresh_at_every_call():
    labels = torch.zeros(2, 32, 32, dtype=torch.long)
    generator = seeded(7)
    first, second = (kept_pixels(labels, 0.5, generator) for _ in range(2))
    again = seeded(7)
    assert torch.equal(first, kept_pixels(labels, 0.5, again))
    assert torch.equal(second, kept_pixels(labels, 0.5, again))
    assert not torch.equal(first, second)


def test_without_a_generator_torchs_global_one_is_used():
    labels = torch.zeros(2, 32, 32, dtype=torch.long)
    torch.manual_seed(3)
    first, second = (kept_pixels(labels, 0.5, None) for _ in range(2))
    torch.manual_seed(3)
    assert torch.equal(first, kept_pixels(labels, 0.5, None))
    assert not torch.equal(first, second)


def test_what_is_drawn_does_not_depend_on_the_labels():
    labels = torch.zeros(2, 32, 32, dtype=torch.long)
    other = labels.clone()
    other[0] = 1
    first, second = kept_pixels(labels, 0.5, seeded()), kept_pixels(other, 0.5, seeded())
    assert torch.equal(first[1], second[1])


def test_no_kept_pixel_gives_zero_with_a_gradient():
    logits = torch.randn(1, 2, 4, 4, generator=seeded()).requires_grad_()
    loss = make_loss("class_sampled_cross_entropy", background_share=0)
    value = loss(logits, torch.zeros(1, 4, 4, dtype=torch.long))
    value.backward()
    assert value.item() == 0
    assert torch.equal(logits.grad, torch.zeros_like(logits))


@pytest.mark.parametrize(("rate", "share"), [(0.5, 1.0), (0.3, 1.0), (0.1, 0.1), (0.2, 0.0716)])
def test_sampling_moves_the_best_probability(rate, share):
    """Where a share p of labels is foreground, the loss is least at p / (p + q (1 - p))."""
    labels = (torch.arange(40_000) < rate * 40_000).long().view(1, 200, 200)
    loss = make_loss("class_sampled_cross_entropy", background_share=share)
    low, high = -6.0, 6.0
    for _ in range(14):
        logit = torch.tensor((low + high) / 2, requires_grad=True)
        logits = torch.stack([torch.zeros(200, 200), logit.expand(200, 200)])[None]
        generator = seeded()
        sum(loss(logits, labels, generator) for _ in range(4)).backward()
        low, high = (low, logit.item()) if logit.grad > 0 else (logit.item(), high)
    expected = rate / (rate + share * (1 - rate))
    assert logit.sigmoid().item() == pytest.approx(expected, abs=0.01)


def test_sampling_moves_the_decision_to_q_over_1_plus_q():
    """A pixel that is foreground a little more often than q / (1 + q) is painted, else not."""
    share, pixels = 0.1, 1_000_000
    for rate, painted in [(0.085, False), (0.097, True)]:
        labels = (torch.arange(pixels) < rate * pixels).long().view(1, 1000, 1000)
        logits = torch.zeros(1, 2, 1, 1, requires_grad=True)
        loss = make_loss("class_sampled_cross_entropy", background_share=share)
        loss(logits.expand(1, 2, 1000, 1000), labels, seeded()).backward()
        # Descent from P = 0.5 raises the foreground logit where its gradient is negative.
        assert (logits.grad[0, 1] < 0).item() is painted


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("case", ["mixed", "no foreground", "no background"])
def test_loss_and_gradient_are_finite(name, case):
    labels = torch.randint(0, 3, (2, 8, 8), generator=seeded(), dtype=torch.uint8)
    labels = {"mixed": labels, "no foreground": labels * 0, "no background": labels % 2 + 1}[case]
    logits = (30 * torch.randn(2, 3, 8, 8, generator=seeded())).half().requires_grad_()
    value = make(name)(logits, labels, seeded())
    value.backward()
    assert value.shape == () and value.dtype == torch.float32 and value.isfinite()
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize("name", NAMES)
def test_a_better_prediction_costs_less(name):
    # A square: single pixels are what smoothing in space does not believe.
    labels = torch.zeros(2, 16, 16, dtype=torch.long)
    labels[:, 4:12, 3:13] = 1
    right = 4.0 * F.one_hot(labels, 2).permute(0, 3, 1, 2)
    values = [make(name)(sign * right, labels, seeded()).item() for sign in (1, 0, -1)]
    assert values[0] < values[1] < values[2]


@pytest.mark.parametrize("name", NAMES)
def test_labels_outside_the_classes_are_refused(name):
    logits = torch.zeros(1, 2, 2, 2)
    for wrong in (torch.tensor([[[0, 1], [2, 0]]]), torch.tensor([[[0, 1], [-100, 0]]])):
        with pytest.raises(InputError, match=r"has 2 classes, 0 to 1"):
            make(name)(logits, wrong)


def test_labels_of_another_size_are_refused():
    with pytest.raises(InputError, match=r"\(1, 2, 3\).*\(1, 2, 2\)"):
        make("cross_entropy")(torch.zeros(1, 2, 2, 2), torch.zeros(1, 2, 3, dtype=torch.long))


def test_settings_reach_smp():
    logits, labels = torch.randn(1, 2, 8, 8, generator=seeded()), torch.ones(1, 8, 8).long()
    plain, sharp = make("smp.FocalLoss"), make("smp.FocalLoss", gamma=5.0)
    assert plain(logits, labels) != sharp(logits, labels)
    smooth = make("smp.SoftCrossEntropyLoss", smooth_factor=0.2)
    torch.testing.assert_close(
        smooth(logits, labels), F.cross_entropy(logits, labels, label_smoothing=0.2)
    )


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("crossentropy", {}, "'crossentropy'.*cross_entropy, dice.*smp.FocalLoss"),
        ("smp.Dice", {}, "'smp.Dice'.*smp.DiceLoss.*smp.TverskyLoss"),
        ("smp.MCCLoss", {}, "choose one of smp.DiceLoss"),
        ("smp.FocalLoss", {"gama": 2}, "'gama'.*gamma"),
        ("smp.FocalLoss", {"mode": "binary"}, "'mode'"),
        ("cross_entropy", {"smooth": 1}, "'smooth'.*smoothing"),
        ("cross_entropy", {"smoothing": 1}, "smoothing: 1;.*below 1"),
        ("generalised_cross_entropy", {"q": 0}, "q: 0;.*above 0, at most 1"),
        ("symmetric_cross_entropy", {"log_zero": 4}, "log_zero: 4;.*below 0"),
        ("soft_bootstrapping", {"beta": True}, "beta: True;.*0 to 1"),
        ("noise_robust_dice", {"gamma": 2.5}, "gamma: 2.5;.*1 to 2"),
        ("t_loss", {"nu": 1}, "'nu'.*log_nu"),
        ("class_sampled_cross_entropy", {}, "background_share: None.*0 to 1"),
        ("class_sampled_cross_entropy", {"background_share": 7.2}, "7.2.*0 to 1"),
        ("class_sampled_cross_entropy", {"share": 0.1}, "'share'.*background_share"),
        ("dice", {"smooth": 0}, "smooth: 0.*above 0"),
    ],
)
def test_wrong_names_and_settings_are_explained(name, settings, message):
    with pytest.raises(InputError, match=message):
        make_loss(name, **settings)


def test_a_loss_that_is_not_reduced_is_explained():
    loss = make("smp.FocalLoss", reduction="none")
    smp_none = make("smp.SoftCrossEntropyLoss", reduction="none")
    labels = torch.zeros(1, 2, 2, dtype=torch.long)
    assert loss(torch.zeros(1, 2, 2, 2), labels).ndim == 0  # smp averages it over the classes
    with pytest.raises(InputError, match="reduction"):
        smp_none(torch.zeros(1, 2, 2, 2), labels)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_cpu_generator_gives_the_same_mask_on_the_gpu():
    labels = torch.zeros(2, 32, 32, dtype=torch.long)
    assert torch.equal(
        kept_pixels(labels.cuda(), 0.5, seeded()).cpu(), kept_pixels(labels, 0.5, seeded())
    )


@pytest.mark.parametrize(
    ("name", "share"), [("class_sampled_cross_entropy", 0.25), ("cross_entropy", None)]
)
def test_the_optimum_of_a_loss_decides_at_its_odds(name, share):
    """Of 100 equal pixels k are foreground; one logit for all of them is trained to its optimum."""
    for k, painted in ((25, share is not None), (60, True)):
        labels = torch.zeros(1, 1, 100, dtype=torch.int64)
        labels[..., :k] = 1
        logit = torch.zeros(1, requires_grad=True)
        optimiser = torch.optim.Adam([logit], lr=0.05)
        loss, generator = make_loss(name, background_share=share), seeded()
        for step in range(600):
            for group in optimiser.param_groups:
                group["lr"] = 0.05 / (1 + step / 40)
            optimiser.zero_grad()
            logits = torch.stack([torch.zeros(100), logit.expand(100)])[None, :, None]
            loss(logits, labels, generator).backward()
            optimiser.step()
        odds = k / (100 - k) / decision_odds(name, share)
        assert logit.item() == pytest.approx(math.log(odds), abs=0.1)
        assert (logit.item() > 0) == painted


def test_the_optimum_of_other_losses_is_not_said_to_be_known():
    assert decision_odds("dice") is None
    assert decision_odds("smp.FocalLoss", 0.1) is None
    for name in set(OURS) - {"class_sampled_cross_entropy", *EVEN}:
        assert decision_odds(name, 0.1) is None


@pytest.mark.parametrize("name", EVEN)
@pytest.mark.parametrize("settings", [{}, {"smoothing": 0.3}])
def test_the_best_probability_is_over_one_half_where_that_of_foreground_is(name, settings):
    """The least expected loss of a pixel that is foreground with probability P, on a grid."""
    if settings and name != "cross_entropy":
        pytest.skip("has no smoothing")
    p_K = torch.linspace(0.001, 0.999, 999, dtype=torch.float64)
    logits = torch.stack([(1 - p_K).log(), p_K.log()])[None, :, None]
    compute, _ = PIXEL_LOSSES[name]
    losses = [compute(logits, torch.full((1, 1, 999), label), **settings)[0, 0] for label in (0, 1)]
    for rate in (0.05, 0.3, 0.45, 0.55, 0.7, 0.95):
        best = p_K[((1 - rate) * losses[0] + rate * losses[1]).argmin()].item()
        assert (best > 0.5) == (rate > 0.5), (rate, best)
        if name == "cross_entropy":
            smoothing = settings.get("smoothing", 0)
            assert best == pytest.approx((1 - smoothing) * rate + smoothing / 2, abs=2e-3)
        if name == "generalised_cross_entropy":
            odds = (rate / (1 - rate)) ** (1 / 0.3)
            assert best == pytest.approx(odds / (1 + odds), abs=2e-3)
