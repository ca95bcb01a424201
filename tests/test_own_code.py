"""Code of the user's own: where it is found, which is loaded, and what is said where it fails."""

import hashlib
import random
import sys

import pytest

from labelnoise.config import complete, load_config
from labelnoise.errors import InputError
from labelnoise.jobs.script import explain
from labelnoise.own_code import blame, digest_of, is_own, load_own, use_own_code
from labelnoise.study import Study, find_modules, read_study
from own_modules import NET, SHAVE, use, write
from workflow_runs import ROOT

pytestmark = pytest.mark.usefixtures("no_own_code")
OVERLAY = """
models: {mine: {network: mynets.Net, settings: {width: 3}}}
perturbations: {shaved: {kind: mykinds.shave, target_dice: 0.9}}
matrix: {model: [mine], perturbation: [control, shaved]}
"""


@pytest.fixture
def overlay(tmp_path):
    """A config beside its own code."""
    folder = tmp_path / "studies"
    folder.mkdir()
    write(folder, "mynets", NET)
    write(folder, "mykinds", SHAVE)
    path = folder / "own.yaml"
    path.write_text(OVERLAY)
    return path


def read(overlay):
    return read_study(ROOT / "config.yaml", overlay)


def test_a_name_with_a_module_is_the_users_but_for_libraries():
    assert is_own("mykinds.shave") and is_own("smpnets.Net")
    assert not is_own("smp.Unet") and not is_own("natural")


def test_definitions_carry_the_digest_of_their_file(overlay):
    study = read(overlay)
    digests = {
        name: hashlib.sha256(overlay.with_name(f"{name}.py").read_bytes()).hexdigest()[:12]
        for name in ("mynets", "mykinds")
    }
    assert study.models["mine"].as_dict() == {
        "network": "mynets.Net",
        "settings": {"width": 3},
        "code": digests["mynets"],
    }
    assert study.perturbations["shaved"].as_dict()["code"] == digests["mykinds"]
    assert "code" not in study.perturbations["control"].as_dict()
    assert "code" not in study.models["unet"].as_dict()
    # A byte more is other code, for those that it concerns.
    with open(overlay.with_name("mynets.py"), "a") as file:
        file.write("\n")
    changed = read(overlay)
    assert changed.models["mine"] != study.models["mine"]
    assert changed.perturbations["shaved"] == study.perturbations["shaved"]


def test_code_is_looked_for_beside_the_last_config_first_and_then_in_the_working_folder(
    overlay, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    here, other = tmp_path / "mynets.py", tmp_path / "other"
    other.mkdir()
    here.write_text("# the working folder's")
    assert read(overlay).modules["mynets"] == overlay.with_name("mynets.py")
    (other / "more.yaml").write_text("seed: 3")
    write(other, "mynets", NET)
    found = read_study(ROOT / "config.yaml", overlay, other / "more.yaml").modules
    assert found == {"mynets": other / "mynets.py", "mykinds": overlay.with_name("mykinds.py")}
    # Where it lies is no part of what it is.
    moved = read_study(ROOT / "config.yaml", overlay, other / "more.yaml").models["mine"]
    assert moved == read(overlay).models["mine"]
    overlay.with_name("mynets.py").unlink()
    assert read(overlay).modules["mynets"] == here


@pytest.mark.parametrize(
    ("definition", "key", "says"),
    [
        ({"kind": "os.system", "severity": 1}, "perturbations.x.kind", "'os.system'.* no os.py in"),
        ({"kind": "labelnoise.x", "severity": 1}, "perturbations.x.kind", "no labelnoise.py in"),
        ({"network": "torch.Net"}, "models.x.network", "'torch.Net'.* no torch.py in .*beside"),
    ],
)
def test_no_other_module_is_ever_loaded(tmp_path, monkeypatch, definition, key, says):
    monkeypatch.chdir(tmp_path)
    section, axis = (
        ("models", "model") if "network" in definition else ("perturbations", "perturbation")
    )
    config = load_config(ROOT / "config.yaml")
    config[section]["x"] = definition
    unselected = complete(config)
    # What the matrix does not select is not asked for.
    assert find_modules(unselected, ["config.yaml"]) == {}
    config["matrix"][axis] = [*config["matrix"][axis], "x"]
    with pytest.raises(InputError, match=f"config key '{key}' names {says}|{says}") as raised:
        find_modules(complete(config), ["config.yaml"])
    assert key in str(raised.value) and str(tmp_path) in str(raised.value)


@pytest.mark.parametrize("name", ["os.path.join", "mykinds._hidden", "../x.shave", "a b.c", "x."])
def test_a_name_is_one_module_and_one_public_name(name):
    config = load_config(ROOT / "config.yaml")
    config["perturbations"]["x"] = {"kind": name, "severity": 1}
    with pytest.raises(InputError, match=r"perturbations\.x\.kind.*<module>\.<function>"):
        complete(config)
    config["perturbations"].pop("x")
    config["models"]["x"] = {"network": name}
    with pytest.raises(InputError, match=r"models\.x\.network.*<module>\.<class>"):
        complete(config)


def test_a_slope_may_be_over_a_kind_of_ones_own(overlay):
    config = load_config(ROOT / "config.yaml", overlay)
    config["claims"] = {"x": {"kind": "slope", "error": "mykinds.shave", "above": 1}}
    config["matrix"]["claims"] = ["x"]
    assert {claim.error for claim in Study.of(complete(config)).claims} == {"mykinds.shave"}


def test_a_file_hides_no_other_module(tmp_path):
    use(tmp_path, "random", "def one(mask, severity, rng):\n    return mask")
    assert load_own("random.one")(3, 0, None) == 3
    assert sys.modules["random"] is random and hasattr(random, "uniform")


def test_code_of_another_digest_is_refused_and_what_was_loaded_serves_on(tmp_path):
    code = use(tmp_path, "mine", "def size(): return 1")
    assert load_own("mine.size", code)() == 1
    path = write(tmp_path, "mine", "def size(): return 2")
    assert load_own("mine.size", code)() == load_own("mine.size")() == 1
    later = digest_of(path)
    assert load_own("mine.size", later)() == 2
    with pytest.raises(InputError, match=rf"mine\.py is not .*digest is {later}, expected {code};"):
        load_own("mine.size", code)


def test_a_missing_file_is_named_with_its_digest(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        InputError, match=r"'mine\.size' needs the file mine\.py with the digest 1a"
    ):
        load_own("mine.size", "1a2b")
    write(tmp_path, "mine", "def size(): return 4")
    assert load_own("mine.size")() == 4


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("def size(:\n    pass", r"mine\.py, line 1, is not Python: "),
        ("x = 1\ny = x / 0", r"mine\.py, line 2, in <module>: ZeroDivisionError: division by zero"),
        ("import nowhere", r"mine\.py imports 'nowhere', which is not installed; .*one file"),
        ("import sys\nsys.exit(3)", r"mine\.py, line 2, in <module>: SystemExit: 3"),
        ("raise RuntimeError('a\\nb')", r"line 1, in <module>: RuntimeError: a b\.$"),
        ("def sise(): pass", r"mine\.py does not define 'size', .*; it defines sise\.$"),
        ("", r"does not define 'size'.*; it defines nothing\.$"),
        ("x = '\0'", r"mine\.py"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_sentence(tmp_path, text, says):
    use(tmp_path, "mine", text)
    with pytest.raises(InputError, match=says) as raised:
        load_own("mine.size")
    assert "\n" not in str(raised.value)


def test_an_error_in_own_code_is_told_from_ours(tmp_path):
    use(tmp_path, "mine", "def inner():\n    return {}['no']\n\ndef size():\n    return inner()")
    with pytest.raises(KeyError) as raised:
        load_own("mine.size")()
    says = f"{tmp_path / 'mine.py'}, line 2, in inner: KeyError: 'no'."
    assert blame(raised.value) == explain(raised.value, "x.log") == says
    assert blame(KeyError("no")) is None


def test_paths_may_be_text(tmp_path):
    path = write(tmp_path, "mine", "def size(): return 5")
    use_own_code({"mine": str(path)})
    assert load_own("mine.size", digest_of(path))() == 5
