"""The errors whose messages are shown to people."""

from collections.abc import Iterator
from contextlib import contextmanager


class UserError(Exception):
    """An error that a person can correct: one sentence that says what is wrong and what to do about it.

    The page, the command line and the API show the sentence unchanged. Every other exception is a bug: it is logged, and the person learns
    only that something went wrong.
    """


class UsageError(UserError):
    """A flag or environment variable with an unusable value; the command line then exits with status 2."""


@contextmanager
def as_usage_error() -> Iterator[None]:
    """Turn a UserError into a UsageError: a value that this model does not have, such as layer 13 of 12, is a wrong flag."""
    try:
        yield
    except UserError as error:
        raise UsageError(str(error)) from None
