"""`labelnoise predict`: a line per image, a sentence per mistake, a mask of each image's name."""

import os
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from torch import nn

import labelnoise
from labelnoise import networks
from labelnoise.__main__ import main
from labelnoise.commands.predict import choose_masks
from labelnoise.data.intensity import Intensity
from labelnoise.errors import InputError
from labelnoise.networks import make_network
from labelnoise.training.checkpoints import save

VOXELS = np.random.default_rng(0).integers(0, 200, (5, 6, 3)).astype(np.int16)
SUFFIXES = (".nii.gz", ".nii")


class Bright(nn.Module):
    """Calls a pixel foreground where the stored value is above 0."""

    stride = 1

    def __init__(self, in_channels, classes):
        super().__init__()
        self.lines = nn.Conv2d(in_channels, classes, 1, bias=False)
        self.lines.weight.data = torch.tensor([-50.0, 50.0]).view(2, 1, 1, 1)

    def forward(self, images_NCHW):
        return self.lines(images_NCHW)


@pytest.fixture
def run(tmp_path, monkeypatch):
    """The checkpoint of a network for slices of 6 x 5 pixels that are bright above 100."""
    monkeypatch.setitem(networks.NETWORKS, "bright", Bright)
    description = {
        "model": {"network": "bright"},
        "class_names": ["background", "liver"],
        "intensity": Intensity.of_window(0, 200).as_dict(),
        "grid": {"plane": "axial", "size": None, "spacing": None},
        "size": [6, 5],
        "files": {"source": "nifti", "classes": {"liver": [2]}, "channel": None},
    }
    save(tmp_path / "top1.pt", make_network(description["model"]), description)
    return str(tmp_path / "top1.pt")


def write(path, voxels=VOXELS):
    path.parent.mkdir(exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(voxels, np.diag([-2.0, -2.0, 5.0, 1.0])), path)
    return str(path)


def voxels_of(path):
    return np.asarray(nibabel.load(path).dataobj)


def refused(capsys, *arguments):
    """The sentence with which the command ends, and nothing else said."""
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    assert capsys.readouterr().out == ""
    assert "\n" not in ended.value.code
    return ended.value.code


def test_one_image_gets_its_mask_and_a_line(tmp_path, run, capsys):
    main(["predict", run, write(tmp_path / "a.nii"), "-o", str(tmp_path / "new" / "m.nii.gz")])
    np.testing.assert_array_equal(
        voxels_of(tmp_path / "new" / "m.nii.gz"), np.where(VOXELS > 100, 2, 0)
    )
    count = (VOXELS > 100).sum()
    assert capsys.readouterr().out == (
        f"{tmp_path}/new/m.nii.gz: liver (value 2) {count} voxels, {count * 0.02:.2f} ml\n"
    )


def test_several_images_get_masks_of_their_names_in_a_folder(tmp_path, run, capsys):
    images = [write(tmp_path / "in" / f"{name}.nii", VOXELS + n) for n, name in enumerate("ab")]
    main(["predict", run, *images, "-o", f"{tmp_path}/masks", "--threshold", "0.9"])
    assert len(capsys.readouterr().out.splitlines()) == 2
    for number, name in enumerate("ab"):
        # The odds of a value v are e^(v - 100).
        expected = VOXELS + number - 100 > np.log(9)
        np.testing.assert_array_equal(voxels_of(tmp_path / "masks" / f"{name}.nii") > 0, expected)


def test_mistakes_end_in_one_sentence_and_without_a_mask(tmp_path, run, capsys):
    image, mask = write(tmp_path / "a.nii"), str(tmp_path / "m.nii")
    wide = write(tmp_path / "wide.nii", np.zeros((7, 6, 3), np.int16))
    for arguments, says in (
        (["no-run", image, "-o", mask], "error: there is no checkpoint no-run; name a run"),
        ([run, "none.nii", "-o", mask], "error: there is no none.nii; name an image."),
        ([run, image, "-o", image], "is the image itself"),
        ([run, image, "-o", f"{tmp_path}/"], "a.nii is the image itself"),
        ([run, image, "-o", f"{mask}.png"], "expected .nii.gz or .nii; rename it, or"),
        ([run, image, wide, "-o", mask], "several images need a folder"),
        ([run, wide, "-o", mask], "wide.nii: the slices are 6 x 7 pixels"),
        ([run, image, "-o", mask, "--threshold", "0"], "the threshold is 0"),
        ([run, image, "-o", mask, "--batch-size", "0"], "--batch-size is 0, expected at least 1"),
    ):
        assert says in refused(capsys, "predict", *arguments)
    assert not Path(mask).exists()
    np.testing.assert_array_equal(voxels_of(image), VOXELS)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_refused(tmp_path, run, capsys):
    image = write(tmp_path / "a.nii")
    said = refused(capsys, "predict", run, image, "-o", f"{tmp_path}/m.nii", "--device", "cuda")
    assert "torch finds no such GPU here" in said


def test_ctrl_c_ends_with_130(tmp_path, run, monkeypatch):
    def interrupt(path):
        raise KeyboardInterrupt

    monkeypatch.setattr("labelnoise.training.checkpoints.load_run", interrupt)
    with pytest.raises(SystemExit) as ended:
        main(["predict", run, write(tmp_path / "a.nii"), "-o", str(tmp_path / "m.nii")])
    assert ended.value.code == 130


def test_masks_are_named_as_their_images(tmp_path):
    scan, folder = tmp_path / "scan.7", tmp_path / "masks"
    scan.mkdir()
    images = [Path("x/a.nii"), Path("b.nii.gz"), Path("c.img"), scan]
    names = ["a.nii", "b.nii.gz", "c.nii.gz", "scan.7.nii.gz"]
    assert choose_masks(images, str(folder), SUFFIXES) == {
        image: folder / name for image, name in zip(images, names, strict=True)
    }
    assert choose_masks(images[:1], str(folder), SUFFIXES) == {images[0]: folder}
    linked = tmp_path / "linked.nii"
    linked.symlink_to("a91b.nii")
    assert choose_masks([linked], "new/", SUFFIXES) == {linked: Path("new/linked.nii")}
    for output in (str(tmp_path), "new/"):
        assert choose_masks(images[:1], output, SUFFIXES) == {images[0]: Path(output, "a.nii")}
    assert choose_masks([Path("a.b.jpg")], "new/", (".png",)) == {
        Path("a.b.jpg"): Path("new/a.b.png")
    }


@pytest.mark.parametrize("names", [("x/a.nii", "y/a.nii"), ("a.nii", "a.nii")])
def test_two_images_never_share_a_mask(names):
    with pytest.raises(InputError, match=r"several images would have the mask masks/a\.nii"):
        choose_masks([Path(name) for name in names], "masks", SUFFIXES)


def test_help_needs_no_torch():
    code = "import sys, labelnoise.__main__ as m\ntry: m.main(['predict', '-h'])\n"
    code += "finally: print('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(Path(labelnoise.__file__).parents[1])},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "labelnoise predict RUN scans/*.nii.gz -o masks/" in done.stdout
    assert done.stdout.endswith("False\n")
