"""Augmentation: random changes of training slices, drawn anew each time that a slice is seen.

The changes are those that nnU-Net makes of 2-D slices (Isensee et al. 2021, "nnU-Net",
supplementary note 4), and the elastic one of U-Net, by the functions of torchvision. Image and
label move together, after the label error was drawn, and all channels alike; contrast is about the
mean of each. Shape legend: N slices, K channels, H height, W width.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import ceil, cos, radians, sin
from typing import Any

import numpy as np
import torch
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional

# In the order in which they are made. Each has a place in a sample's draws, so that leaving one out
# leaves the others as they are.
CHANGES = (
    "rotation",
    "scaling",
    "elastic",
    "flip_horizontal",
    "flip_vertical",
    "noise",
    "blur",
    "brightness",
    "contrast",
    "gamma",
)
# Random displacements along a side, as in Ronneberger et al. 2015, "U-Net", section 3.1.
KNOTS = 3


class Augmentation:
    """The random changes that a recipe asks for."""

    def __init__(self, settings: Mapping[str, Mapping[str, Any]], seed: int):
        """Choose the changes.

        Args:
            settings: {change: its probability and the range of its size}, as the schema defines
                them; a change that is not named is not made.
            seed: seed of all draws.
        """
        self.settings, self.seed = settings, seed

    def augment(
        self, images_NKHW: torch.Tensor, labels_NHW: torch.Tensor, samples: Sequence[int]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return changed slices, images interpolated linearly and labels by the nearest pixel.

        A slice's changes depend on the seed and its sample's number alone: not on the batch it is
        in, nor on processes or threads.

        Args:
            images_NKHW: float32 in [-1, 1].
            labels_NHW: int64 class indices.
            samples: each slice's number, counted from the first step of the training.

        Returns:
            Images, in [-1, 1], and labels of the same shapes and types. What comes in from beyond
            the slice is -1 and background.
        """
        with _one_thread():
            pairs = [
                self.change(image_KHW, label_HW, sample)
                for image_KHW, label_HW, sample in zip(
                    images_NKHW, labels_NHW, samples, strict=True
                )
            ]
        images, labels = zip(*pairs, strict=True)
        return torch.stack(images), torch.stack(labels)

    def change(
        self, image_KHW: torch.Tensor, label_HW: torch.Tensor, sample: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return one slice and its label, changed as their sample's number says."""
        rng = np.random.default_rng(np.random.SeedSequence([self.seed, sample]))
        knots_2KK = rng.standard_normal((2, KNOTS, KNOTS), np.float32)
        draws = rng.random((len(CHANGES), 2))
        made = {
            name: _within(self.settings[name], size)
            for name, (chance, size) in zip(CHANGES, draws, strict=True)
            if name in self.settings and chance < self.settings[name]["probability"]
        }
        if made.keys() & {"rotation", "scaling", "elastic"}:
            shift_1HW2 = _displacement(label_HW.shape, made, torch.from_numpy(knots_2KK))
            # Shifted so that what comes in from beyond the slice, 0, is the low end of the window.
            image_KHW = functional.elastic(image_KHW + 1, shift_1HW2) - 1
            label_HW = functional.elastic(label_HW[None], shift_1HW2, InterpolationMode.NEAREST)[0]
        flipped = [
            axis for axis, name in ((-1, "horizontal"), (-2, "vertical")) if f"flip_{name}" in made
        ]
        image_KHW, label_HW = image_KHW.flip(flipped), label_HW.flip(flipped)
        if "noise" in made:
            noise_KHW = rng.standard_normal(image_KHW.shape, np.float32) * np.float32(made["noise"])
            image_KHW = (image_KHW + torch.from_numpy(noise_KHW)).clamp(-1, 1)
        if "blur" in made:
            image_KHW = _blur(image_KHW, made["blur"])
        if made.keys() & {"brightness", "contrast", "gamma"}:
            image_KHW = _regrade(image_KHW, made)
        return image_KHW, label_HW


def _within(settings: Mapping[str, Any], share: float) -> float:
    """Return the size at a share of the way through a change's range; a flip has none."""
    low, high = next((value for value in settings.values() if isinstance(value, list)), (0.0, 1.0))
    return low + (high - low) * share


def _displacement(
    shape: tuple[int, ...], made: Mapping[str, float], knots_2KK: torch.Tensor
) -> torch.Tensor:
    """Return where each pixel comes from, relative to itself, as torchvision's `elastic` takes it.

    Rotation and scaling about the centre, and the bicubic surface through random displacements of
    KNOTS x KNOTS points, the outer ones in the corners: in one, so that pixels are interpolated
    once.

    Returns:
        (1, H, W, 2): x and y, where 2 is the slice's width and height.
    """
    height, width = shape
    angle, factor = radians(made.get("rotation", 0.0)), made.get("scaling", 1.0)
    x_1W = torch.linspace(1 / width - 1, 1 - 1 / width, width)[None]
    y_H1 = torch.linspace(1 / height - 1, 1 - 1 / height, height)[:, None]
    across, along = cos(angle) / factor, sin(angle) / factor
    # Pixels are square where the slice is not.
    shift_HW2 = torch.stack(
        [
            (across - 1) * x_1W - along * height / width * y_H1,
            along * width / height * x_1W + (across - 1) * y_H1,
        ],
        dim=-1,
    )
    if "elastic" in made:
        surface_12HW = torch.nn.functional.interpolate(
            knots_2KK[None], (height, width), mode="bicubic", align_corners=True
        )
        shift_HW2 = shift_HW2 + 2 * made["elastic"] * surface_12HW[0].permute(1, 2, 0)
    return shift_HW2[None]


def _blur(image_KHW: torch.Tensor, sigma: float) -> torch.Tensor:
    # The mirrored border is narrower than the slice.
    radius = min(ceil(3 * sigma), min(image_KHW.shape[-2:]) - 1)
    return functional.gaussian_blur(image_KHW, [2 * radius + 1] * 2, [sigma, sigma])


def _regrade(image_KHW: torch.Tensor, made: Mapping[str, float]) -> torch.Tensor:
    """Change grey values, which torchvision takes from 0 to 1 and keeps there."""
    # As one grey image each, since torchvision knows no other number of channels than 1 and 3.
    grey_K1HW = (image_KHW[:, None] + 1) / 2
    if "brightness" in made:
        grey_K1HW = functional.adjust_brightness(grey_K1HW, made["brightness"])
    if "contrast" in made:
        grey_K1HW = functional.adjust_contrast(grey_K1HW, made["contrast"])
    if "gamma" in made:
        grey_K1HW = functional.adjust_gamma(grey_K1HW, made["gamma"])
    return grey_K1HW[:, 0] * 2 - 1


@contextmanager
def _one_thread() -> Iterator[None]:
    """Compute with one thread, as a process that loads slices does: sums depend on the number."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
