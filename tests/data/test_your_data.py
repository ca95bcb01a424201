"""Every entry of docs/your-data.md prepares as it stands, and its usual error is what it says."""

import importlib.util
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from labelnoise.data.storage import Dataset
from labelnoise.errors import InputError

DOCS = Path(__file__).parents[2] / "docs"
spec = importlib.util.spec_from_file_location("your_data", DOCS / "your_data.py")
your_data = importlib.util.module_from_spec(spec)
spec.loader.exec_module(your_data)


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_every_entry_has_data_and_a_picture():
    assert list(your_data.datasets()) == list(your_data.WRITERS)
    shown = re.findall(
        r"^!\[(\w+)\]\(your-data/\1\.png\)", your_data.PAGE.read_text(), re.MULTILINE
    )
    assert shown == list(your_data.WRITERS)
    assert all((your_data.PICTURES / f"{name}.png").is_file() for name in shown)


@pytest.mark.parametrize("name", your_data.WRITERS)
def test_an_entry_is_prepared_as_it_stands(name):
    settings = your_data.datasets()[name]
    with Dataset(your_data.prepare(name)) as data:
        assert data.shape == (settings["size"], settings["size"])
        assert len(set(data.case)) == your_data.CASES
        channels = {"frames": ["red", "green", "blue"], "mr": ["T1", "FLAIR"]}
        assert data.channels == channels.get(name, ["image"])
        assert data.class_names[1:] == list(settings.get("classes", ["liver"]))
        known = name not in ("pictures", "frames", "arrays")
        assert np.isfinite(data.spacing).all() == known
        # The liver, of which each case shows some, in its place: on the image's left.
        _, labels_NHW = data.read(range(len(data)))
        left, right = np.array_split(labels_NHW > 0, 2, axis=2)
        assert left.sum() > 3 * right.sum() > 0
        # Areas are kept: 4 slices of 96 pixels of 3 mm, or the same in pixels.
        area = sum(int(labels_SHW.sum()) for _, labels_SHW in your_data.scans())
        pixel = 4**2 / 3**2 if name == "total" else (96 / settings["size"]) ** 2
        assert (labels_NHW > 0).sum() * pixel == pytest.approx(area, rel=0.01)


def smooth_a_mask(folder):
    path = sorted((folder / "masks").iterdir())[0]
    mask_HW = np.array(Image.open(path))
    mask_HW[0, 0] = 128
    Image.fromarray(mask_HW).save(path)


def cut_a_label(folder):
    _, labels_SHW = next(your_data.scans())
    your_data.save_nifti(folder / "segmentation-0.nii.gz", labels_SHW[:, 1:])


def drop_a_sequence(folder):
    (folder / "p1_FLAIR.nii.gz").unlink()


def overlap_regions(folder):
    path = folder / "dataset.json"
    about = json.loads(path.read_text())
    path.write_text(json.dumps(about | {"labels": {"background": 0, "liver": 1, "whole": [1, 2]}}))


def add_a_series(folder):
    elsewhere = folder / "more"
    your_data.write_dicom(elsewhere)


@pytest.mark.parametrize(
    ("name", "harm", "changes", "sentence"),
    [
        ("pictures", smooth_a_mask, {}, "it holds 1 unknown label values"),
        ("ct", cut_a_label, {}, "they are not one grid up to permuted and flipped axes"),
        ("total", None, {"others": "refuse"}, "unknown label values"),
        ("mr", drop_a_sequence, {}, "labels have no image"),
        ("nnunet", overlap_regions, {}, "set `classes` so that every value has one meaning"),
        (
            "dicom",
            add_a_series,
            {},
            "set `series_description` to a pattern that only one of its series matches",
        ),
        ("arrays", None, {"spacing": [3, 3]}, "the spacing of rows and columns is unknown"),
    ],
)
def test_the_usual_error_is_the_one_on_the_page(name, harm, changes, sentence):
    assert f"> {sentence}\n" in your_data.PAGE.read_text()
    your_data.prepare(name)
    if harm:
        harm(Path(your_data.datasets()[name]["folder"]))
    with pytest.raises(InputError, match=re.escape(sentence)):
        your_data.prepare_only(name, **changes)
