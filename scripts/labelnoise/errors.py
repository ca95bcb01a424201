"""Errors that a user can fix."""


class InputError(ValueError):
    """A mistake of the user; the message says in one sentence what, where, and how to fix it."""


def reason(error: BaseException) -> str:
    """Return in one line what an error of another library says, or else its name."""
    return " ".join(str(error).split()) or type(error).__name__
