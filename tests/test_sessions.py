"""What a session may be lengthened to."""

import pytest

from labelnoise.config import complete
from labelnoise.errors import InputError
from labelnoise.sessions import new_session, read_sessions
from labelnoise.study import Run, read_study, results_of
from own_modules import NET, SHAVE, write
from settings import CONFIG

OWN = {
    "models": {"x": {"network": "mynets.Net"}},
    "perturbations": {"x": {"kind": "mykinds.shave", "severity": 1}},
}
RUN = Run("x", "x", "x", "x", 0)


def session(folder, schedule):
    recipe = {"loss": "dice", "epochs": 10, "schedule": schedule}
    config = complete(
        CONFIG | {"recipes": {"x": recipe}, "pathvars": {"results": str(folder / "results")}}
    )
    return new_session(config, "mine", RUN, {})


@pytest.mark.parametrize("kind", ["poly", "cosine"])
def test_a_schedule_that_ends_with_its_epochs_is_not_lengthened(tmp_path, kind):
    started = session(tmp_path, {"kind": kind})
    says = f"'mine' follows the schedule '{kind}', which ends with its 10 epochs; .* for 15"
    with pytest.raises(InputError, match=says):
        started.lengthened(15)
    # As an interrupted session is gone on with.
    assert started.lengthened(10).recipe == started.recipe


@pytest.mark.parametrize("schedule", [None, {"kind": "step", "every": 4, "warmup": 2}])
def test_any_other_session_is_lengthened(tmp_path, schedule):
    assert session(tmp_path, schedule).lengthened(15).recipe.epochs == 15


def test_a_session_keeps_its_own_code_beside_its_config(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    studies = tmp_path / "studies"
    studies.mkdir()
    files = [write(studies, "mynets", NET), write(studies, "mykinds", SHAVE)]
    started = new_session(complete(CONFIG | OWN), "mine", RUN, {}, [studies / "own.yaml"])
    config = started.lengthened(120).showing(False).save()
    before = read_study(config)
    assert before.recipes["x"].epochs == 120
    for path in files:
        assert config.with_name(path.name).read_bytes() == path.read_bytes()
        # What is edited later is not the session's.
        path.write_text("")
    (again,) = read_sessions(results_of(CONFIG))
    study = read_study(again.save())
    assert study.models == before.models and study.perturbations == before.perturbations
    assert set(study.modules.values()) == {config.absolute().with_name(path.name) for path in files}


def test_a_session_without_its_own_code_is_not_started(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        InputError, match=r"'models\.x\.network' names 'mynets\.Net', .* no mynets\.py"
    ):
        new_session(complete(CONFIG | OWN), "mine", RUN, {}, ["own.yaml"])


def test_a_session_of_a_mixture_keeps_its_errors(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    errors = {"thick": {"kind": "bias", "severity": 1}, "thin": {"kind": "bias", "severity": 2}}
    errors["x"] = {"kind": "mixture", "of": ["thick", "thin"]}
    started = new_session(complete(CONFIG | {"perturbations": errors}), "mine", RUN, {}, [])
    study = read_study(started.save())
    assert [*study.perturbations["x"].errors] == ["thick", "thin"]


def test_a_session_is_of_a_network():
    models = {"x": {"network": "unet"}, "nnunet": {"trainer": "nnunet"}}
    recipes = {"x": {"loss": "dice"}, "own": {"loss": "trainer"}}
    config = complete(CONFIG | {"models": models, "recipes": recipes})
    for run, says in (
        (Run("x", "nnunet", "own", "x", 0), "model 'nnunet' is for trainers"),
        (Run("x", "x", "own", "x", 0), "recipe 'own' is for trainers"),
    ):
        with pytest.raises(InputError, match=says):
            new_session(config, "mine", run, {})
