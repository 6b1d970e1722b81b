"""Checks of names that a user types, with a guess at the one that was meant."""

import difflib
from collections.abc import Iterable
from typing import Optional

from paddle_alexnet.system.errors import UserError

DEFAULT_RECIPE = "scratch"
DEMO_RECIPE = "demo"  # for a run without a data set
LRN_BACKENDS = ("avgpool3d", "builtin", "band", "native", "none")
KERNELS = ("compiled", "paddle")  # for the layers on a CPU
PRECISIONS = ("float32", "bfloat16", "int8")  # of an exported model on a CPU


def one_of(name: str, known: Iterable[str], *, what: str) -> str:
    """Return the name if it is known, else raise UserError with the known names and the most similar one."""
    known = list(known)
    if name in known:
        return name
    near = nearest(str(name), known)
    guess = f"did you mean {near!r}? Choose" if near else "choose"
    raise UserError(f"unknown {what} {str(name)[:100]!r}; {guess} one of: {', '.join(known)}")


def nearest(name: str, known: Iterable[str], *, cutoff: float = 0.6) -> Optional[str]:
    """Return the most similar known name, ignoring case; None if none is similar.

    Args:
        cutoff: The lowest ratio of `difflib`, from 0 to 1, that counts as similar.
    """
    spellings = {each.lower(): each for each in known}
    found = difflib.get_close_matches(name[:100].lower(), spellings, n=1, cutoff=cutoff)
    return spellings[found[0]] if found else None


def check_color(text: str) -> str:
    """Return a color as #rrggbb, or raise UserError if it is neither a CSS name nor a code such as #ff8000."""
    from PIL import ImageColor

    try:
        return "#{:02x}{:02x}{:02x}".format(*ImageColor.getrgb(text)[:3])
    except ValueError:
        raise UserError(f"{text!r}: is not a color; write a name such as white, or #rrggbb") from None
