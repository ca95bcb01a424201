"""What a session may be lengthened to."""

import pytest

from labelnoise.config import complete
from labelnoise.errors import InputError
from labelnoise.sessions import new_session
from labelnoise.study import Run
from settings import CONFIG

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
