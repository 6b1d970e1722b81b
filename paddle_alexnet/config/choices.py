"""Names that a user types, checked against those there are."""

import difflib
from collections.abc import Iterable
from typing import Optional

from paddle_alexnet.system.errors import UserError

DEFAULT_RECIPE = "scratch"
DEMO_RECIPE = "demo"  # of a run without a data set
LRN_BACKENDS = ("avgpool3d", "builtin", "band", "native", "none")  # of local response normalization
KERNELS = ("compiled", "paddle")  # what computes the layers on a CPU
PRECISIONS = ("float32", "bfloat16", "int8")  # of the numbers that an exported model computes with on a CPU


def one_of(name: str, known: Iterable[str], *, what: str) -> str:
    """Return the name if it is known, else raise UserError that lists the known ones and says the nearest if any is."""
    known = list(known)
    if name in known:
        return name
    near = nearest(str(name), known)
    guess = f"did you mean {near!r}? There are" if near else "there are"
    raise UserError(f"unknown {what} {str(name)[:100]!r}; {guess}: {', '.join(known)}")


def nearest(name: str, known: Iterable[str], *, cutoff: float = 0.6) -> Optional[str]:
    """Return the known name that is most like one, in whatever case; None if none is like it.

    Args:
        cutoff: the least ratio of `difflib` that counts as alike, of 0 to 1.
    """
    spellings = {each.lower(): each for each in known}
    found = difflib.get_close_matches(name[:100].lower(), spellings, n=1, cutoff=cutoff)
    return spellings[found[0]] if found else None


def check_color(text: str) -> str:
    """Return a color as #rrggbb. Raises UserError for what is neither a CSS name nor a code such as #ff8000."""
    from PIL import ImageColor

    try:
        return "#{:02x}{:02x}{:02x}".format(*ImageColor.getrgb(text)[:3])
    except ValueError:
        raise UserError(f"{text!r} is not a color; write a name such as white, or #rrggbb") from None
