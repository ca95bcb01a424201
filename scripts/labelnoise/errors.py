"""Errors that a user can fix."""


class InputError(ValueError):
    """A mistake of the user; the message says in one sentence what, where, and how to fix it."""
