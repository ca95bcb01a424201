"""TopNSaver keeps the best N; a checkpoint rebuilds its network without the config."""

import math

import numpy as np
import pytest
import torch

from damage import damage
from labelnoise.data.intensity import Intensity, Scale
from labelnoise.data.storage import SPLITS, Dataset, write_dataset
from labelnoise.errors import InputError
from labelnoise.networks import make_network
from labelnoise.own_code import digest_of
from labelnoise.training.checkpoints import TopNSaver, load, load_run, save
from labelnoise.training.run import describe_files
from own_modules import NET, write
from tiny import MODEL, make_recipe

DESCRIPTION = {
    "dataset": "phantom",
    "model": MODEL,
    "class_names": ["background", "liver"],
    "window": [-100.0, 300.0],
    "epoch": 4,
    "metrics": {"validation_dice": 0.5},
}


def keep(folder, values, n, mode):
    """Epochs that are kept, best first, when the monitor runs through the values."""
    monitor = {"max": "validation_dice", "min": "validation_loss"}[mode]
    saver = TopNSaver(folder, make_recipe(keep=n, epochs=9, monitor=monitor), {})
    network = torch.nn.Linear(1, 1)
    for epoch, value in enumerate(values, start=1):
        saver.add(epoch, {monitor: value}, network)
        saver.sweep()
        assert len(list(folder.glob("epoch*.pt"))) == min(n, len(saver.kept))
    return [entry["epoch"] for entry in saver.finish(folder)]


@pytest.mark.parametrize(
    ("values", "n", "mode", "epochs"),
    [
        ([0.1, 0.9, 0.5, 0.7], 2, "max", [2, 4]),
        ([0.1, 0.9, 0.5, 0.7], 2, "min", [1, 3]),
        ([0.5, 0.5, 0.5], 2, "max", [1, 2]),
        ([0.5, 0.5, 0.5], 2, "min", [1, 2]),
        ([math.nan, 0.2, math.nan, 0.1], 3, "max", [2, 4]),
        ([0.3], 5, "min", [1]),
    ],
)
def test_the_best_n_are_kept(tmp_path, values, n, mode, epochs):
    assert keep(tmp_path, values, n, mode) == epochs
    names = {f"top{rank}.pt" for rank in range(1, len(epochs) + 1)}
    assert {path.name for path in tmp_path.glob("top*.pt")} == names


def test_the_kept_weights_are_those_of_their_epoch(tmp_path):
    saver = TopNSaver(tmp_path, make_recipe(keep=1, monitor="validation_dice"), {})
    network = torch.nn.Linear(1, 1, bias=False)
    for epoch, dice in enumerate([0.1, 0.8, 0.3], start=1):
        torch.nn.init.constant_(network.weight, epoch)
        saver.add(epoch, {"validation_dice": dice}, network)
    saver.finish(tmp_path)
    content = torch.load(tmp_path / "top1.pt", weights_only=True)
    assert content["epoch"] == 2
    assert content["state"]["weight"].item() == 2


def test_a_monitor_that_is_never_a_number_is_an_error(tmp_path):
    with pytest.raises(InputError, match="validation_dice was never a number"):
        keep(tmp_path, [math.nan, math.nan], 1, "max")


def test_a_network_survives_its_checkpoint_and_predicts_in_source_units(tmp_path):
    torch.manual_seed(0)
    network = make_network(MODEL)
    save(tmp_path / "top1.pt", network, DESCRIPTION)
    trained = load(tmp_path / "top1.pt")
    images_NHW = np.random.default_rng(0).uniform(-100, 300, (3, 20, 24)).astype(np.float32)
    probabilities = trained.predict(images_NHW, batch_size=2)
    with torch.no_grad():
        # Stored images are of 16 bits.
        stored_NHW = (images_NHW / 200 - 0.5).astype(np.float16).astype(np.float32)
        scaled_N1HW = torch.from_numpy(stored_NHW)[:, None]
        expected = network.eval()(scaled_N1HW).softmax(1).numpy()
    np.testing.assert_allclose(probabilities, expected, atol=1e-5)
    assert trained.description["epoch"] == 4
    np.testing.assert_array_equal(
        trained.predict(np.full((1, 20, 24), 1e6)), trained.predict(np.full((1, 20, 24), 300))
    )


@pytest.mark.parametrize(
    "intensity",
    [
        Intensity.of_window(-100, 300),
        Intensity("zscore", "dataset", "foreground", (0.5, 99.5), Scale(-80.0, 250.0, 90.0, 40.0)),
        Intensity("zscore", "case"),
        Intensity("none", scale=Scale()),
    ],
    ids=lambda intensity: intensity.method,
)
def test_a_network_scales_new_images_as_its_dataset_was(tmp_path, intensity):
    network = make_network(MODEL)
    known = {key: value for key, value in DESCRIPTION.items() if key != "window"}
    save(tmp_path / "top1.pt", network, {**known, "intensity": intensity.as_dict()})
    trained = load(tmp_path / "top1.pt")
    images_NHW = np.random.default_rng(0).uniform(-100, 300, (3, 20, 24)).astype(np.int16)
    scaled_NHW = intensity.fit(images_NHW).apply(images_NHW)
    stored_NHW = scaled_NHW.astype(np.float16).astype(np.float32)
    np.testing.assert_array_equal(trained.predict(images_NHW), trained.predict_scaled(stored_NHW))
    if intensity.method == "zscore" and intensity.by == "case":
        assert scaled_NHW.mean() == pytest.approx(0, abs=1e-4)


def test_probabilities_come_back_on_the_grid_of_the_images(tmp_path):
    torch.manual_seed(0)
    known = {"size": [16, 16], "grid": {"plane": None, "size": 16, "spacing": None}}
    save(tmp_path / "top1.pt", make_network(MODEL), DESCRIPTION | known)
    trained = load(tmp_path / "top1.pt")
    images = np.random.default_rng(0).uniform(-100, 300, (3, 31, 24))
    probabilities = trained.predict(images, batch_size=2)
    assert probabilities.shape == (3, 2, 31, 24)
    assert probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(trained.predict(images, batch_size=1), probabilities, rtol=1e-6)
    np.testing.assert_allclose(trained.predict(images[1]), probabilities[1:2], rtol=1e-6)


def test_slices_that_a_network_was_not_trained_on_are_refused(tmp_path):
    known = {"size": [64, 64], "grid": {"plane": "axial", "size": None, "spacing": None}}
    save(tmp_path / "top1.pt", make_network(MODEL), DESCRIPTION | known)
    trained = load(tmp_path / "top1.pt")
    assert trained.predict(np.zeros((1, 64, 64))).shape == (1, 2, 64, 64)
    for images, says in (
        (np.zeros((1, 69, 69)), "69 x 69 pixels .* trained on 64 x 64"),
        (np.full((1, 64, 64), np.nan), "slice 0 holds 4096 pixels of NaN"),
        ([[["a", "b"]]], "of type <U1"),
    ):
        with pytest.raises(InputError, match=says):
            trained.predict(images)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"PK\x03\x04 cut off", "cannot be read as a checkpoint"),
        (b"", "cannot be read as a checkpoint"),
        (None, "there is no checkpoint"),
    ],
)
def test_a_broken_checkpoint_is_named(tmp_path, content, says):
    path = tmp_path / "top1.pt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=says) as raised:
        load(path)
    assert "top1.pt" in str(raised.value)


def test_a_foreign_checkpoint_is_refused(tmp_path):
    torch.save({"weights": torch.zeros(1)}, tmp_path / "other.pt")
    with pytest.raises(InputError, match=r"other\.pt is not a checkpoint of this project"):
        load(tmp_path / "other.pt")


def test_a_network_of_the_users_own_is_loaded_with_its_file_and_no_other(
    tmp_path, monkeypatch, no_own_code
):
    code, elsewhere, here = tmp_path / "code", tmp_path / "elsewhere", tmp_path / "here"
    for folder in (code, elsewhere, here):
        folder.mkdir()
    monkeypatch.chdir(here)
    digest = digest_of(write(code, "mynets", NET))
    model = {"network": "mynets.Net", "settings": {"width": 3}, "code": digest}
    path = tmp_path / "run" / "top1.pt"
    monkeypatch.chdir(code)
    save(path, make_network(model), {**DESCRIPTION, "model": model})
    images_NHW = np.zeros((1, 21, 20), np.float32)
    expected_NCHW = load(path).predict(images_NHW)

    monkeypatch.chdir(here)
    # Not even from beside the checkpoint, which may be a stranger's.
    write(path.parent, "mynets", NET)
    no_file = rf"top1\.pt .*'mynets\.Net' needs the file mynets\.py with the digest {digest}"
    with pytest.raises(InputError, match=rf"{no_file}, which is not in .*here"):
        load_run(path)
    with pytest.raises(InputError, match=rf"{no_file}, which is not in .*elsewhere"):
        load_run(path, modules=elsewhere)
    other = digest_of(write(elsewhere, "mynets", NET + "\n"))
    with pytest.raises(
        InputError, match=rf"elsewhere/mynets\.py is not .* digest is {other}, expected {digest}"
    ):
        load_run(path, modules=elsewhere)
    trained = load_run(path, modules=code)
    np.testing.assert_array_equal(trained.predict(images_NHW), expected_NCHW)


def test_a_checkpoint_says_how_files_of_its_source_are_read(tmp_path):
    images = np.zeros((2, 8, 8), np.float16)
    labels = np.zeros((2, 8, 8), np.uint8)
    labels[:, 2:4] = 1
    about = {"source": "images", "classes": {"cell": [255]}}
    for slices, provenance, files in (
        (2, {}, None),
        (2, about, {**about, "channel": None, "one_slice": False}),
        (1, about, {**about, "channel": None, "one_slice": True}),
        (1, about | {"channel": 2}, {**about, "channel": 2, "one_slice": True}),
        (1, about | {"channel": [2]}, {**about, "channel": 2, "one_slice": True}),
        (1, about | {"channel": [0, 2]}, {**about, "channel": None, "one_slice": True}),
        (1, about | {"channel": "all"}, {**about, "channel": None, "one_slice": True}),
    ):
        path, names = tmp_path / "data.h5", ["background", "cell"]
        with write_dataset(
            path, name="x", class_names=names, window=(0, 1), provenance=provenance
        ) as writer:
            for split in SPLITS:
                writer.append(split, split, range(slices), images[:slices], labels[:slices])
        with Dataset(path) as data:
            assert describe_files(data) == files


def test_a_damaged_byte_is_a_sentence_or_changes_nothing(tmp_path):
    save(tmp_path / "top1.pt", make_network(MODEL), DESCRIPTION)

    def read(path):
        trained = load(path)
        weights = trained.network.state_dict()
        return trained.description, {name: array.tolist() for name, array in weights.items()}

    found = damage(tmp_path / "top1.pt", read)
    assert not found["other"] and found["sentence"] > 80


def test_weights_of_another_network_are_refused(tmp_path):
    wider = DESCRIPTION | {"model": MODEL | {"width": 3}}
    save(tmp_path / "top1.pt", make_network(MODEL), wider)
    with pytest.raises(InputError, match=r"top1\.pt holds other weights than unet"):
        load(tmp_path / "top1.pt")


def test_a_part_that_torch_would_take_for_a_folder_is_refused(tmp_path):
    """A bit outside all checksums, after which torch leaves the weights to chance."""
    path = tmp_path / "top1.pt"
    save(path, make_network(MODEL), DESCRIPTION)
    content = path.read_bytes()
    entry = content.rindex(b"PK\x01\x02", 0, content.rindex(b"archive/data/1"))
    attributes = entry + 38
    assert content[attributes : attributes + 4] == bytes(4)
    path.write_bytes(content[:attributes] + b"\x10" + content[attributes + 1 :])
    with pytest.raises(InputError, match=r"top1\.pt .*not stored as torch stores it"):
        load(path)


def test_a_network_of_several_channels_survives_and_refuses_others(tmp_path):
    network = make_network(MODEL, in_channels=2)
    intensities = [Intensity.of_window(0, 200), Intensity("zscore", "case")]
    known = {key: value for key, value in DESCRIPTION.items() if key != "window"}
    contents = [intensity.as_dict() for intensity in intensities]
    about = {"channels": ["T1", "FLAIR"], "intensity": contents, "dataset": "brains"}
    save(tmp_path / "top1.pt", network, {**known, **about})
    trained = load(tmp_path / "top1.pt")
    assert trained.channels == ["T1", "FLAIR"]
    images_NKHW = np.random.default_rng(0).uniform(0, 300, (3, 2, 20, 24))
    scaled = [
        intensity.fit(images_NKHW[:, place]).apply(images_NKHW[:, place])
        for place, intensity in enumerate(intensities)
    ]
    with torch.no_grad():
        stored = np.stack(scaled, axis=1).astype(np.float16).astype(np.float32)
        inputs = torch.from_numpy(stored)
        expected = network.eval()(inputs).softmax(1).numpy()
    np.testing.assert_allclose(trained.predict(images_NKHW), expected, atol=1e-6)
    for wrong in (images_NKHW[:, 0], images_NKHW[:, :1], images_NKHW[0]):
        says = r"expected \(slices, 2, height, width\), .* sees the channels T1, FLAIR"
        with pytest.raises(InputError, match=says):
            trained.predict(wrong)
