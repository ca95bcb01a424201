"""What a run's record says of the code that made it."""

import shutil
from pathlib import Path

from labelnoise.training import provenance
from labelnoise.training.provenance import begin_sitting, code_digest


def test_the_code_digest_is_of_the_code_that_decides_the_numbers(tmp_path, monkeypatch):
    package = Path(provenance.__file__).parents[1]
    copy = shutil.copytree(package, tmp_path / "labelnoise")
    monkeypatch.setattr(provenance, "__file__", str(copy / "training/provenance.py"))
    before = code_digest()
    for path in ("report/style.py", "jobs/locks.py", "training/notes.txt"):
        with open(copy / path, "a") as file:
            file.write("# a word\n")
    assert code_digest() == before
    digests = {before}
    for path in ("training/loop.py", "networks/unet.py", "data/sources/phantom.py", "seeds.py"):
        with open(copy / path, "a") as file:
            file.write("# a word\n")
        digests.add(code_digest())
    (copy / "training/loop.py").rename(copy / "training/loops.py")
    digests.add(code_digest())
    assert len(digests) == 6


def test_code_that_changed_between_two_sittings_is_told(monkeypatch):
    sittings = []
    for number, code in enumerate(["a", "b", "b"]):
        monkeypatch.setattr(provenance, "code_digest", lambda code=code: code)
        sittings.append(begin_sitting(number))
    # What the files say by the end is of no process.
    monkeypatch.setattr(provenance, "code_digest", lambda: "c")
    record = provenance.provenance(sittings)
    assert record["code"] == "a+b"
    assert [sitting["after_epoch"] for sitting in record["interruptions"]] == [1, 2]


def test_a_package_that_is_not_installed_has_no_version(monkeypatch):
    monkeypatch.setattr(provenance, "RECORDED_PACKAGES", ("torch", "no-such-package"))
    packages = provenance.provenance([begin_sitting(0)])["packages"]
    assert packages["torch"] and packages["no-such-package"] is None
