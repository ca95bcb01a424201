"""Viewers that look at a network after each epoch: TensorBoard, and drawings of predictions.

Shape legend: N slices, K channels, H height, W width.
"""

import logging
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from PIL import Image
from torch.utils.tensorboard import SummaryWriter

from labelnoise.data.storage import Dataset
from labelnoise.errors import InputError
from labelnoise.files import whole_file

log = logging.getLogger(__name__)

SLICES = 6


class Viewer(Protocol):
    """Looks at a network after each epoch and changes nothing in it."""

    def update(self, row: dict[str, Any], network: torch.nn.Module, device: str) -> None:
        """Look at the network, in evaluation mode, and its row of history.csv."""


class Board:
    """Shows an epoch's metrics in TensorBoard, train and validation in one chart per metric.

    A learning rate that has a schedule has a chart of its own.
    """

    def __init__(self, writer: SummaryWriter):
        self.writer = writer

    def update(self, row: dict[str, Any], network: torch.nn.Module, device: str) -> None:
        """See `Viewer`."""
        for name, value in row.items():
            if name != "epoch":
                part, metric = name.split("_")
                chart = f"{metric}/{part}" if part in ("train", "validation") else name
                self.writer.add_scalar(chart, value, row["epoch"])
        # Flushed now, since an interrupted training does not write its past epochs again.
        self.writer.flush()


@contextmanager
def open_board(folder: Path, epochs_done: int) -> Iterator[SummaryWriter]:
    """Open a run's TensorBoard: empty, or continued after the epochs that are done."""
    if not epochs_done:
        shutil.rmtree(folder, ignore_errors=True)
    later = {"purge_step": epochs_done + 1} if epochs_done else {}
    with SummaryWriter(folder, flush_secs=30, **later) as writer:
        yield writer


class VizPreds:
    """Draws a grid of image, prediction and reference side by side, one row per slice.

    Prediction and reference are foreground: all structures together. Always as PNG, in TensorBoard
    where there is a board, and in a window where one is given.
    """

    def __init__(
        self,
        folder: Path,
        images_NKHW: np.ndarray,
        references_NHW: np.ndarray,
        show: Callable[[np.ndarray], np.ndarray],
        every: int = 1,
        board: SummaryWriter | None = None,
        window: "Window | None" = None,
    ):
        """Choose what is shown: at most SLICES of the slices, evenly spaced.

        Args:
            folder: where epochNNNNN.png go; its name is the grid's name in TensorBoard.
            images_NKHW: float32 in [-1, 1].
            references_NHW: labels, 0 = background.
            show: returns the grey images (N, H, W) that are drawn, such as `Dataset.grey`.
            every: epochs between grids.
            board: TensorBoard of the run, or None.
            window: where grids are shown too, or None.
        """
        self.folder, self.every, self.board, self.window = Path(folder), every, board, window
        shown = evenly_spaced(len(images_NKHW), SLICES)
        self._inputs_NKHW = torch.as_tensor(images_NKHW[shown])
        self._images_NHW = (show(np.asarray(images_NKHW[shown])) + 1) / 2
        self._references_NHW = np.asarray(references_NHW[shown]) > 0

    @torch.no_grad()
    def update(self, row: dict[str, Any], network: torch.nn.Module, device: str) -> None:
        """Draw a grid if it is this epoch's turn; see `Viewer`."""
        epoch = row["epoch"]
        if epoch % self.every:
            return
        logits_NCHW = network(self._inputs_NKHW.to(device)).float()
        foreground_NHW = (1 - logits_NCHW.softmax(dim=1)[:, 0]).cpu().numpy()
        grid = make_grid(self._images_NHW, foreground_NHW, self._references_NHW)
        with whole_file(self.folder / f"epoch{epoch:05d}.png") as temporary:
            Image.fromarray(grid).save(temporary)
        if self.board is not None:
            self.board.add_image(f"predictions/{self.folder.name}", grid, epoch, dataformats="HW")
        if self.window is not None:
            self.window.show(grid, f"epoch {epoch}: image, prediction, reference")


def make_grid(*columns_NHW: np.ndarray) -> np.ndarray:
    """Return columns of slices side by side; values in [0, 1] become grey levels, uint8."""
    rows = [np.hstack(row) for row in zip(*columns_NHW, strict=True)]
    return (np.vstack(rows).astype(float) * 255).round().astype(np.uint8)


def evenly_spaced(total: int, most: int) -> np.ndarray:
    """Return at most `most` of the positions 0 ... total - 1, the first and the last among them."""
    return np.linspace(0, total - 1, min(most, total)).round().astype(int)


class Window:
    """A window that shows the latest grid until the user closes it."""

    def __init__(self, title: str):
        """Open nothing yet; the first grid opens the window."""
        self.title, self._failed = title, False
        self._picture: Any = None

    def show(self, grid_HW: np.ndarray, caption: str) -> None:
        """Show a grid. If the display fails, this stops showing, and the training goes on."""
        import matplotlib.pyplot as plt

        if self._failed:
            return
        try:
            if self._picture is None:
                plt.ion()
                figure, axes = plt.subplots(num=self.title, layout="constrained")
                axes.set_axis_off()
                self._picture = axes.imshow(grid_HW, cmap="gray", vmin=0, vmax=255)
                figure.show()
            if not plt.fignum_exists(self.title):
                return
            self._picture.set_data(grid_HW)
            self._picture.axes.set_title(caption)
            self._picture.figure.canvas.draw()
            self._picture.figure.canvas.flush_events()
        except Exception as error:
            log.warning("the window fails (%s); predictions are still written as PNG files", error)
            self._failed = True


def open_window(title: str) -> Window | None:
    """Return a Window where there is a display, else None."""
    import matplotlib.pyplot as plt
    from matplotlib.backends import BackendFilter, backend_registry

    # matplotlib chooses the backend here; without a display it is not an interactive one.
    if plt.get_backend().lower() in backend_registry.list_builtin(BackendFilter.INTERACTIVE):
        return Window(title)
    log.info("no display, so predictions are shown as PNG files and in TensorBoard")
    return None


def read_pair(
    folder: Path, command: str, channels: int | None = 1
) -> tuple[np.ndarray, np.ndarray]:
    """Read the x*.npy, y*.npy pair of a dataset's viz folder.

    Args:
        folder: viz/<dataset>. x is (N, H, W, K), or (N, H, W) of one channel, in source units (HU
            for CT); y is binary, (N, H, W, 2) with the structure first as in the 2018 code,
            (N, H, W, 1) or (N, H, W).
        command: what makes a pair, for messages.
        channels: K; None for any.

    Returns:
        images_NKHW in source units, references_NHW bool.

    Raises:
        InputError: there is no pair, or more than one, or its arrays do not fit each other.
    """
    x_path, y_path = (_find(folder, letter, command) for letter in "xy")
    images_NKHW = _channels_first(x_path, _load(x_path), channels)
    references_NHW = _drop_channel(y_path, _load(y_path))
    sizes = _size(images_NKHW[:, 0]), _size(references_NHW)
    if sizes[0] != sizes[1]:
        raise InputError(
            f"{x_path} holds {sizes[0]} slices but {y_path} {sizes[1]} (slices x height x width); "
            f"make a pair with `{command}`."
        )
    if not np.isfinite(images_NKHW).all():
        raise InputError(f"{x_path} holds NaN or infinity; give it finite values.")
    return images_NKHW, references_NHW.astype(bool)


def write_pair(data: Dataset, folder: Path, slices: int) -> list[Path]:
    """Write evenly spaced validation slices of a dataset as a pair in the 2018 code's shapes.

    Args:
        data: the dataset file.
        folder: gets xviz.npy, (N, H, W, K) float32 in source units, as far as the dataset holds
            them, and yviz.npy, (N, H, W, 2) uint8: any structure, background.
        slices: how many, at most.

    Returns:
        The two paths.
    """
    rows = data.rows("validation")
    chosen = rows[evenly_spaced(len(rows), slices)]
    images_NKHW, labels_NHW = data.read(chosen)
    for row, image_KHW in zip(chosen, images_NKHW, strict=True):
        for image_HW, scale in zip(image_KHW, data.scales(int(row)), strict=True):
            image_HW[...] = scale.restore(image_HW)
    arrays: dict[str, np.ndarray] = {
        "xviz.npy": np.moveaxis(images_NKHW, 1, 3),
        "yviz.npy": np.stack([labels_NHW > 0, labels_NHW == 0], axis=-1).astype(np.uint8),
    }
    for name, array in arrays.items():
        with whole_file(folder / name) as temporary:
            np.save(temporary, array)
    return [folder / name for name in arrays]


def _find(folder: Path, letter: str, command: str) -> Path:
    found = sorted(path for path in folder.glob("*.npy") if path.name.lower().startswith(letter))
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or f"no {letter}*.npy"
        mend = "keep one" if found else f"make a pair with `{command}`"
        raise InputError(f"{folder} holds {names}, expected one {letter}*.npy; {mend}.")
    return found[0]


def _load(path):
    try:
        array = np.load(path)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{path} cannot be read as an array ({error}); write it anew.") from None
    if array.dtype.kind not in "buif":
        raise InputError(f"{path} holds {array.dtype}, expected real numbers.")
    return array


def _channels_first(path, array, channels):
    """Return (N, K, H, W), K being `channels` where they are known; (N, H, W) is one channel."""
    may_be_one = channels in (1, None)
    whole = array[..., None] if array.ndim == 3 and may_be_one else array
    if whole.ndim != 4 or (channels or whole.shape[3]) != whole.shape[3] or not array.size:
        expected = f"(n, H, W, {channels or 'channels'}){' or (n, H, W)' if may_be_one else ''}"
        raise InputError(f"{path} has shape {array.shape}, expected {expected}.")
    return np.moveaxis(whole, 3, 1)


def _drop_channel(path, array):
    """Return (N, H, W); of two channels the first, once they are checked to be one-hot."""
    if not (array.ndim == 3 or (array.ndim == 4 and array.shape[3] in (1, 2))) or not array.size:
        raise InputError(
            f"{path} has shape {array.shape}, expected (n, H, W, 1), (n, H, W, 2) or (n, H, W)."
        )
    if not np.isin(array, (0, 1)).all():
        raise InputError(f"{path} is not binary; its values must be 0 and 1.")
    if array.ndim == 3:
        return array
    if array.shape[3] == 2 and not (array.sum(axis=3) == 1).all():
        raise InputError(f"{path} is not one-hot; in each pixel one of its two channels must be 1.")
    return array[..., 0]


def _size(array):
    return " x ".join(map(str, array.shape))
