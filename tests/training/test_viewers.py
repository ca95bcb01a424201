"""Pictures of predictions: what they show, where they go, and which pairs of arrays are refused."""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from labelnoise.data.intensity import scale_channels
from labelnoise.data.storage import Dataset
from labelnoise.errors import InputError
from labelnoise.training import viewers
from labelnoise.training.viewers import VizPreds, read_pair, write_pair
from tiny import train, write_discs, write_files

COMMAND = "python scripts/make_viz.py lis"


class Bright(torch.nn.Module):
    """Calls a pixel foreground, for certain, where the image is above 0."""

    def forward(self, images_N1HW):
        foreground_NHW = torch.where(images_N1HW[:, 0] > 0, 99.0, -99.0)
        return torch.stack([-foreground_NHW, foreground_NHW], dim=1)


def first_channel(images_NKHW):
    return images_NKHW[:, 0]


def pair(folder, x, y):
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in (("x", x), ("y", y)):
        if array is not None:
            np.save(folder / f"{name}viz.npy", array)
    return folder


def test_a_grid_is_image_prediction_reference(tmp_path):
    images_NHW = np.full((2, 4, 4), -1, np.float32)
    images_NHW[0, :, :2] = 1
    references_NHW = np.zeros((2, 4, 4), np.uint8)
    references_NHW[1, 3] = 2
    viewer = VizPreds(tmp_path / "viz", images_NHW[:, None], references_NHW, first_channel)
    viewer.update({"epoch": 3}, Bright(), "cpu")
    expected = np.zeros((8, 12))
    expected[:4, :2] = expected[:4, 4:6] = 255
    expected[7, 8:] = 255
    with Image.open(tmp_path / "viz/epoch00003.png") as image:
        np.testing.assert_array_equal(np.asarray(image), expected)


def test_only_every_kth_epoch_and_a_few_slices_are_shown(tmp_path):
    images_NHW = np.zeros((40, 5, 5), np.float32)
    viewer = VizPreds(tmp_path, images_NHW[:, None], images_NHW, first_channel, every=2)
    for epoch in range(1, 6):
        viewer.update({"epoch": epoch}, Bright(), "cpu")
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "epoch00002.png",
        "epoch00004.png",
    ]
    with Image.open(tmp_path / "epoch00002.png") as image:
        assert image.size == (15, 5 * viewers.SLICES)


X = np.random.default_rng(0).uniform(-1000, 1000, (3, 6, 8))
Y = (X > 0).astype(np.uint8)


@pytest.mark.parametrize("x", [X, X[..., None], X[..., None].astype(np.int16)])
@pytest.mark.parametrize(
    "y", [Y, Y[..., None], np.stack([Y, 1 - Y], -1), Y.astype(bool), Y.astype(float)]
)
def test_every_shape_of_the_2018_code_is_read(tmp_path, x, y):
    images_NKHW, references_NHW = read_pair(pair(tmp_path / "lis", x, y), COMMAND)
    np.testing.assert_array_equal(references_NHW, Y == 1)
    np.testing.assert_array_equal(images_NKHW, x.reshape(3, 1, 6, 8))


NAN = X.copy()
NAN[0, 0, 0] = np.nan


@pytest.mark.parametrize(
    ("x", "y", "says"),
    [
        (X, None, r"lis holds no y\*\.npy, expected one .*make_viz\.py lis"),
        (None, Y, r"lis holds no x\*\.npy"),
        (X, Y[:2], r"3 x 6 x 8 slices but .*yviz.npy 2 x 6 x 8"),
        (X, Y * 255, "yviz.npy is not binary"),
        (X, np.stack([Y, Y], -1), "yviz.npy is not one-hot"),
        (np.stack([X, X], -1), Y, r"xviz.npy has shape \(3, 6, 8, 2\), expected \(n, H, W, 1\)"),
        (X[0], Y[0], r"xviz.npy has shape \(6, 8\)"),
        (X[:0], Y[:0], r"xviz.npy has shape \(0, 6, 8\)"),
        (NAN, Y, "xviz.npy holds NaN"),
        (X.astype(str), Y, "xviz.npy holds <U"),
    ],
)
def test_a_bad_pair_is_named(tmp_path, x, y, says):
    with pytest.raises(InputError, match=says):
        read_pair(pair(tmp_path / "lis", x, y), COMMAND)


def test_two_pairs_and_broken_files_are_refused(tmp_path):
    folder = pair(tmp_path / "lis", X, Y)
    shutil.copy(folder / "xviz.npy", folder / "X-2.npy")
    with pytest.raises(InputError, match=r"holds X-2\.npy, xviz\.npy, expected one .*keep one"):
        read_pair(folder, COMMAND)
    (folder / "X-2.npy").unlink()
    (folder / "xviz.npy").write_bytes(b"no array")
    with pytest.raises(InputError, match=r"xviz\.npy cannot be read as an array"):
        read_pair(folder, COMMAND)


def test_a_pair_from_a_dataset_gives_its_slices_back(tmp_path):
    with Dataset(write_discs(tmp_path / "discs.h5")) as data:
        paths = write_pair(data, tmp_path / "viz/discs", slices=3)
        images_NKHW, labels_NHW = data.read(data.rows("validation")[[0, 2, 3]])
        assert [np.load(path).shape for path in paths] == [(3, 24, 24, 1), (3, 24, 24, 2)]
        assert np.load(paths[0]).max() > 50
        found = read_pair(tmp_path / "viz/discs", COMMAND)
        scaled_NKHW = scale_channels(data.intensities, found[0])
    np.testing.assert_allclose(scaled_NKHW, images_NKHW, atol=1e-5)
    np.testing.assert_array_equal(found[1], labels_NHW > 0)


def test_training_shows_the_pair_after_every_epoch(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    files = write_files(tmp_path)
    with Dataset(files["dataset"]) as data:
        write_pair(data, tmp_path / "viz/discs", slices=2)
    plain = train(tmp_path / "plain", files)
    shown = train(tmp_path / "shown", files, viz=tmp_path / "viz/discs", preview_every=3)
    assert shown.history.read_bytes() == plain.history.read_bytes()
    assert {path.relative_to(shown.path).as_posix() for path in shown.path.rglob("*.png")} == {
        "viz/epoch00001.png",
        "viz/epoch00002.png",
        "viz/epoch00003.png",
        "previews/epoch00003.png",
    }
    events = EventAccumulator(str(shown.tensorboard), size_guidance={"images": 0}).Reload()
    assert [event.step for event in events.Images("predictions/viz")] == [1, 2, 3]
    assert [event.step for event in events.Images("predictions/previews")] == [3]


def test_a_pair_that_nobody_asked_for_is_not_shown(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    files = write_files(tmp_path)
    with Dataset(files["dataset"]) as data:
        write_pair(data, Path("viz/discs"), slices=2)
    folder = train("run", files)
    assert not list(folder.path.rglob("*.png"))


def test_without_a_display_there_is_no_window(monkeypatch):
    monkeypatch.setenv("MPLBACKEND", "agg")
    assert viewers.open_window("run") is None


SHOW = """
import numpy as np
from labelnoise.training.viewers import open_window
window = open_window("run")
for grey in (0, 200):
    window.show(np.full((20, 30), grey, np.uint8), f"grey {grey}")
import matplotlib.pyplot as plt
manager = plt.figure("run").canvas.manager
manager.window.update()
pixels = np.asarray(manager.canvas.buffer_rgba())
print(plt.get_backend(), manager.window.winfo_viewable(), (pixels[..., 0] == 200).mean() > 0.1)
plt.close("run")
window.show(np.zeros((20, 30), np.uint8), "after the user closed it")
print(plt.get_fignums())
"""


@pytest.mark.skipif(
    not shutil.which("xvfb-run") or importlib.util.find_spec("tkinter") is None,
    reason="needs xvfb-run and tkinter",
)
def test_a_window_shows_the_newest_grid():
    variables = {key: value for key, value in os.environ.items() if key != "MPLBACKEND"}
    variables["PYTHONPATH"] = str(Path(__file__).parents[2] / "scripts")
    done = subprocess.run(
        ["xvfb-run", "-a", sys.executable, "-c", SHOW],
        capture_output=True,
        text=True,
        env=variables,
        check=False,
    )
    assert done.stdout.splitlines() == ["tkagg 1 True", "[]"], done.stderr


@pytest.mark.parametrize("known", [3, None])
def test_a_pair_of_several_channels(tmp_path, known):
    colours = np.stack([X, X + 1, X + 2], axis=-1)
    folder = pair(tmp_path / "lis", colours, Y)
    images_NKHW, _ = read_pair(folder, COMMAND, known)
    np.testing.assert_array_equal(images_NKHW, np.stack([X, X + 1, X + 2], axis=1))
    with pytest.raises(InputError, match=r"xviz.npy has shape .*expected \(n, H, W, 4\)\."):
        read_pair(folder, COMMAND, 4)
    pair(tmp_path / "lis", X, Y)
    if known == 3:
        with pytest.raises(InputError, match=r"shape \(3, 6, 8\), expected \(n, H, W, 3\)\."):
            read_pair(folder, COMMAND, known)
