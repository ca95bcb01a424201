"""What every importer's tests ask of a refusal."""

import pytest

from labelnoise.data.prepare import prepare_dataset
from labelnoise.errors import InputError


def assert_not_prepared(name, settings, root, *words):
    """Preparing fails with an error that holds the words, and nothing is written below `root`."""
    with pytest.raises(InputError) as error:
        prepare_dataset(name, settings, 0, root / "out" / "data.h5")
    for word in words:
        assert str(word) in str(error.value)
    assert not list(root.rglob("*.h5*"))
