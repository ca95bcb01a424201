"""Batches that do not fit into memory are taken in parts, and the step stays the same."""

import json
from contextlib import nullcontext

import pandas as pd
import pytest
import torch

from labelnoise.errors import InputError
from labelnoise.evaluation import score as testing
from labelnoise.jobs.devices import GIB, Card, Device
from labelnoise.networks import make_network
from labelnoise.training import loop as training
from labelnoise.training.losses import make_loss
from labelnoise.training.memory import backward_in_parts, is_out_of_memory, split
from labelnoise.training.run import train_run
from settings import model_settings
from tiny import CPU, MODEL, NAMES, RECIPE, write_files

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


def scarce(monkeypatch, slices, calls=0):
    """Let memory suffice for so many slices with gradients, after some calls without a limit."""
    seen = []

    def limited(function):
        def call(network, *arguments, **options):
            def check(module, inputs):
                seen.append(len(inputs[0]))
                if torch.is_grad_enabled() and len(inputs[0]) > slices and len(seen) > calls:
                    raise torch.OutOfMemoryError(
                        "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has more to say."
                    )

            hook = network.register_forward_pre_hook(check)
            try:
                return function(network, *arguments, **options)
            finally:
                hook.remove()

        return call

    monkeypatch.setattr(training, "train_epoch", limited(training.train_epoch))
    return seen


def train(folder, files, **recipe):
    train_run(folder, NAMES, MODEL, RECIPE | recipe, 1, **files, device=CPU)
    return json.loads((folder / "run.json").read_text())


def test_a_batch_that_does_not_fit_is_taken_in_two_parts(files, tmp_path, monkeypatch, caplog):
    assert train(tmp_path / "whole", files)["accumulation"] == 1
    scarce(monkeypatch, 2)
    record = train(tmp_path / "parts", files)
    assert record["accumulation"] == 2
    assert "Tried to allocate 2.00 GiB" in record["out_of_memory"]
    assert "with 4 slices at a time" in caplog.text and "in 2 equal parts" in caplog.text
    assert "more to say" not in caplog.text
    whole, parts = (pd.read_csv(tmp_path / name / "history.csv") for name in ("whole", "parts"))
    # Batch norm sees other statistics; but for that the training is the same.
    assert len(parts) == 3
    assert parts["train_loss"].to_numpy() == pytest.approx(whole["train_loss"], rel=0.15)


def test_memory_that_runs_out_later_costs_no_whole_epoch(files, tmp_path, monkeypatch):
    whole = train(tmp_path / "whole", files)
    # The second epoch's second step.
    scarce(monkeypatch, 2, calls=RECIPE["steps_per_epoch"] + 1)
    record = train(tmp_path / "late", files)
    first, late = (pd.read_csv(tmp_path / name / "history.csv") for name in ("whole", "late"))
    assert first.loc[0].equals(late.loc[0]) and not first.loc[1].equals(late.loc[1])
    assert record["accumulation"] == 2 and whole["accumulation"] == 1


def test_an_interrupted_training_keeps_its_parts(files, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        seen = scarce(patch, 2)
        twin = train(tmp_path / "twin", files)
        with patch.context() as stopped:

            def stop(*arguments):
                raise KeyboardInterrupt

            stopped.setattr("labelnoise.training.checkpoints.TopNSaver.sweep", stop)
            with pytest.raises(KeyboardInterrupt):
                train(tmp_path / "run", files)
        seen.clear()
        record = train(tmp_path / "run", files)
        assert max(seen) == 2
    assert record["out_of_memory"] == twin["out_of_memory"]
    histories = [(tmp_path / name / "history.csv").read_bytes() for name in ("twin", "run")]
    assert histories[0] == histories[1]


def test_parts_that_do_not_fit_either_end_in_advice(files, tmp_path, monkeypatch):
    scarce(monkeypatch, 1)
    with pytest.raises(InputError, match=r"with 2 slices at a time.*lower .*batch_size \(4\)"):
        train(tmp_path / "run", files)
    assert not (tmp_path / "run" / "run.json").exists()


def test_another_error_is_no_lack_of_memory(files, tmp_path, monkeypatch):
    def fail(*arguments):
        raise RuntimeError("something else")

    monkeypatch.setattr(training, "train_epoch", fail)
    with pytest.raises(RuntimeError, match="something else"):
        train(tmp_path / "run", files)


def test_what_counts_as_a_lack_of_memory():
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory."))
    assert is_out_of_memory(RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"))
    assert not is_out_of_memory(RuntimeError("sizes differ"))
    assert not is_out_of_memory(ValueError("ALLOC_FAILED"))


def test_parts_are_equal_and_the_sentence_names_the_card(monkeypatch):
    monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda: 3 * GIB)
    shared = Device("cuda", "H100 GPU-1", Card(0, "GPU-1", "H100", 80 * GIB), slots=4)
    error = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1.00 GiB. More.")
    assert [split(size, 1, error, CPU)[0] for size in (20, 9, 7, 2)] == [2, 3, 7, 2]
    _, sentence = split(20, 1, error, shared)
    assert "(3.0 GiB were in use, of 1/4 of 80.0 GiB)" in sentence
    with pytest.raises(InputError, match=r"H100 GPU-1.*runs_per_gpu \(4\)"):
        split(1, 1, error, shared)


@pytest.mark.parametrize(("suffices", "tried"), [(3, [16, 8, 4, 2]), (1, [16, 8, 4, 2, 1])])
def test_a_test_takes_fewer_slices_until_they_fit(monkeypatch, caplog, suffices, tried):
    seen = []

    def score(network, slices, device, batch_size):
        seen.append(batch_size)
        if batch_size > suffices:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return "scores"

    monkeypatch.setattr(testing, "score_slices", score)
    assert testing.score_within_memory(None, None, CPU, 16) == "scores"
    assert seen == tried
    assert "out of memory with 16 slices at a time on cpu" in caplog.text
    suffices = 0
    with pytest.raises(InputError, match="with one slice at a time on cpu"):
        testing.score_within_memory(None, None, CPU, 2)
