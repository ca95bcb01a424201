"""Compare repeats that train together in one process of a CPU with repeats that train apart.

    python benchmarks/together.py --output docs/speed/together.csv

Prints images per second of all repeats, of steps of the paper's U-Net. On one core, "before" takes
the steps of one repeat after those of another; grouped convolutions hold the weights of all repeats
in one network; `vmap` is torch's own way to the same end. Of threads "before" is as many processes
at the same time, on as many cores as there are, which have to be idle.
"""

import argparse
import copy
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from time import perf_counter

import torch
import torch.nn.functional as F
from torch import nn
from torch.func import functional_call, stack_module_state

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "scripts"))

from labelnoise.jobs.free_memory import cores  # noqa: E402
from labelnoise.networks import make_network  # noqa: E402
from labelnoise.networks.unet import UNet  # noqa: E402
from labelnoise.training.loop import make_optimiser  # noqa: E402
from rows import Rows  # noqa: E402
from training import STEPS, STUDY, Apart, Trial, begin, images_per_second  # noqa: E402

# Shapes: R repeats, N slices of a batch, S of the training split, K channels, C classes,
# H height, W width.
REPEATS = 4


class Separate:
    """Networks that take their steps one after the other."""

    def __init__(self, networks: list[UNet], trial: Trial):
        """Take networks, and loss and recipe of a trial."""
        self.networks, self.loss = networks, trial.setup.loss
        self.optimisers = [make_optimiser(net.parameters(), trial.recipe) for net in networks]

    def step(self, images_RNKHW: torch.Tensor, labels_RNHW: torch.Tensor) -> list[float]:
        """Take a step of each network on a batch of its own; return the losses before it."""
        losses = []
        parts = zip(self.networks, self.optimisers, images_RNKHW, labels_RNHW, strict=True)
        for network, optimiser, images_NKHW, labels_NHW in parts:
            optimiser.zero_grad()
            loss = self.loss(network(images_NKHW), labels_NHW)
            loss.backward()
            optimiser.step()
            losses.append(loss.item())
        return losses


class Together:
    """Networks whose parameters lie in the same tensors, under one optimiser."""

    def __init__(self, parameters, trial: Trial):
        self.loss, self.optimiser = trial.setup.loss, make_optimiser(parameters, trial.recipe)

    def logits(self, images_RNKHW: torch.Tensor) -> torch.Tensor:
        """Return what each network makes of its images, (R, N, C, H, W)."""
        raise NotImplementedError

    def step(self, images_RNKHW: torch.Tensor, labels_RNHW: torch.Tensor) -> list[float]:
        """Do what `Separate.step` does, at once."""
        self.optimiser.zero_grad()
        logits_RNCHW = self.logits(images_RNKHW)
        # The gradient of a sum is to each network's weights that of its own loss.
        losses = [self.loss(*pair) for pair in zip(logits_RNCHW, labels_RNHW, strict=True)]
        torch.stack(losses).sum().backward()
        self.optimiser.step()
        return [loss.item() for loss in losses]


class Grouped(Together):
    """One U-Net as wide as all, whose convolutions have as many groups as there are networks."""

    def __init__(self, networks: list[UNet], trial: Trial):
        """See `Separate`."""
        self.repeats, self.network = len(networks), side_by_side(networks)
        self.network.to(memory_format=torch.channels_last)
        super().__init__(self.network.parameters(), trial)

    def logits(self, images_RNKHW):
        """See `Together`."""
        network = self.network
        images = images_RNKHW.transpose(0, 1).flatten(1, 2)
        features, skips = network.down[0](images.to(memory_format=torch.channels_last)), []
        for level in network.down[1:]:
            skips.append(features)
            features = level(F.max_pool2d(features, 2))
        for enlarge, level in zip(network.enlarge, network.up, strict=True):
            # Both halves of a network's maps stay beside each other, or groups would mix networks.
            halves = [each.chunk(self.repeats, 1) for each in (enlarge(features), skips.pop())]
            pairs = zip(*halves, strict=True)
            features = level(torch.cat([part for pair in pairs for part in pair], 1))
        return network.classify(features).unflatten(1, (self.repeats, -1)).transpose(0, 1)


class Stacked(Together):
    """One U-Net that `torch.func.vmap` runs with all weights at once."""

    def __init__(self, networks: list[UNet], trial: Trial):
        """See `Separate`."""
        self.parameters, self.buffers = stack_module_state(networks)
        network = copy.deepcopy(networks[0]).to("meta")
        self.run = torch.vmap(lambda *state: functional_call(network, state[:2], state[2:]))
        super().__init__(self.parameters.values(), trial)

    def logits(self, images_RNKHW):
        """See `Together`."""
        return self.run(self.parameters, self.buffers, images_RNKHW)


WAYS = {"grouped convolutions": Grouped, "vmap": Stacked}


def side_by_side(networks: list[nn.Module]) -> nn.Module:
    """Return a network that holds others in groups of its layers; it is run by `Grouped.logits`."""
    whole = copy.deepcopy(networks[0])
    for module in whole.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            module.groups = len(networks)
            module.in_channels *= len(networks)
            module.out_channels *= len(networks)
        elif isinstance(module, nn.BatchNorm2d):
            module.num_features *= len(networks)
    states = [network.state_dict() for network in networks]
    with torch.no_grad():
        for name, tensor in [*whole.named_parameters(), *whole.named_buffers()]:
            if tensor.ndim:
                tensor.data = torch.cat([state[name] for state in states])
    return whole


def make_networks(repeats: int) -> list[UNet]:
    """Return U-Nets with weights of their own."""
    networks = []
    for seed in range(repeats):
        torch.manual_seed(seed)
        network = make_network(STUDY.models["unet"].as_dict()).network
        networks.append(network.to(memory_format=torch.channels_last))
    return networks


def turn(way: Separate | Together, trial: Trial, repeats: int, number: int = STEPS) -> int:
    """Take steps of all networks, each on batches of its own; return on how many slices."""
    images_SKHW, labels_SHW = trial.tensors["train"]
    size = trial.recipe.batch_size
    for _ in range(number):
        chosen_RN = torch.stack([torch.randperm(len(labels_SHW))[:size] for _ in range(repeats)])
        way.step(images_SKHW[chosen_RN], labels_SHW[chosen_RN])
    return number * size * repeats


def threads_against_processes(folder: Path, size: int, turns: int) -> dict[str, float]:
    """Return images per second of as many trainings as cores: of processes, and of threads."""
    number = cores()
    one_thread = partial(torch.set_num_threads, 1)
    trials = {
        "before": [Apart(folder, size, keeps=True) for _ in range(number)],
        "after": [Trial(folder, size) for _ in range(number)],
    }
    with ThreadPoolExecutor(number, initializer=one_thread) as pool:
        ways = {
            name: lambda each=each: sum(pool.map(lambda trial: trial.steps(), each))
            for name, each in trials.items()
        }
        found = images_per_second(ways, turns, perf_counter)
    for each in trials["before"]:
        each.end()
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=REPEATS, help="that train on one core")
    arguments, rows = begin(parser), Rows()
    repeats = arguments.repeats
    with tempfile.TemporaryDirectory() as folder:
        for size in arguments.size:
            trial = Trial(Path(folder), size)
            for name, way in WAYS.items():
                networks = make_networks(repeats)
                # Of the same weights, since neither has taken a step.
                before, after = Separate(networks, trial), way(networks, trial)
                turns = {
                    "before": partial(turn, before, trial, repeats),
                    "after": partial(turn, after, trial, repeats),
                }
                found = images_per_second(turns, arguments.turns)
                rows.add(f"{repeats} repeats by {name}, {size} px", **found, unit="images/s")
        for size in arguments.size:
            found = threads_against_processes(Path(folder), size, arguments.turns)
            rows.add(f"{cores()} repeats as threads, {size} px", **found, unit="images/s")
    rows.write(arguments.output)


if __name__ == "__main__":
    main()
