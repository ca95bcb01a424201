"""The package as pip installs it, away from the repository."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

import labelnoise

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("package")
    # Built from a copy, since setuptools leaves its own files beside the sources.
    source = folder / "source"
    for name in ("pyproject.toml", "README.md", "LICENSE", "envs/requirements.in"):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, source / name)
    shutil.copytree(
        ROOT / "scripts", source / "scripts", ignore=shutil.ignore_patterns("__pycache__")
    )
    pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, source)
    return next(folder.glob("*.whl"))


def test_the_wheel_holds_every_module_and_nothing_else(wheel):
    files = {
        path.relative_to(ROOT / "scripts").as_posix()
        for path in (ROOT / "scripts" / "labelnoise").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    packed = set(zipfile.ZipFile(wheel).namelist())
    assert {name for name in packed if ".dist-info/" not in name} == files


def test_the_wheel_asks_for_what_runs_need(wheel):
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith("/METADATA"))
        metadata = archive.read(name).decode().split("\n\n")[0].splitlines()
    asked = [line.partition(": ")[2] for line in metadata if line.startswith("Requires-Dist")]
    lines = (ROOT / "envs" / "requirements.in").read_text().splitlines()
    listed = [line for line in lines if line and not line.startswith("#")]
    assert set(map(Requirement, asked)) == set(map(Requirement, listed))
    assert f"Version: {labelnoise.__version__}" in metadata


def test_the_installed_package_loads_torch_for_runs_alone(wheel, tmp_path):
    pip("install", "--no-deps", "--no-index", "--target", tmp_path, wheel)
    code = """
import sys, labelnoise
assert "torch" not in sys.modules
from labelnoise import load_run
print(labelnoise.__file__, sys.modules[load_run.__module__].__file__, load_run.__name__)
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    home, module, name = done.stdout.split()
    assert home == str(tmp_path / "labelnoise" / "__init__.py")
    assert module.startswith(str(tmp_path))
    assert name == "load_run"
    help_ = subprocess.run(
        [tmp_path / "bin" / "labelnoise", "predict", "--help"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "usage: labelnoise predict" in help_.stdout


def test_a_name_that_the_package_lacks_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'load_runs'"):
        labelnoise.load_runs  # noqa: B018


def test_the_citation_names_this_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == labelnoise.__version__


def pip(*arguments):
    done = subprocess.run(
        [sys.executable, "-m", "pip", *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
