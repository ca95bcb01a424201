"""Checkpoints that need no config to be read, and TopNSaver, which keeps the best N."""

import math
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike

from labelnoise.config.channels import ONE
from labelnoise.data.intensity import Intensity, read_intensities
from labelnoise.data.new_images import Preparation, Prepared, check_images
from labelnoise.data.resize import restore_probabilities
from labelnoise.errors import InputError
from labelnoise.files import read_json
from labelnoise.networks import make_network
from labelnoise.own_code import is_own, own_file, use_own_code
from labelnoise.study import CHECKPOINT, Recipe, RunFolder
from labelnoise.training.archive import read_archive, write_archive

FORMAT = "labelnoise-checkpoint"
FORMAT_VERSION = 1


class TopNSaver:
    """Keeps the checkpoints of the best N epochs by one recorded metric.

    Of equal values the earlier epoch is the better one. An epoch whose metric is NaN is never kept.
    """

    def __init__(self, folder: Path, recipe: Recipe, description: dict[str, Any]):
        """Start with nothing kept.

        Args:
            folder: existing folder that the checkpoints are written to.
            recipe: its `monitor`, `mode` and `keep` say which checkpoints are kept, and how many.
            description: what rebuilds the network and says how it was trained, see `save`.
        """
        self.folder, self.description = folder, description
        self.keep, self.monitor, self.mode = recipe.keep, recipe.monitor, recipe.mode
        self.kept: list[dict[str, Any]] = []

    def add(self, epoch: int, metrics: dict[str, Any], network: torch.nn.Module) -> None:
        """Keep this epoch's network if it is among the best N so far.

        The file of the checkpoint that it displaces stays until `sweep`, so that a training state
        written in between never names a file that is gone.
        """
        if math.isnan(metrics[self.monitor]):
            return
        ranking = sorted([*self.kept, {"epoch": epoch, "metrics": metrics}], key=self._order)
        self.kept = ranking[: self.keep]
        if any(entry["epoch"] == epoch for entry in self.kept):
            save(
                self._path(epoch), network, {**self.description, "epoch": epoch, "metrics": metrics}
            )

    def sweep(self) -> None:
        """Delete the checkpoints of epochs that are not kept."""
        kept = {self._path(entry["epoch"]) for entry in self.kept}
        for path in set(self.folder.glob("epoch*.pt")) - kept:
            path.unlink()

    def finish(self, folder: Path) -> list[dict[str, Any]]:
        """Put the kept checkpoints into a folder as top1.pt, top2.pt ... and list them, best first.

        They stay here as well, so that this can be repeated after an interruption.

        Returns:
            A list of {"rank", "epoch", "metrics"}.

        Raises:
            InputError: the metric was NaN in every epoch.
        """
        if not self.kept:
            raise InputError(
                f"no checkpoint could be kept, since {self.monitor} was never a number; choose "
                "another monitor, or validation cases that show the structure."
            )
        for rank, entry in enumerate(self.kept, start=1):
            _link_or_copy(self._path(entry["epoch"]), folder / CHECKPOINT.format(rank=rank))
        return [{"rank": rank, **entry} for rank, entry in enumerate(self.kept, start=1)]

    def _order(self, entry):
        value = entry["metrics"][self.monitor]
        return (value if self.mode == "min" else -value, entry["epoch"])

    def _path(self, epoch):
        return self.folder / f"epoch{epoch:05d}.pt"


def _link_or_copy(source, target):
    try:
        os.link(source, target)
    except OSError:
        # Not every file system has links.
        shutil.copyfile(source, target)


def save(path: Path, network: torch.nn.Module, description: dict[str, Any]) -> None:
    """Write a network's weights with the description that `load` needs."""
    state = {name: tensor.detach().cpu() for name, tensor in network.state_dict().items()}
    content = {"format": FORMAT, "format_version": FORMAT_VERSION, **description, "state": state}
    write_archive(path, content)


@dataclass
class TrainedNetwork:
    """A network, with what is known about its training.

    Attributes:
        network: the module, in evaluation mode, on the CPU; it may be moved.
        description: dataset, how its images were prepared, class names, model, recipe,
            perturbation, repeat, seed, epoch, metrics.
    """

    network: torch.nn.Module
    description: dict[str, Any]

    def predict(
        self, images: ArrayLike, batch_size: int = 8, *, spacing_3: ArrayLike | None = None
    ) -> np.ndarray:
        """Return each pixel's class probabilities, on the grid of the images given.

        They are prepared as the training images were: intensities scaled, slices padded or cut and
        resampled, and the probabilities brought back by linear interpolation. Background is certain
        where the network does not look, as the slices reach beyond what its dataset kept.

        Args:
            images: slices of one case in the units of the source (HU for CT), of any real number
                type, (S, K, H, W) with the channels of the dataset in its order; of one channel
                also (S, H, W), or one slice, (H, W). All slices of the case where an intensity is
                fitted to each case. They lie as the source's did, see `data.sources.volumes`.
            batch_size: slices at a time.
            spacing_3: mm between slices, rows and columns. A dataset with `spacing` needs it; one
                with `size` takes pixels for square without it.

        Returns:
            Probabilities (S, C, H, W), float32; class 0 is the background.

        Raises:
            InputError: the images are not finite real numbers, have other axes or channels, or the
                dataset would not have taken them, see `data.new_images`.
        """
        case = self.prepare(images, spacing_3)
        slices, classes = len(case.images_SKHW), len(self.description["class_names"])
        result_SCHW = np.empty((slices, classes, *case.grid.source_shape), np.float32)
        for rows, probabilities_NCHW in self.predict_prepared(case, batch_size):
            result_SCHW[rows] = probabilities_NCHW
        return result_SCHW

    @property
    def channels(self) -> list[str]:
        """Names of the channels that the network sees, in their order."""
        # Checkpoints written before there was a choice have one.
        return list(self.description.get("channels", [ONE]))

    @property
    def intensities(self) -> dict[str, Intensity]:
        """How the source values of each channel become those that the network sees."""
        # Checkpoints written before there was a choice have a window.
        if "intensity" in self.description:
            return read_intensities(self.channels, self.description["intensity"])
        return {ONE: Intensity.of_window(*self.description["window"])}

    def prepare(self, images: ArrayLike, spacing_3: ArrayLike | None = None) -> Prepared:
        """Return one case as the training images were prepared; see `predict`."""
        size = self.description.get("size")
        shape_HW = None if size is None else (int(size[0]), int(size[1]))
        preparation = Preparation(self.intensities, shape_HW, self.description.get("grid"))
        return preparation.fit(check_images(images, self.channels), spacing_3)

    def predict_prepared(
        self, case: Prepared, batch_size: int = 8
    ) -> Iterator[tuple[slice, np.ndarray]]:
        """Yield rows of a case and their probabilities, as `predict` returns them, in order."""
        for start in range(0, len(case.images_SKHW), batch_size):
            rows = slice(start, start + batch_size)
            probabilities_NCHW = self.predict_scaled(case.read(rows), batch_size)
            yield rows, restore_probabilities(probabilities_NCHW, case.grid)

    def predict_rows(self, rows: Sequence[int], images_NKHW: np.ndarray) -> np.ndarray:
        """Return what `predict_scaled` does, given also which rows of a dataset the slices are."""
        return self.predict_scaled(images_NKHW)

    @torch.no_grad()
    def predict_scaled(self, images_NKHW: np.ndarray, batch_size: int = 8) -> np.ndarray:
        """Return the probabilities of slices as a dataset file holds them, on their own grid.

        Args:
            images_NKHW: see `Dataset.read`; those of one channel may come as (N, H, W).
            batch_size: slices at a time.
        """
        inputs_NKHW = torch.from_numpy(images_NKHW)
        if inputs_NKHW.ndim == 3:
            inputs_NKHW = inputs_NKHW[:, None]
        device = next((each.device for each in self.network.parameters()), torch.device("cpu"))
        parts = [
            self.network(part.to(device)).float().softmax(dim=1).cpu()
            for part in inputs_NKHW.split(batch_size)
        ]
        return torch.cat(parts).numpy()


def load(
    path: Path, modules: Path | str | None = None, network: torch.nn.Module | None = None
) -> TrainedNetwork:
    """Rebuild the network of one checkpoint file.

    Args:
        path: the file.
        modules: folder of the file that a network of the user's own is from; None is where
            `use_own_code` says, or else the working folder.
        network: of an earlier checkpoint of the same run, which takes the weights of this one; None
            makes one.

    Returns:
        A TrainedNetwork.

    Raises:
        InputError: the file is damaged, is not a checkpoint of this project, or not of this
            version; or the user's own code is missing, or is not what the network was trained with.
    """
    try:
        content = read_archive(path)
    except FileNotFoundError:
        raise InputError(
            f"there is no checkpoint {path}; name a run folder or a .pt file."
        ) from None
    except InputError as error:
        raise InputError(
            f"{path} cannot be read as a checkpoint, since it {error}; delete its run folder and "
            "let snakemake train it again."
        ) from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise InputError(f"{path} is not a checkpoint of this project; name one that it trained.")
    if content["format_version"] != FORMAT_VERSION:
        raise InputError(
            f"{path} is a checkpoint of version {content['format_version']}, expected "
            f"{FORMAT_VERSION}; train the run again."
        )
    state = content.pop("state")
    model = content["model"]
    if "weights" in model:
        # The state holds the encoder's weights: nothing needs to be downloaded.
        model = {**model, "weights": None}
    name = model["network"]
    if modules is not None and is_own(name):
        file = Path(modules).absolute() / own_file(name)
        use_own_code({file.stem: file})
    if network is None:
        try:
            channels, classes = content.get("channels", [ONE]), content["class_names"]
            network = make_network(model, len(channels), len(classes))
        except InputError as error:
            if is_own(name):
                raise InputError(f"{path} needs code that is not its own: {error}") from error
            raise
        # As it was trained, see `fit`: a fifth faster.
        network.to(memory_format=torch.channels_last)
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise InputError(
            f"{path} holds other weights than {model['network']} has in this version of the code; "
            "read it with the version that trained it, or train the run again."
        ) from error
    return TrainedNetwork(network.eval(), content)


def load_run(path: Path | str, modules: Path | str | None = None) -> TrainedNetwork:
    """Rebuild the network that a run is scored by, without the config.

    Args:
        path: a run folder (then the chosen checkpoint) or one checkpoint file.
        modules: see `load`. No code that lies in the run folder is ever run.

    Returns:
        A TrainedNetwork.

    Raises:
        InputError: see `load`; or the folder holds no finished run.
    """
    path = Path(path)
    if not path.is_dir():
        return load(path, modules)
    folder = RunFolder(path)
    if not folder.record.exists():
        raise InputError(
            f"{path} holds no {folder.record.name}; name the folder of a finished run."
        )
    if folder.predictions.exists():
        raise InputError(
            f"{path} is of a trainer, whose network stays its own: the folder holds what it "
            f"predicts for the study's slices, in {folder.predictions.name}; name the folder of a "
            "run of a network."
        )
    rank = read_json(folder.record, ("chosen_rank",))["chosen_rank"]
    return load(folder.checkpoint(rank), modules)
