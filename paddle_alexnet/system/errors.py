"""The one error that a user can cause and mend."""


class UserError(Exception):
    """One clear line: what is wrong, in which file, row or key, and the remedy.

    The tools print it without a traceback and exit with code 2.
    """
