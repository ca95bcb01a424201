"""What tests ask of a refusal."""

import pytest

from labelnoise.data.prepare import prepare_dataset
from labelnoise.errors import InputError


def refusal(function, *args, **kwargs):
    """Return the sentence in which a call is refused."""
    with pytest.raises(InputError) as error:
        function(*args, **kwargs)
    return str(error.value)


def assert_refused(words, function, *args, **kwargs):
    """A call is refused in a sentence that holds the words."""
    said = refusal(function, *args, **kwargs)
    for word in words:
        assert str(word) in said


def assert_not_prepared(name, settings, root, *words):
    """Preparing fails with an error that holds the words, and nothing is written below `root`."""
    assert_refused(words, prepare_dataset, name, settings, 0, root / "out" / "data.h5")
    assert not list(root.rglob("*.h5*"))
