"""A signal that shall end a process does so, wherever it comes."""

import signal

import pytest

from labelnoise.jobs.signals import ended_by


def ask():
    signal.raise_signal(signal.SIGTERM)


class AsksWhenDestroyed:
    def __del__(self):
        ask()


def ask_while_an_object_is_destroyed():
    # Python prints and forgets what is raised in there.
    AsksWhenDestroyed()


def ask_in_compiled_code():
    try:
        ask()
    except SystemExit:
        raise SystemError("returned a result with an exception set") from None


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("asked", [ask, ask_while_an_object_is_destroyed, ask_in_compiled_code])
def test_a_signal_ends_the_process(asked):
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as left, ended_by(signal.SIGTERM):
        asked()
    assert left.value.code == 143
    assert signal.getsignal(signal.SIGTERM) is before


def test_an_error_without_a_signal_stays_what_it_is():
    with pytest.raises(SystemError), ended_by(signal.SIGTERM):
        raise SystemError
