"""Slices as a network gets them: which ones, in which order, with which labels.

Shape legend: N slices, B slices of a batch, K channels, H height, W width.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch.utils.data import DataLoader

from labelnoise.data.storage import Dataset, LabelFile
from labelnoise.jobs.free_memory import cores, free_memory
from labelnoise.jobs.resources import BYTES_PER_CHANNEL, BYTES_PER_LABEL
from labelnoise.labels.drawing import CalibratedError, Drawer
from labelnoise.own_code import own_code_in_use, use_own_code
from labelnoise.seeds import derive
from labelnoise.study import Recipe

if TYPE_CHECKING:
    from labelnoise.training.augmentation import Augmentation

# Where the system does not say how much memory is free.
USUAL_ROOM = 2 * 1024**3


class Index(NamedTuple):
    """A slice at a step of a training.

    Attributes:
        position: its place among the rows of its set.
        epoch: counted from 0; decides the draw of the labels.
        sample: its number, counted from the first slice of the training; decides its augmentation.
    """

    position: int
    epoch: int = 0
    sample: int = 0


class Slices(torch.utils.data.Dataset):
    """Images and labels of some rows of a dataset, as batches of tensors."""

    def __init__(
        self,
        dataset: Dataset,
        rows: np.ndarray,
        labels: LabelFile | None = None,
        augmentation: "Augmentation | None" = None,
        room: int | None = None,
    ):
        """Choose the rows and their labels.

        Args:
            dataset: the dataset file.
            rows: (N,) rows of it.
            labels: perturbed labels, or None for the reference labels.
            augmentation: changes slices and labels, once these are perturbed; None leaves them.
            room: bytes of memory that slices may be held in; those that need more are read from the
                file each time. None is what `room_for_slices` says.
        """
        self.dataset, self.labels, self.augmentation = dataset, labels, augmentation
        self.rows = np.asarray(rows)
        height, width = dataset.shape
        bytes_per_pixel = BYTES_PER_CHANNEL * len(dataset.channels) + BYTES_PER_LABEL
        needed = len(self.rows) * height * width * bytes_per_pixel
        self.in_memory = needed <= (room_for_slices() if room is None else room)
        # Draws are made of the reference labels, or read instead of them.
        self._drawn_anew = labels is not None and labels.draws == "per_epoch"
        self._draws: dict[int, np.ndarray] = {}
        self._drawer: Drawer | None = None
        if self.in_memory:
            self._images_NKHW = dataset.read_images(self.rows)
            if labels is None or self._drawn_anew:
                self._reference_NHW = dataset.read_labels(self.rows)
            elif labels.draws == 1:
                # Now, so that processes that load slices share them.
                self._draws = {0: labels.read(self.rows, 0)}

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def take_work(self) -> bool:
        """Whether a batch is more than a copy: slices read or changed, or labels drawn."""
        return self._drawn_anew or self.augmentation is not None or not self.in_memory

    def __getitems__(self, indices: Sequence[Index]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return images (B, K, H, W) and labels (B, H, W), for `as_inputs`.

        They are float16 and uint8, as they are stored, which is a quarter of what they become, on
        the way between processes and to a GPU; augmented ones are float32 and int64.
        """
        positions = np.array([index.position for index in indices])
        epochs = np.array([index.epoch for index in indices])
        labels_BHW = np.empty((len(indices), *self.dataset.shape), np.uint8)
        for epoch in np.unique(epochs):
            chosen = epochs == epoch
            labels_BHW[chosen] = self._labels(positions[chosen], int(epoch))
        batch = torch.from_numpy(self._images(positions)), torch.from_numpy(labels_BHW)
        if self.augmentation is None:
            return batch
        return self.augmentation.augment(*as_inputs(batch), [index.sample for index in indices])

    def _images(self, positions):
        if self.in_memory:
            return self._images_NKHW[positions]
        return self.dataset.read_images(self.rows[positions])

    def _reference(self, positions):
        if self.in_memory:
            return self._reference_NHW[positions]
        return self.dataset.read_labels(self.rows[positions])

    def _labels(self, positions, epoch):
        """Return the labels of one epoch: stored if they are fixed or cycled, else fresh ones."""
        if self.labels is None:
            return self._reference(positions)
        if self._drawn_anew:
            if self._drawer is None:
                self._drawer = Drawer(self.dataset, CalibratedError.of(self.labels))
            return self._drawer.labels(self.rows[positions], epoch, self._reference(positions))
        draw = epoch % self.labels.draws
        if not self.in_memory:
            return self.labels.read(self.rows[positions], draw)
        if draw not in self._draws:
            self._draws = {draw: self.labels.read(self.rows, draw)}
        return self._draws[draw][positions]


def as_inputs(
    batch: tuple[torch.Tensor, torch.Tensor], device: str = "cpu"
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return a batch of Slices on a device, as networks and losses take it.

    Returns:
        Images (B, K, H, W), float32, in [-1, 1] unless the intensity's method is "none"; labels
        (B, H, W), int64.
    """
    images_BKHW, labels_BHW = (part.to(device, non_blocking=True) for part in batch)
    return images_BKHW.float(), labels_BHW.long()


def room_for_slices(needed: int = 0, threads: int = 1) -> int:
    """Return how many bytes of main memory slices may be held in.

    As many jobs of so many threads as there are cores may run at a time and hold as much.

    Args:
        needed: bytes that this process will take besides.
        threads: of a job.
    """
    free = free_memory()
    return USUAL_ROOM if free is None else max(0, free // max(1, cores() // threads) - needed)


class CycledBatches:
    """Batches of a shuffled set that is cycled: every slice comes once before any comes again.

    The order depends on the seed alone, and any batch can be made without those before it. An epoch
    is a number of steps, so it may end anywhere in the set, as in the paper's recipe.
    """

    def __init__(self, slices: int, recipe: Recipe, seed: int, done: int = 0):
        """Choose the batches of the epochs after the first `done` ones.

        Args:
            slices: number of slices in the set.
            recipe: says how many slices are in a batch, and how many steps in an epoch.
            seed: seed of the order.
            done: epochs that are done.
        """
        self.slices, self.recipe, self.seed, self.done = slices, recipe, seed, done
        self._lap, self._order_N = -1, np.empty(0, int)

    def __len__(self) -> int:
        return self.recipe.steps_per_epoch * (self.recipe.epochs - self.done)

    def __iter__(self) -> Iterator[list[Index]]:
        first = self.recipe.steps_per_epoch * self.done
        for step in range(first, first + len(self)):
            epoch = step // self.recipe.steps_per_epoch
            samples = range(step * self.recipe.batch_size, (step + 1) * self.recipe.batch_size)
            yield [Index(self._position(sample), epoch, sample) for sample in samples]

    def _position(self, sample: int) -> int:
        lap, place = divmod(sample, self.slices)
        if self._lap != lap:
            shuffle = np.random.default_rng(derive(self.seed, "lap", lap)).permutation
            self._lap, self._order_N = lap, shuffle(self.slices)
        return int(self._order_N[place])


def training_batches(
    slices: Slices, recipe: Recipe, seed: int, workers: int = 0, done: int = 0
) -> DataLoader:
    """Return the batches of a run after `done` epochs, without a pause between epochs.

    Workers help where slices are read or augmented or labels are drawn on the fly; the batches do
    not depend on their number.
    """
    sampler = CycledBatches(len(slices), recipe, seed, done)
    return DataLoader(
        slices,
        batch_sampler=sampler,
        collate_fn=_as_they_are,
        num_workers=workers if slices.take_work else 0,
        pin_memory=torch.cuda.is_available(),
        worker_init_fn=partial(_use_own_code, own_code_in_use()),
    )


def batches_in_order(
    slices: Slices, batch_size: int
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Iterate once over all slices in order, with labels of the first draw."""
    for start in range(0, len(slices), batch_size):
        stop = min(start + batch_size, len(slices))
        yield slices.__getitems__([Index(position) for position in range(start, stop)])


def _use_own_code(paths, worker):
    """Tell a process that loads slices where the user's code is; it need not be a fork of ours."""
    use_own_code(paths)


def _as_they_are(batch):
    return batch
