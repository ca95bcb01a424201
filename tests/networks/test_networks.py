"""The contract that every network keeps, and what is particular to each."""

import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from labelnoise.errors import InputError
from labelnoise.networks import make_network
from labelnoise.networks.padding import PaddedNetwork
from labelnoise.networks.segnet import _place_in_window, max_unpool
from settings import model_settings

# The FCNs' heads are narrow here, for the time they take.
CHANGED = {
    "unet": {},
    "segnet": {},
    "fcn32": {"head_width": 16},
    "fcn8": {"head_width": 16},
    "smp.Unet": {"encoder": "resnet18"},
    "smp.DeepLabV3Plus": {"encoder": "mobilenet_v2"},
    "smp.PAN": {"encoder": "tu-mobilenetv3_small_050"},
}
SPECS = {name: model_settings(network=name, **given) for name, given in CHANGED.items()}
OURS = ["unet", "segnet", "fcn32", "fcn8"]
every_network = pytest.mark.parametrize("name", SPECS)


def build(name, seed=0, **kwargs):
    torch.manual_seed(seed)
    return make_network(SPECS[name], **kwargs)


def images(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(5))


@every_network
@pytest.mark.parametrize("size", [(64, 64), (65, 71), (5, 7)])
def test_logits_have_the_size_of_the_slices(name, size):
    network = build(name, in_channels=2, classes=3).eval()
    with torch.no_grad():
        logits = network(images(2, 2, *size))
    assert logits.shape == (2, 3, *size)
    assert logits.isfinite().all()


@every_network
def test_every_parameter_learns(name):
    network = build(name).train()
    labels = (images(2, 64, 64) > 0).long()
    loss = F.cross_entropy(network(images(2, 1, 64, 64)), labels)
    loss.backward()
    assert loss.isfinite()
    for key, parameter in network.named_parameters():
        assert parameter.requires_grad, key
        assert parameter.grad is not None and parameter.grad.isfinite().all(), key


@pytest.mark.parametrize("name", OURS)
def test_no_part_of_our_networks_is_cut_off_from_the_loss(name):
    # A bias just before batch norm has no effect, and so a gradient of almost 0.
    network = build(name).train()
    labels = (images(2, 64, 64) > 0).long()
    F.cross_entropy(network(images(2, 1, 64, 64)), labels).backward()
    weights = {k: p.grad for k, p in network.named_parameters() if k.endswith("weight")}
    assert [key for key, gradient in weights.items() if not gradient.any()] == []


@every_network
def test_evaluation_is_deterministic(name):
    network = build(name).eval()
    slices = images(1, 1, 64, 64)
    with torch.no_grad():
        first = network(slices)
        torch.rand(10)
        assert torch.equal(first, network(slices))


@every_network
def test_weights_depend_on_the_torch_seed_alone(name):
    first = build(name).state_dict()
    random.seed(1)
    np.random.seed(1)
    same, other = build(name).state_dict(), build(name, seed=1).state_dict()
    assert all(torch.equal(first[key], same[key]) for key in first)
    assert any(not torch.equal(first[key], other[key]) for key in first)


@every_network
def test_state_dict_restores_the_network(name):
    network, other = build(name).eval(), build(name, seed=1).eval()
    slices = images(1, 1, 64, 64)
    with torch.no_grad():
        assert not torch.equal(network(slices), other(slices))
        other.load_state_dict(network.state_dict())
        assert torch.equal(network(slices), other(slices))


@pytest.mark.parametrize("name", [*OURS, "smp.Unet"])
@pytest.mark.parametrize("size", [(16, 16), (1, 1)])
def test_a_single_small_slice_can_be_trained_on(name, size):
    network = build(name).train()
    network(images(1, 1, *size)).sum().backward()


@pytest.mark.parametrize("name", OURS)
def test_fits_a_disc(name):
    """A few steps on two slices, then the disc is found: the parts are wired sensibly."""
    row, column = torch.meshgrid(torch.arange(64), torch.arange(64), indexing="ij")
    disc = (row - 26) ** 2 + (column - 36) ** 2 < 18**2
    labels = torch.stack([disc, disc.flip(1)]).long()
    slices = labels[:, None] + 0.3 * images(2, 1, 64, 64)
    torch.manual_seed(0)
    extra = {"dropout": 0.0, "head_width": 64} if "fcn" in name else {}
    network = make_network(SPECS[name] | extra).train()
    optimiser = torch.optim.Adam(network.parameters(), lr=0.005)
    for _ in range(30):
        optimiser.zero_grad()
        F.cross_entropy(network(slices), labels).backward()
        optimiser.step()
    predicted = network(slices).argmax(dim=1)
    assert 2 * (predicted * labels).sum() / (predicted.sum() + labels.sum()) > 0.9


@pytest.mark.parametrize(
    ("name", "parameters"), [("unet", 1_096_898), ("segnet", 260_856), ("fcn32", 36_353_672)]
)
def test_size_is_by_default_that_of_the_2018_code(name, parameters):
    with torch.device("meta"):
        network = make_network(model_settings(network=name))
    assert sum(p.numel() for p in network.parameters()) == parameters


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("unet", {"width": 3, "depth": 2}),
        ("unet", {"width": 2, "depth": 6}),
        ("segnet", {"width": 2}),
        ("fcn8", {"width": 2, "head_width": 8, "dropout": 0}),
        ("smp.FPN", {"settings": {"decoder_dropout": 0.0}}),
        ("smp.FPN", {"encoder": "resnet18"}),
    ],
)
def test_settings_change_the_network(name, given):
    network = make_network(model_settings(network=name, **given))
    assert network(images(2, 1, 40, 24)).shape == (2, 2, 40, 24)
    with torch.device("meta"):
        default = make_network(model_settings(network=name))
    assert str(network) != str(default)


def test_dpt_takes_slices_of_any_size():
    network = make_network(model_settings(network="smp.DPT", encoder="tu-vit_tiny_patch16_224"))
    assert network(images(2, 1, 40, 24)).shape == (2, 2, 40, 24)


def test_transposed_convolutions_of_the_unet_start_at_one():
    kernels = [m for m in build("unet").modules() if isinstance(m, nn.ConvTranspose2d)]
    assert len(kernels) == 5
    assert all((m.weight == 1).all() and (m.bias == 0).all() for m in kernels)


def test_fcn8_has_a_stride_8_skip():
    network = build("fcn8").eval()
    slices = images(1, 1, 64, 64).requires_grad_()
    network.network.score_16.weight.data.zero_()
    network.network.head[-1].weight.data.zero_()
    network(slices).square().sum().backward()
    assert slices.grad.any()


@given(height=st.integers(1, 5), width=st.integers(1, 5), seed=st.integers(0, 99))
@settings(max_examples=20, deadline=None)
def test_unpooling_is_that_of_torch(height, width, seed):
    maps = torch.randn(2, 3, 2 * height, 2 * width, generator=torch.Generator().manual_seed(seed))
    pooled, indices = F.max_pool2d(maps, 2, return_indices=True)
    unpooled = max_unpool(pooled, _place_in_window(indices, 2 * width))
    assert torch.equal(unpooled, F.max_unpool2d(pooled, indices, 2))


@given(height=st.integers(1, 40), width=st.integers(1, 40))
@settings(max_examples=30, deadline=None)
def test_padding_repeats_edges_and_is_cropped_back(height, width):
    seen = []

    class Identity(nn.Module):
        def forward(self, padded):
            seen.append(padded)
            return padded

    slices = images(1, 1, height, width)
    assert torch.equal(PaddedNetwork(Identity(), stride=8)(slices), slices)
    assert all(side % 8 == 0 and side >= 16 for side in seen[0].shape[-2:])
    assert torch.equal(seen[0].unique(), slices.unique())


def test_a_size_that_fits_is_not_padded():
    assert PaddedNetwork(nn.Identity(), stride=8)._margins(64) == (0, 0)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"network": "smp.unet"}, "'smp.unet'.*smp.Unet, "),
        ({"network": "smp.Unet", "encoder": "resnet19"}, "'resnet19'.*resnet18"),
        ({"network": "smp.Unet", "encoder": "tu-nosuch"}, "'tu-nosuch'"),
        (
            {"network": "smp.Unet", "settings": {"decoder_chanels": 3}},
            "'decoder_chanels'.*decoder_channels",
        ),
        ({"network": "smp.Unet", "settings": {"activation": "softmax"}}, "'activation'"),
        ({"network": "smp.Unet", "settings": {"encoder_depth": 9}}, "smp.Unet.*9"),
        (
            {"network": "smp.Unet", "encoder": "resnet18", "weights": "imagnet"},
            "'imagnet'.*imagenet",
        ),
    ],
)
def test_what_smp_cannot_build_is_explained(given, message):
    with pytest.raises(InputError, match=message):
        make_network(model_settings(**given))


def test_weights_that_cannot_be_downloaded_are_explained(monkeypatch):
    def no_connection(*args, **kwargs):
        raise ConnectionError("no route to host")

    monkeypatch.setattr("segmentation_models_pytorch.encoders.hf_hub_download", no_connection)
    with pytest.raises(InputError, match=r"'imagenet'.*'resnet18'.*downloaded.*weights: null"):
        make_network(SPECS["smp.Unet"] | {"weights": "imagenet"})


def test_a_network_that_needs_two_slices_says_so():
    with pytest.raises(InputError, match="batch size of at least 2"):
        build("smp.DeepLabV3Plus").train()(images(1, 1, 64, 64))


def test_settings_that_change_the_size_are_explained():
    given = {"encoder": "resnet18", "settings": {"upsampling": 2}}
    network = make_network(model_settings(network="smp.FPN", **given))
    with pytest.raises(InputError, match="settings"):
        network(images(2, 1, 64, 64))


def test_smp_is_imported_only_when_asked_for():
    code = "import sys; from labelnoise.networks import make_network; "
    code += "import labelnoise.training.losses; "
    code += f"make_network({SPECS['unet']}); print('segmentation_models_pytorch' in sys.modules)"
    scripts = Path(__file__).parents[2] / "scripts"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=scripts, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize("name", OURS)
def test_more_channels_widen_the_first_convolution_alone(name):
    one, four = (build(name, in_channels=channels) for channels in (1, 4))
    shapes = [[weight.shape for weight in network.parameters()] for network in (one, four)]
    different = [pair for pair in zip(*shapes, strict=True) if pair[0] != pair[1]]
    ((first, wider),) = different
    assert first[1:] == (1, 3, 3) and wider[1:] == (4, 3, 3)
    with torch.no_grad():
        assert four.eval()(torch.rand(1, 4, 40, 33)).shape == (1, 2, 40, 33)
