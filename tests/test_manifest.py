"""Whether the source of a dataset has changed: by content, whatever the times of its files say."""

import hashlib
import os
import shutil
import subprocess

import pytest

from labelnoise import manifest as manifest_module
from labelnoise.errors import InputError
from labelnoise.manifest import (
    File,
    Manifest,
    check_unchanged,
    known_files,
    list_source,
    read_source,
    source_state,
)
from labelnoise.study import Results


class Source:
    """A folder of files as a source has them, and the manifest that a dataset was made with."""

    def __init__(self, folder, source="nifti", **settings):
        self.folder, self.results = folder / "data", Results(folder / "results")
        self.settings = {"source": source, "folder": str(self.folder), **settings}
        for name in ("a/image.nii", "a/label.nii", "b/image.nii"):
            self.write(name, name)

    def write(self, name, text, folder=None):
        path = (folder or self.folder) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def prepare(self):
        """Do what the job does that prepares the dataset."""
        state = self.look().word
        files = read_source(self.settings, known_files(self.results, "own"))
        path = self.results.fill(self.results.manifest, {"dataset": "own"})
        Manifest(self.settings, 1, files, state).write(path)
        return files

    def look(self):
        return source_state(self.settings, self.results, "own")

    def change(self):
        """Return what has changed; the word has to agree with the words."""
        word = self.look().word
        manifest = Manifest.read(self.results.fill(self.results.manifest, {"dataset": "own"}))
        assert (word == manifest.state) == (self.look().change == "")
        return self.look().change


@pytest.fixture
def source(tmp_path):
    return Source(tmp_path)


@pytest.fixture
def read(monkeypatch):
    """Return a list that grows by the name of every file whose content is read."""
    names = []

    def sha256_of(path):
        names.append(os.path.basename(os.path.dirname(path)) + "/" + os.path.basename(path))
        return hashlib.sha256(open(path, "rb").read()).hexdigest()

    monkeypatch.setattr(manifest_module, "sha256_of", sha256_of)
    return names


def test_the_digest_is_what_sha256sum_makes(source):
    digest = source.prepare().digest
    names = sorted(path.relative_to(source.folder) for path in source.folder.rglob("*.nii"))
    listed = subprocess.run(
        ["sha256sum", *names], cwd=source.folder, capture_output=True, check=True
    ).stdout
    assert digest == hashlib.sha256(listed).hexdigest()


def test_a_manifest_comes_back(source):
    files = source.prepare()
    path = source.results.fill(source.results.manifest, {"dataset": "own"})
    assert Manifest.read(path).source == files
    assert files.describe()["files"] == 3 and files.describe()["bytes"] == 2 * 11 + 11
    path.write_text(path.read_text().replace("a/image", "c/image"))
    assert Manifest.read(path) is None


def test_times_alone_change_nothing_and_files_are_read_once(source, read):
    source.prepare()
    assert len(read) == 3
    assert source.change() == "" and len(read) == 3
    for path in source.folder.rglob("*.nii"):
        os.utime(path, (1, 1))
    assert source.change() == "" and len(read) == 6
    shutil.copytree(source.folder, source.folder.with_name("copy"), copy_function=shutil.copyfile)
    shutil.rmtree(source.folder)
    source.folder.with_name("copy").rename(source.folder)
    assert source.change() == "" and len(read) == 9
    assert source.change() == "" and len(read) == 9


@pytest.mark.parametrize("text", ["A/image.nii", "longer than before"])
def test_a_rewritten_file_is_named_until_the_dataset_is_made_again(source, read, text):
    source.prepare()
    before = source.look().word
    source.write("a/image.nii", text)
    assert source.change() == "a/image.nii rewritten"
    assert source.look().word == source.look().word != before
    del read[:]
    source.prepare()
    # Of equal size, it was read when it was looked at.
    assert read == ([] if len(text) == 11 else ["a/image.nii"])
    assert source.change() == ""
    after = source.look().word
    source.write("a/image.nii", "a/image.nii")
    assert source.change() == "a/image.nii rewritten" and source.look().word not in (before, after)


def test_files_that_come_and_go_are_named(source):
    source.prepare()
    (source.folder / "b/image.nii").unlink()
    for number in range(5):
        source.write(f"c/{number}.nii", "x")
    assert source.change() == ("c/0.nii, c/1.nii, c/2.nii and 2 more added, b/image.nii removed")


def test_documents_and_hidden_files_do_not_count(source):
    source.prepare()
    for name in ("README", "LICENSE.txt", "a/notes.md", ".DS_Store", ".git/x", "a/._image.nii"):
        source.write(name, "x")
    (source.folder / "nowhere").symlink_to("nothing")
    os.mkfifo(source.folder / "pipe")
    assert source.change() == ""
    source.write("license_plate_01.nii", "x")
    assert source.change() == "license_plate_01.nii added"


def test_only_what_a_source_reads_counts(tmp_path):
    pairs = Source(tmp_path / "pairs", "images", images="img", masks="../masks")
    for name in ("img/1.png", "../masks/1.png", "other/1.png"):
        pairs.write(name, "x")
    assert list(list_source(pairs.settings)) == ["../masks/1.png", "img/1.png"]
    task = Source(tmp_path / "task", "msd")
    for name in ("dataset.json", "imagesTr/1.nii.gz", "labelsTr/1.nii.gz", "imagesTs/2.nii.gz"):
        task.write(name, "x")
    assert list(list_source(task.settings)) == [
        "dataset.json",
        "imagesTr/1.nii.gz",
        "labelsTr/1.nii.gz",
    ]


def test_labels_elsewhere_count_and_those_inside_count_once(source, tmp_path):
    source.write("1.nii", "x", tmp_path / "labels")
    elsewhere = source.settings | {"labels_folder": str(tmp_path / "labels")}
    assert list(list_source(elsewhere))[-1] == "labels_folder:1.nii"
    inside = source.settings | {"labels_folder": str(source.folder / "a")}
    assert list_source(inside).keys() == list_source(source.settings).keys()


def test_a_link_into_itself_ends(source, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/c.nii").write_text("x")
    (source.folder / "linked").symlink_to(tmp_path / "elsewhere")
    (source.folder / "a/loop").symlink_to(source.folder)
    assert list(list_source(source.settings)) == [
        "a/image.nii",
        "a/label.nii",
        "b/image.nii",
        "linked/c.nii",
    ]


def test_an_absent_source_is_not_a_change(source):
    """Results that were copied elsewhere, and a disk that is not mounted."""
    source.prepare()
    shutil.rmtree(source.folder)
    assert source.change() == ""
    source.folder.mkdir()
    assert source.change() == ""


def test_sources_without_files_have_no_state(tmp_path):
    assert source_state({"source": "phantom"}, Results(tmp_path), "phantom").word is None
    assert read_source({"source": "phantom"}, {}) is None


def test_what_changes_while_it_is_read_is_refused(source):
    files = read_source(source.settings, {})
    check_unchanged("own", source.settings, files)
    source.write("b/image.nii", "x")
    with pytest.raises(InputError, match=r"dataset own: b/image\.nii of its source changed while"):
        check_unchanged("own", source.settings, files)


def test_a_digest_that_is_known_is_taken(source):
    (file, _) = list_source(source.settings)["a/label.nii"]
    known = {"a/label.nii": File(file.size, file.modified, "0" * 64)}
    assert read_source(source.settings, known).files["a/label.nii"].digest == "0" * 64
    other = {"a/label.nii": File(file.size, file.modified + 1, "0" * 64)}
    assert read_source(source.settings, other).files["a/label.nii"].digest != "0" * 64


def test_what_cannot_be_read_is_named_and_no_change(source, monkeypatch, caplog):
    source.prepare()

    def listdir(path):
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(manifest_module.os, "listdir", listdir)
    with pytest.raises(InputError, match=r"data cannot be read \(Permission denied\)"):
        read_source(source.settings, {})
    assert source.change() == ""
    assert "dataset own:" in caplog.text and "correct its permissions" in caplog.text
