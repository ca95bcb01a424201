"""The pinned lists, the conda environment and the names asked for are in step."""

import re
from importlib.metadata import requires
from pathlib import Path

import pytest
import yaml

ENVS = Path(__file__).parents[1] / "envs"
EXTRAS = ("cleanlab", "simpleitk", "opencv", "nnunet")
LISTS = pytest.mark.parametrize("name", ["requirements", "checks", *EXTRAS])


def asked_for(name):
    lines = (ENVS / f"{name}.in").read_text().splitlines()
    return {re.match(r"[\w-]+", line).group().lower() for line in lines if line and line[0] != "#"}


def pinned(name):
    """Versions in a hashed list for Python 3.11."""
    entries = re.findall(
        r"^([a-z0-9-]+)==(\S+)( ; .*)? \\$", (ENVS / f"{name}.txt").read_text(), re.MULTILINE
    )
    return {name: version for name, version, marker in entries if ">= '3.12'" not in marker}


@LISTS
def test_every_package_is_pinned_with_a_hash(name):
    text = (ENVS / f"{name}.txt").read_text()
    entries = re.split(r"^(?=[a-z])", text, flags=re.MULTILINE)[1:]
    assert entries and all("--hash=sha256:" in entry for entry in entries)


@LISTS
def test_the_list_holds_pins_hashes_and_their_reasons_alone(name):
    """So no line can name where packages come from."""
    line = re.compile(
        r"[a-z0-9-]+==[^ :/]+( ; [^:/]+)? \\"
        r"|    --hash=sha256:[0-9a-f]{64}( \\)?"
        r"|    #( +(via|-r|-c|envs/[a-z]+\.(in|txt)|[a-z0-9.-]+))+"
        r"|(# The following packages were excluded from the output:|# [a-z0-9-]+)?"
    )
    lines = (ENVS / f"{name}.txt").read_text().splitlines()
    assert [text for text in lines if not line.fullmatch(text)] == []


def test_what_is_asked_for_is_pinned_once():
    runs, checks = pinned("requirements"), pinned("checks")
    assert asked_for("requirements") <= set(runs)
    assert asked_for("checks") <= {*runs, *checks}
    assert set(runs).isdisjoint(checks)


@pytest.mark.parametrize("name", EXTRAS)
def test_extras_fit_beside_what_runs_need_and_what_tests_try(name):
    runs, checks, extra = pinned("requirements"), pinned("checks"), pinned(name)
    assert asked_for(name) <= set(extra)
    assert set(runs).isdisjoint(extra)
    shared = extra.keys() & checks.keys()
    assert {each: extra[each] for each in shared} == {each: checks[each] for each in shared}
    # What tests try has to be there; nnU-Net is too large for that, OpenCV for a benchmark alone.
    assert name in ("nnunet", "opencv") or extra.keys() <= checks.keys()


def test_the_conda_environment_holds_the_versions_that_runs_need():
    *conda, pip = yaml.safe_load((ENVS / "study.yaml").read_text())["dependencies"]
    assert conda == ["python=3.11", "pip"]
    versions = dict(entry.split("==") for entry in pip["pip"])
    runs = pinned("requirements")
    assert versions == {name: runs[name] for name in asked_for("requirements")}


def test_reports_have_what_they_need():
    """Snakemake asks for it by an extra, which a missing package shows only as a report is made."""
    extras = [line for line in requires("snakemake") if 'extra == "reports"' in line]
    needed = {re.match(r"[\w-]+", line).group() for line in extras}
    assert needed and needed <= asked_for("requirements")
