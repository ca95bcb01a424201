"""Bad files of every format end in one sentence: no traceback, no hang, no memory taken."""

import gzip
import os
import signal
import struct
import subprocess
import zlib

import numpy as np
import pytest
from PIL import Image

from dicom_files import write_nifti, write_seg, write_series
from labelnoise.data.sources import bundles, dicom, images, volume_pairs
from labelnoise.errors import InputError
from settings import dataset_settings
from volume_files import IMAGE, LABEL, save

VOLUMES = [".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd", ".npy"]
PICTURES = [".png", ".tif", ".bmp", ".jpg"]
NOISE = np.random.default_rng(0).integers(1, 255, (40, 50)).astype(np.uint8)
BAD = {
    "empty": lambda good: b"",
    "one byte": lambda good: good[:1],
    "zeros": lambda good: bytes(2000),
    "text": lambda good: b"<html>404 not found</html>\n" * 40,
    "another format": lambda good: gzip.compress(b"%PDF-1.4" * 100),
    "half": lambda good: good[: len(good) // 2],
}
NO_FILES = {
    "folder": lambda path: path.mkdir(),
    "pipe": lambda path: os.mkfifo(path),
    "device": lambda path: path.symlink_to("/dev/zero"),
    "broken link": lambda path: path.symlink_to("nowhere"),
}


@pytest.fixture(autouse=True)
def no_hang():
    def stop(*_):
        raise TimeoutError("still reading after a minute")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def assert_refused(read, *words):
    with pytest.raises(InputError) as error:
        read()
    message = str(error.value)
    assert "\n" not in message and len(message) < 1000
    for word in words:
        assert str(word) in message


def assert_all_refused(path, find):
    """What a format can be damaged to is refused by name, and so is what is no file."""
    good, cases = path.read_bytes(), find()
    read_all(cases)
    for damage in BAD.values():
        path.write_bytes(damage(good))
        assert_refused(lambda: read_all(cases), path)
    for make in NO_FILES.values():
        path.unlink() if not path.is_dir() else path.rmdir()
        make(path)
        # A folder among volumes is one to look into, and then the image is missing.
        assert_refused(find, path.parent)


def read_all(cases):
    return [case.read() for case in cases]


def finder(module, **given):
    settings = dataset_settings(**{"classes": {"organ": [1, 2]}} | given)
    return lambda: module.cases(settings, 0)


@pytest.mark.parametrize("kind", ["image", "label"])
@pytest.mark.parametrize("ending", VOLUMES)
def test_volumes(tmp_path, ending, kind):
    for name, array in (("image", IMAGE), ("label", LABEL)):
        path = tmp_path / f"{name}-1{ending}"
        np.save(path, array) if ending == ".npy" else save(path, array)
    find = finder(
        volume_pairs,
        source="volumes",
        folder=str(tmp_path),
        images=r"image-(\d)\.(?!raw).*",
        labels=r"label-(\d)\.(?!raw).*",
        window=[0, 1],
    )
    assert_all_refused(tmp_path / f"{kind}-1{ending}", find)


@pytest.mark.parametrize("kind", ["images", "masks"])
@pytest.mark.parametrize("ending", PICTURES)
def test_pictures(tmp_path, ending, kind):
    if (ending, kind) == (".jpg", "masks"):
        pytest.skip("masks are no JPEG")
    for name, array in (("images", NOISE), ("masks", NOISE % 3)):
        (tmp_path / name).mkdir()
        Image.fromarray(array).save(tmp_path / name / f"p1{ending if name == kind else '.png'}")
    given = {"source": "images", "folder": str(tmp_path), "case": "(p)", "window": [0, 255]}
    assert_all_refused(tmp_path / kind / f"p1{ending}", finder(images, **given))


def test_bundles(tmp_path):
    for part in ("training", "validation", "testing"):
        (tmp_path / part).mkdir()
        np.save(tmp_path / part / "X-ntl-1.npy", IMAGE[..., None])
        np.save(tmp_path / part / "Y-ntl-1.npy", LABEL[..., None] > 0)
    settings = dataset_settings(source="bundles", folder=str(tmp_path))
    path = tmp_path / "training" / "X-ntl-1.npy"
    assert_all_refused(path, lambda: bundles.cases(settings, 0))


@pytest.mark.parametrize("kind", ["slice", "volume", "segmentation"])
def test_dicom(tmp_path, kind):
    paths = write_series(tmp_path / "scans" / "P1")
    given = {"source": "dicom", "folder": str(tmp_path / "scans"), "case": r"P(\d)"}
    given |= {"window": [0, 1], "labels_folder": str(tmp_path / "labels")}
    bad = paths[2]
    if kind == "segmentation":
        bad, given["label_kind"] = write_seg(tmp_path / "labels" / "s.dcm", paths), "seg"
    else:
        label = write_nifti(tmp_path / "labels" / "label1.nii.gz")
        bad = label if kind == "volume" else bad
    good, find = bad.read_bytes(), finder(dicom, **given)
    read_all(find())
    for damage in BAD.values():
        bad.write_bytes(damage(good))
        # What is no DICOM at all is left out, so that the slice or the label is missing.
        assert_refused(lambda: read_all(find()), bad.parent)
    bad.unlink()
    os.mkfifo(bad)
    assert_refused(find, bad, "is a pipe")


# Headers that claim what is not there


def nifti_claim(path, kind, offset, values):
    save(path, IMAGE)
    content = bytearray(path.read_bytes())
    claimed = np.array(values, kind).tobytes()
    content[offset : offset + len(claimed)] = claimed
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("kind", "offset", "values"),
    [
        # Sizes, spacings, and the sform, which says where the spacings are from.
        pytest.param("<i2", 42, [32767] * 3, id="70 TB"),
        pytest.param("<i2", 42, [-4, 3, 2], id="negative size"),
        pytest.param("<i2", 40, [7, 4, 3, 2, 99, 99, 99, 99], id="seven axes"),
        pytest.param("<f4", 280, [0] * 12, id="no spacing"),
        pytest.param("<f4", 280, [np.nan] * 12, id="NaN"),
        pytest.param("<f4", 280, [1e30, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0], id="1e30 mm"),
        pytest.param("<f4", 280, [1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1, 0], id="axes in one plane"),
        pytest.param("<i2", 70, [9999], id="unknown type"),
    ],
)
@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_headers_of_nifti(tmp_path, ending, kind, offset, values):
    path = tmp_path / "a.nii"
    nifti_claim(path, kind, offset, values)
    if ending == ".nii.gz":
        path = tmp_path / "a.nii.gz"
        path.write_bytes(gzip.compress((tmp_path / "a.nii").read_bytes()))
    assert_refused(lambda: volume_pairs.read_pair((path, None), path, {"a": [1]}), path)


@pytest.mark.parametrize("shape", [(10**6,) * 3, (10**12,) * 3, (-1, 2, 3), (0, 2, 3), (2, 3)])
def test_headers_of_npy(tmp_path, shape):
    path = tmp_path / "a.npy"
    np.save(path, IMAGE)
    content = path.read_bytes()
    text = str(shape).encode()
    path.write_bytes(content.replace(b"(2, 3, 4), }" + b" " * (len(text) - 9), text + b", }"))
    assert path.read_bytes() != content
    assert_refused(lambda: volume_pairs.read_pair((path, None), path, {"a": [1]}), path)


def test_picture_that_claims_billions_of_pixels(tmp_path):
    def chunk(kind, content):
        checksum = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + checksum

    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
        head = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 0, 0, 0, 0)
        pixels = zlib.compress(bytes(10**6))
        parts = ((b"IHDR", head), (b"IDAT", pixels), (b"IEND", b""))
        content = b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)
        (tmp_path / name / "p1.png").write_bytes(content)
    given = {"source": "images", "folder": str(tmp_path), "case": "(p)", "window": [0, 255]}
    find = finder(images, **given)
    assert_refused(lambda: read_all(find()), tmp_path / "images" / "p1.png", "10000000000 pixels")


# Patterns without end, see test_patterns


@pytest.fixture
def impatient(monkeypatch):
    """Stop (a+)+$ at once, as the time limit would."""
    run = subprocess.run

    def stop(*args, **kwargs):
        if "(a+)+$" in kwargs["input"]:
            raise subprocess.TimeoutExpired("python", 30)
        return run(*args, **kwargs)

    monkeypatch.setattr(subprocess, "run", stop)


@pytest.mark.parametrize("key", ["images", "labels"])
def test_pattern_of_volumes(tmp_path, impatient, key):
    save(tmp_path / "volume-1.nii", IMAGE)
    given = {"source": "volumes", "folder": str(tmp_path), "window": [0, 1], key: "(a+)+$"}
    assert_refused(finder(volume_pairs, **given), f"`{key}`", "(a+)+$", "more than 60 s")


@pytest.mark.parametrize("key", ["case", "series_description", "labels"])
def test_pattern_of_dicom(tmp_path, impatient, key):
    write_series(tmp_path / "scans")
    given = {"source": "dicom", "folder": str(tmp_path / "scans"), "window": [0, 1], key: "(a+)+$"}
    assert_refused(finder(dicom, **given), f"`{key}`", "(a+)+$", "more than 60 s")


def test_pattern_of_images(tmp_path, impatient):
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
        Image.fromarray(NOISE).save(tmp_path / name / "p1.png")
    given = {"source": "images", "folder": str(tmp_path), "case": "(a+)+$", "window": [0, 255]}
    assert_refused(finder(images, **given), "`case`", "(a+)+$", "more than 60 s")
