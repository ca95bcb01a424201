"""Train MONAI's U-Net slice by slice, for models with `trainer: command`: see docs/trainers.md."""

import argparse
import json
from pathlib import Path

import nibabel
import numpy as np
import torch
from monai.losses import DiceCELoss
from monai.networks.nets import UNet
from monai.utils import set_determinism

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("dataset", type=Path, help="raw dataset of nnU-Net to read")
parser.add_argument("output", type=Path, help="folder for the probabilities")
parser.add_argument("--device", default="cpu")
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--epochs", type=int, default=20)
arguments = parser.parse_args()
set_determinism(arguments.seed % 2**32)
about = json.loads((arguments.dataset / "dataset.json").read_text())
ending, channels = about["file_ending"], range(len(about["channel_names"]))


def read(folder, name):
    """Return a file as slices, rows, columns."""
    image = nibabel.load(arguments.dataset / folder / f"{name}{ending}")
    return torch.from_numpy(np.asarray(image.dataobj).transpose(2, 1, 0).copy())


def read_images(folder, name):
    """Return all channels of an image: slices, channels, rows, columns."""
    return torch.stack([read(folder, f"{name}_{place:04d}").float() for place in channels], dim=1)


def names(folder, tail):
    return sorted(path.name.removesuffix(tail) for path in (arguments.dataset / folder).iterdir())


training = names("labelsTr", ending)
images = torch.cat([read_images("imagesTr", name) for name in training])
labels = torch.cat([read("labelsTr", name).long() for name in training])[:, None]
# Sides of slices have to be multiples of 8.
network = UNet(2, len(channels), len(about["labels"]), (8, 16, 32, 64), (2, 2, 2), num_res_units=2)
network.to(arguments.device)
loss = DiceCELoss(to_onehot_y=True, softmax=True)
optimiser = torch.optim.Adam(network.parameters(), 0.003)
for epoch in range(1, arguments.epochs + 1):
    losses = []
    for batch in torch.randperm(len(images)).split(8):
        inputs, wanted = images[batch].to(arguments.device), labels[batch].to(arguments.device)
        losses.append(loss(network(inputs), wanted))
        optimiser.zero_grad()
        losses[-1].backward()
        optimiser.step()
    print(f"epoch {epoch}: loss {torch.stack(losses).mean().item():.4f}", flush=True)

network.eval()
for name in names("imagesTs", f"_0000{ending}"):
    parts = read_images("imagesTs", name).split(16)
    with torch.no_grad():
        found = [network(part.to(arguments.device)).softmax(dim=1).cpu() for part in parts]
    # Classes, slices, rows, columns.
    np.savez(
        arguments.output / f"{name}.npz", probabilities=torch.cat(found, dim=0).transpose(0, 1)
    )
