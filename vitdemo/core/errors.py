"""The errors whose messages are shown to people."""

from collections.abc import Iterator
from contextlib import contextmanager


class UserError(Exception):
    """An error that a person can correct: one sentence that says what is wrong and what to do about it.

    The page, the command line and the API show the sentence unchanged. Every other exception is a bug: it is logged, and the person learns
    only that something went wrong.
    """


class QueueFull(UserError):
    """A queue that takes nothing more for now.

    Args:
        kind: what waits in it, in the plural.
        waiting: how many wait.
        when: how long from now it is worth another try.
    """

    def __init__(self, kind: str, waiting: int, when: str = "a minute"):
        super().__init__(f"The app is busy: the queue for {kind} is full, with {waiting} waiting. Try again in {when}.")


class UsageError(UserError):
    """A flag or environment variable with an unusable value; the command line then exits with status 2."""


@contextmanager
def as_usage_error() -> Iterator[None]:
    """Turn a UserError into a UsageError: a value that this model does not have, such as layer 13 of 12, is a wrong flag."""
    try:
        yield
    except UserError as error:
        raise UsageError(str(error)) from None
