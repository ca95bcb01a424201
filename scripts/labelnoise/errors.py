"""Errors that a user can mend."""


class InputError(ValueError):
    """A mistake of the user's; the message says in one sentence what, where and the mend."""
