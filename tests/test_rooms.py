"""Knowledge runs one way: each room imports from those before it, and tables need no torch."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import labelnoise

PACKAGE = Path(labelnoise.__file__).parent
ROOMS = ["jobs", "data", "labels", "networks", "training", "evaluation", "report"]


@pytest.mark.parametrize("room", ROOMS)
def test_no_room_imports_from_a_later_one(room):
    later = {f"labelnoise.{name}" for name in ROOMS[ROOMS.index(room) + 1 :]}
    for path in PACKAGE.joinpath(room).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [name.name for name in node.names] if isinstance(node, ast.Import) else []
            found = {".".join(name.split(".")[:2]) for name in names}
            assert not found & later, path


@pytest.mark.parametrize(
    ("modules", "heavy"),
    [
        ("counts evaluation.tables report.paper report.render", {"torch", "matplotlib", "seaborn"}),
        ("report.figures.roc report.figures.perturbations", {"torch"}),
    ],
)
def test_what_needs_no_heavy_library_imports_none(modules, heavy):
    imports = ", ".join(f"labelnoise.{module}" for module in modules.split())
    answer = subprocess.run(
        [sys.executable, "-c", f"import sys, {imports}; print(*sys.modules)"],
        env=os.environ | {"PYTHONPATH": str(PACKAGE.parent)},
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = set(answer.stdout.split())
    assert "labelnoise.evaluation.tables" in loaded
    assert not heavy & loaded
