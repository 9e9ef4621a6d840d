"""The one error whose words a person is shown."""


class UserError(Exception):
    """Something a person can mend: one sentence that says what is wrong and what to do about it.

    The page, the command line and the API show the sentence as it stands. Every other exception is a fault of ours: it is logged, and the
    person is told only that.
    """


class UsageError(UserError):
    """A flag or variable that can't be used; the command line ends with status 2."""
