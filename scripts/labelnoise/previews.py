"""Grids of predictions that show how a network's idea of the structure forms, epoch by epoch."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from labelnoise.files import whole_file

SLICES = 6


class Previews:
    """Draws validation slices every k epochs: image, reference, prediction, one row a slice."""

    def __init__(self, folder, every, slices):
        """Choose the slices, evenly spaced over the set.

        Args:
            folder: where epochNNNNN.png go.
            every: epochs between grids, k; 0 draws none.
            slices: the validation Slices.
        """
        self.folder, self.every, self.slices = Path(folder), every, slices
        shown = np.linspace(0, len(slices) - 1, min(SLICES, len(slices))).round().astype(int)
        self._indices = [(int(position), 0) for position in shown]

    @torch.no_grad()
    def update(self, epoch, network, device):
        """Draw a grid if it is this epoch's turn; the network must be in evaluation mode."""
        if self.every == 0 or epoch % self.every:
            return
        images_N1HW, labels_NHW = self.slices.__getitems__(self._indices)
        foreground_NHW = 1 - network(images_N1HW.to(device)).float().softmax(dim=1)[:, 0]
        columns = ((images_N1HW[:, 0] + 1) / 2, (labels_NHW > 0).float(), foreground_NHW.cpu())
        rows = [
            np.hstack([column[n].numpy() for column in columns]) for n in range(len(labels_NHW))
        ]
        with whole_file(self.folder / f"epoch{epoch:05d}.png") as temporary:
            Image.fromarray((np.vstack(rows) * 255).round().astype(np.uint8)).save(temporary)
