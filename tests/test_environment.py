"""The pinned list, the conda environment and the names asked for are in step."""

import re
from pathlib import Path

import yaml

ENVS = Path(__file__).parents[1] / "envs"
CHECKS = {"pytest", "hypothesis", "ruff", "snakefmt", "scikit-learn", "simpleitk"}


def asked_for():
    lines = (ENVS / "requirements.in").read_text().splitlines()
    return {re.match(r"[\w-]+", line).group().lower() for line in lines if line and line[0] != "#"}


def pinned():
    """Versions in the hashed list for Python 3.11."""
    entries = re.findall(
        r"^([a-z0-9-]+)==(\S+)( ; .*)? \\$", (ENVS / "requirements.txt").read_text(), re.MULTILINE
    )
    return {name: version for name, version, marker in entries if ">= '3.12'" not in marker}


def test_every_package_is_pinned_with_a_hash():
    text = (ENVS / "requirements.txt").read_text()
    entries = re.split(r"^(?=[a-z])", text, flags=re.MULTILINE)[1:]
    assert len(entries) > 50
    assert all("--hash=sha256:" in entry for entry in entries)
    assert asked_for() <= set(pinned())


def test_the_list_holds_pins_hashes_and_their_reasons_alone():
    """So no line can name where packages come from."""
    line = re.compile(
        r"[a-z0-9-]+==[^ :/]+( ; [^:/]+)? \\"
        r"|    --hash=sha256:[0-9a-f]{64}( \\)?"
        r"|    #( +(via|-r|envs/requirements\.in|[a-z0-9.-]+))+"
    )
    lines = (ENVS / "requirements.txt").read_text().splitlines()
    assert [text for text in lines if not line.fullmatch(text)] == []


def test_the_conda_environment_holds_the_same_versions():
    *conda, pip = yaml.safe_load((ENVS / "study.yaml").read_text())["dependencies"]
    assert conda == ["python=3.11", "pip"]
    versions = dict(entry.split("==") for entry in pip["pip"])
    assert versions == {name: pinned()[name] for name in asked_for() - CHECKS}
