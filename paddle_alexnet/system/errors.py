"""The error for mistakes that a user can fix."""


class UserError(Exception):
    """A mistake that a user can fix, in one line: `<thing>: <what is wrong>; <imperative remedy>`.

    The command line prints it without a traceback and exits with code 2.
    """
