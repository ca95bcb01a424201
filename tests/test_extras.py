"""What is not installed is named before anything runs."""

import pytest

from labelnoise.errors import InputError
from labelnoise.extras import require


def test_a_library_that_is_not_there_is_named_with_what_installs_it():
    require("numpy", "a.b")
    with pytest.raises(InputError) as caught:
        require("no_such_library", "review.detectors")
    assert str(caught.value) == (
        "config key 'review.detectors' needs no_such_library, which is not installed; run `make "
        "no_such_library`, or leave it out."
    )


def test_a_target_of_another_name_is_named():
    with pytest.raises(InputError, match=r"needs no_such_library, .* run `make short`, or leave"):
        require("no_such_library", "models.x.trainer", "short")
