"""Errors that a user can mend."""


class InputError(ValueError):
    """Something the user gave is wrong; the message is one sentence that says what, where and the mend."""
