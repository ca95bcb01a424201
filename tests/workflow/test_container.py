"""Jobs run in the image that the config names, and the files about deployment say what is there."""

import os
import stat
import sys
from pathlib import Path

import pytest
import yaml

from workflow_runs import ROOT, TINY, snakemake

# Runs the job on the host and notes the image: the last four are image, shell, -c and the job.
APPTAINER = """#!/usr/bin/env bash
if [ "$1" = --version ]; then echo apptainer version 1.3.4; exit; fi
echo "${@: -4:1}" >> "$IMAGES"
exec "${@: -3}"
"""


@pytest.fixture
def images(tmp_path, monkeypatch):
    """A stand-in for apptainer first on the path; return where it notes images."""
    program = tmp_path / "bin/apptainer"
    program.parent.mkdir()
    program.write_text(APPTAINER)
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    # The image has Python and the packages first on its path.
    places = [program.parent, Path(sys.executable).parent, os.environ["PATH"]]
    monkeypatch.setenv("PATH", os.pathsep.join(map(str, places)))
    monkeypatch.setenv("IMAGES", str(tmp_path / "images.txt"))
    return tmp_path / "images.txt"


@pytest.mark.parametrize("container", ["image.sif", None])
def test_jobs_run_in_the_image_of_the_config(tmp_path, images, container):
    (tmp_path / "image.sif").write_text("")
    target = "results/datasets/tiny.h5"
    done = snakemake(tmp_path, TINY | {"container": container}, target, "--sdm", "apptainer")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / target).exists()
    named = images.read_text().split() if images.exists() else []
    assert [os.path.basename(name) for name in named] == ([container] if container else [])


def test_the_image_installs_the_hashed_list():
    text = (ROOT / "envs/Containerfile").read_text()
    assert "--require-hashes --requirement" in text
    copied = [line.split()[1] for line in text.splitlines() if line.startswith("COPY")]
    assert copied and all((ROOT / name).is_file() for name in copied)


def test_the_catalogue_is_told_what_the_workflow_can():
    told = yaml.safe_load((ROOT / ".snakemake-workflow-catalog.yml").read_text())["usage"]
    assert told["mandatory-flags"]["flags"] == ""
    assert told["software-stack-deployment"]["apptainer"] and told["report"]
    # What the catalogue looks for.
    readme = (ROOT / "README.md").read_text().lower()
    assert "snakemake" in readme and "workflow" in readme
    assert list((ROOT / "rules").glob("*.smk"))
