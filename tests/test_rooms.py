"""Knowledge runs one way: each room imports from those before it, no job a library for nothing."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import labelnoise

PACKAGE = Path(labelnoise.__file__).parent
SCRIPTS = PACKAGE.parent
BASE = ["errors", "extras", "files", "seeds", "names", "counts", "folds", "own_code", "config"]
BASE += ["study", "manifest", "consistency", "sessions"]
ROOMS = [
    *BASE,
    "jobs",
    "data",
    "labels",
    "networks",
    "training",
    "evaluation",
    "report",
    "commands",
    "__main__",
]


def modules(room):
    folder = PACKAGE / room
    return sorted(folder.rglob("*.py")) if folder.is_dir() else [folder.with_suffix(".py")]


def imported(path):
    """Return the full names of all that a file imports, wherever in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{name.name}" for name in node.names}
    return names


def rooms_of(names):
    return {name.split(".")[1] for name in names if name.startswith("labelnoise.")}


def test_every_module_is_in_a_room():
    assert {path.relative_to(PACKAGE).parts[0].removesuffix(".py") for path in sources()} == {
        "__init__",
        *ROOMS,
    }


def sources():
    return sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_from_itself_and_those_before_it(room):
    known = set(ROOMS[: ROOMS.index(room) + 1])
    for path in modules(room):
        assert rooms_of(imported(path)) <= known, path


def test_modules_import_each_other_in_no_circle():
    names = {path: ".".join(path.relative_to(SCRIPTS).with_suffix("").parts) for path in sources()}
    left = {name.removesuffix(".__init__"): imported(path) for path, name in names.items()}
    # A name may be a module of a package, or what a module defines.
    left = {
        name: {part for each in found for part in (each, each.rpartition(".")[0]) if part in left}
        - {name}
        for name, found in left.items()
    }
    while free := {name for name, needed in left.items() if not needed & left.keys()}:
        left = {name: needed for name, needed in left.items() if name not in free}
    assert not left


def test_no_script_imports_a_script_and_the_package_no_snakemake():
    scripts = {path.stem for path in SCRIPTS.glob("*.py")}
    for path in SCRIPTS.glob("*.py"):
        assert not {name.split(".")[0] for name in imported(path)} & scripts, path
    for path in sources():
        assert "snakemake" not in {name.split(".")[0] for name in imported(path)}, path


def public_functions(body, inside=""):
    """Yield name and node of each public function, public method and __init__."""
    for node in body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from public_functions(node.body, f"{node.name}.")
        elif isinstance(node, ast.FunctionDef):
            is_public = not node.name.startswith("_") or (inside and node.name == "__init__")
            if is_public:
                yield inside + node.name, node


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_public_functions_are_annotated(path):
    for name, node in public_functions(ast.parse(path.read_text(encoding="utf-8")).body):
        given = node.args
        positional = [*given.posonlyargs, *given.args]
        is_static = any(ast.unparse(each) == "staticmethod" for each in node.decorator_list)
        if "." in name and not is_static:
            positional = positional[1:]
        every = [*positional, *given.kwonlyargs, *filter(None, [given.vararg, given.kwarg])]
        bare = [each.arg for each in every if each.annotation is None]
        assert not bare, f"{name} lacks the types of {bare}"
        assert node.returns or name.endswith("__init__"), f"{name} lacks the type it returns"


# Libraries that take long to import, and the scripts that must do without.
HEAVY = {"torch", "pandas", "matplotlib", "scipy"}
FREE_OF = {
    "status make_report print_answer run_bundle": HEAVY,
    "prepare_dataset prepare_given calibrate_perturbation perturb_labels mend_labels": HEAVY
    - {"scipy"},
    "train_model test_model rank_suspects": {"pandas", "matplotlib"},
    "summarise_runs compare_with_paper compare_thresholds compare_mitigations estimate_ceiling"
    " judge_claims plan write_answer grade_detectors compare_mended fit_budget": {
        "torch",
        "matplotlib",
    },
    "plot_answer plot_degradation plot_mitigation plot_perturbations plot_roc plot_runs plot_slopes"
    " plot_thresholds plot_review plot_budget": {"torch"},
    "plot_predictions make_viz model_runner verify_run": set(),
}


def test_every_script_says_what_it_does_without():
    named = [name for names in FREE_OF for name in names.split()]
    assert sorted(named) == sorted(path.stem for path in SCRIPTS.glob("*.py"))


@pytest.mark.parametrize("names", [names for names, heavy in FREE_OF.items() if heavy])
def test_a_script_imports_no_heavy_library_that_it_does_without(names):
    trees = [ast.parse((SCRIPTS / f"{name}.py").read_text("utf-8")) for name in names.split()]
    imports = {
        ast.unparse(node)
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
    }
    answer = subprocess.run(
        [sys.executable, "-c", "\n".join([*sorted(imports), "import sys; print(*sys.modules)"])],
        env=os.environ | {"PYTHONPATH": str(SCRIPTS)},
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = set(answer.stdout.split())
    assert "labelnoise.errors" in loaded
    assert not FREE_OF[names] & loaded
