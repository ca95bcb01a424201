"""Folders of files: what is found, in which order, and that nothing but a file is opened."""

import os
import socket

import pytest

from labelnoise.data.sources.folders import check_file, find_files, walk
from refusals import assert_refused


def touch(*paths):
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_files_in_the_order_of_names_those_of_a_folder_first(tmp_path):
    names = ["b", "c", "a/d", "a/e/f", "z/a"]
    touch(*(tmp_path / name for name in [*reversed(names), ".hidden", ".git/x"]))
    assert [path.relative_to(tmp_path).as_posix() for path in walk(tmp_path)] == names


def test_links_are_followed_but_not_in_circles(tmp_path, caplog):
    touch(tmp_path / "data" / "a" / "x", tmp_path / "elsewhere" / "y")
    (tmp_path / "data" / "linked").symlink_to(tmp_path / "elsewhere")
    for name in ("one", "two"):
        (tmp_path / "data" / "a" / name).symlink_to(tmp_path / "data")
    found = [path.relative_to(tmp_path / "data").as_posix() for path in walk(tmp_path / "data")]
    assert found == ["a/x", "linked/y"]
    assert "a/one leads back to a folder that it lies in" in caplog.text


def test_folder_that_cannot_be_listed(tmp_path, monkeypatch):
    touch(tmp_path / "secret" / "x")
    listed = os.listdir

    def listdir(path):
        if path.name == "secret":
            raise PermissionError(13, "Permission denied")
        return listed(path)

    monkeypatch.setattr(os, "listdir", listdir)
    assert_refused((tmp_path / "secret", "Permission denied"), list, walk(tmp_path))


def pipe(path):
    os.mkfifo(path)


def listening(path):
    with socket.socket(socket.AF_UNIX) as server:
        folder = os.open(path.parent, os.O_RDONLY)
        # Through the folder's number, since a socket's path has to be short.
        server.bind(f"/proc/self/fd/{folder}/{path.name}")
        os.close(folder)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (pipe, "is a pipe, expected a file"),
        (listening, "is a socket"),
        (lambda path: path.symlink_to("/dev/zero"), "is a device"),
        (lambda path: path.symlink_to("nowhere"), "is a broken link"),
        (lambda path: path.mkdir(), "is a folder"),
    ],
)
def test_what_is_no_file_is_refused_before_it_is_opened(tmp_path, make, words):
    path = tmp_path / "volume-1.nii"
    make(path)
    assert_refused((path, words, "remove it"), check_file, path)
    if not path.is_dir():
        assert_refused((path, words), find_files, tmp_path, r"volume-(\d)\.nii", "`images`", "x")
