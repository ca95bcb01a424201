"""Batches in parts make one step; a lack of memory ends a training, and only slows a test."""

import re
from contextlib import nullcontext

import pandas as pd
import pytest
import torch

from labelnoise.errors import InputError
from labelnoise.evaluation import score
from labelnoise.jobs.devices import GIB, Card, Device
from labelnoise.networks import make_network
from labelnoise.networks.unet import UNet
from labelnoise.training import loop
from labelnoise.training.losses import make_loss
from labelnoise.training.memory import backward_in_parts, is_out_of_memory, training_sentence
from settings import model_settings
from tiny import CPU, make_recipe, train, write_files

LOSSES = {
    "class_sampled_cross_entropy": {"background_share": 0.3},
    "cross_entropy": {},
    "dice": {},
    "smp.TverskyLoss": {},
}


def batch(slices=6, size=16):
    generator = torch.Generator().manual_seed(1)
    images_N1HW = torch.randn(slices, 1, size, size, generator=generator)
    # Foreground differs between the parts, so that a mean of means would be wrong.
    labels_NHW = (images_N1HW[:, 0] > torch.linspace(-1, 2, slices)[:, None, None]).long()
    return images_N1HW, labels_NHW


def gradients(network):
    return [parameter.grad.clone() for parameter in network.parameters()]


def backward(network, name, parts, whole_graph=False):
    """Gradients and loss of one batch; whole_graph: parts, but all of them in one graph."""
    images_N1HW, labels_NHW = batch()
    loss, generator = make_loss(name, **LOSSES[name]), torch.Generator().manual_seed(2)
    network.zero_grad()
    torch.manual_seed(3)

    def compute_loss(logits_NCHW):
        return loss(logits_NCHW, labels_NHW, generator)

    if whole_graph:
        value = compute_loss(torch.cat([network(part) for part in images_N1HW.chunk(parts)]))
        value.backward()
    else:
        value, logits_NCHW = backward_in_parts(
            network, compute_loss, images_N1HW, parts, nullcontext
        )
        assert logits_NCHW.shape == (6, 2, 16, 16)
    return gradients(network), value.detach(), torch.rand(1)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("parts", [2, 3, 6])
def test_without_batch_norm_the_step_is_that_of_the_whole_batch(name, parts):
    torch.manual_seed(0)
    network = torch.nn.Sequential(
        torch.nn.Conv2d(1, 4, 3, padding=1), torch.nn.Tanh(), torch.nn.Conv2d(4, 2, 1)
    )
    whole, value, _ = backward(network, name, 1, whole_graph=True)
    found, same, _ = backward(network, name, parts)
    assert torch.equal(value, same)
    for one, other in zip(whole, found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("given", [{"network": "unet"}, {"network": "fcn32", "head_width": 16}])
def test_batch_norm_and_dropout_do_what_they_do_on_the_parts(given):
    torch.manual_seed(0)
    network = make_network(model_settings(**given, width=2)).train()
    start = {name: value.clone() for name, value in network.state_dict().items()}
    whole, value, after = backward(network, "dice", 3, whole_graph=True)
    averages = dict(network.named_buffers())
    averages = {name: value.clone() for name, value in averages.items()}
    network.load_state_dict(start)
    found, same, after_parts = backward(network, "dice", 3)
    assert torch.equal(value, same) and torch.equal(after, after_parts)
    for one, other in zip(whole, found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)
    moved = [
        ((value - start[name]).norm(), (averages[name] - start[name]).norm())
        for name, value in network.named_buffers()
        if name.endswith("running_mean")
    ]
    # Three updates of a third each; three of a whole one go further.
    assert moved and all(0 < parts < threefold for parts, threefold in moved)
    assert all(norm.momentum == 0.1 for norm in network.modules() if hasattr(norm, "momentum"))


def test_running_averages_move_by_one_batch():
    """Where all parts are alike, one batch and its parts leave the same averages."""
    norm = torch.nn.BatchNorm2d(1)
    twin = torch.nn.BatchNorm2d(1)
    part_n1HW = torch.randn(2, 1, 8, 8)
    images_N1HW = torch.cat([part_n1HW] * 3)
    backward_in_parts(norm, lambda logits: logits.sum(), images_N1HW, 3, nullcontext)
    twin(part_n1HW)
    torch.testing.assert_close(norm.running_mean, twin.running_mean)
    torch.testing.assert_close(norm.running_var, twin.running_var)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return write_files(tmp_path_factory.mktemp("data"))


def test_accumulation_is_the_recipes(files, tmp_path, monkeypatch):
    seen = []
    forward = UNet.forward

    def watched(network, images_NCHW):
        seen.append(len(images_NCHW))
        return forward(network, images_NCHW)

    monkeypatch.setattr(UNet, "forward", watched)
    whole, parts = (
        train(tmp_path / str(number), files, {"accumulation": number}) for number in (1, 2)
    )
    assert seen[0] == 4 and seen[-1] == 2
    one, other = (pd.read_csv(folder.history) for folder in (whole, parts))
    # Batch norm sees other statistics; but for that the training is the same.
    assert not one.equals(other)
    assert other["train_loss"].to_numpy() == pytest.approx(one["train_loss"], rel=0.15)


def test_a_training_that_does_not_fit_names_the_mend_and_is_not_tried_again(
    files, tmp_path, monkeypatch
):
    calls = []

    def fail(*arguments):
        calls.append(arguments)
        raise torch.OutOfMemoryError(
            "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has more to say."
        )

    monkeypatch.setattr(loop, "train_epoch", fail)
    with pytest.raises(InputError) as raised:
        train(tmp_path / "run", files)
    said = str(raised.value)
    assert "out of memory with 4 slices at a time on cpu" in said
    assert "Tried to allocate 2.00 GiB" in said and "more to say" not in said
    assert "set accumulation: 2 in recipe 'plain'" in said
    assert len(calls) == 1 and not (tmp_path / "run" / "run.json").exists()


def test_another_error_is_no_lack_of_memory(files, tmp_path, monkeypatch):
    def fail(*arguments):
        raise RuntimeError("something else")

    monkeypatch.setattr(loop, "train_epoch", fail)
    with pytest.raises(RuntimeError, match="something else"):
        train(tmp_path / "run", files)


def test_what_counts_as_a_lack_of_memory():
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory."))
    assert is_out_of_memory(RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"))
    assert not is_out_of_memory(RuntimeError("sizes differ"))
    assert not is_out_of_memory(ValueError("ALLOC_FAILED"))


ERROR = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1.00 GiB. More.")


@pytest.mark.parametrize(
    ("batch_size", "accumulation", "named"),
    [(20, 1, 2), (9, 1, 3), (7, 1, 7), (20, 2, 4), (20, 5, 10), (2, 2, None), (1, 1, None)],
)
def test_the_next_divisor_of_the_batch_is_named(batch_size, accumulation, named):
    recipe = make_recipe(batch_size=batch_size, accumulation=accumulation)
    said = training_sentence(ERROR, recipe, "plain", CPU)
    found = re.findall(r"set accumulation: (\d+) in recipe 'plain'", said)
    assert found == ([str(named)] if named else [])


def test_the_sentence_names_the_card_and_who_shares_it(monkeypatch):
    monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda: 3 * GIB)
    shared = Device("cuda", "H100 GPU-1", Card(0, "GPU-1", "H100", 80 * GIB), slots=4)
    said = training_sentence(ERROR, make_recipe(precision="bf16"), "plain", shared)
    assert "on H100 GPU-1" in said and "lower runs_per_gpu (4)" in said
    assert "(3.0 GiB were in use, of 1/4 of 80.0 GiB)" in said
    assert "bf16" not in said


@pytest.mark.parametrize(("suffices", "tried"), [(3, [16, 8, 4, 2]), (1, [16, 8, 4, 2, 1])])
def test_a_test_takes_fewer_slices_until_they_fit(monkeypatch, caplog, suffices, tried):
    seen, released = [], []

    def score_slices(batch_size):
        seen.append(batch_size)
        if batch_size > suffices:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return "scores"

    monkeypatch.setattr(score, "release", released.append)
    assert score.within_memory(score_slices, CPU, 16) == "scores"
    assert seen == tried and len(released) == len(tried) - 1
    assert "out of memory with 16 slices at a time on cpu" in caplog.text
    suffices = 0
    with pytest.raises(InputError, match="with one slice at a time on cpu"):
        score.within_memory(score_slices, CPU, 2)
