"""Errors that a user can cause and fix."""


class UserError(ValueError):
    """A mistake that a user can fix, in one line: the file, row or key, what is wrong with it, and the remedy.

    The command line prints it without a traceback and exits with code 2.
    """


class MissingFileError(UserError, FileNotFoundError):
    """A file, folder or model that does not exist."""
