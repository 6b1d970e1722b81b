"""Names that a user types, checked against those there are."""

import difflib
from collections.abc import Iterable

from paddle_alexnet.errors import UserError

DEFAULT_RECIPE = "scratch"
DEMO_RECIPE = "demo"  # of a run without a data set
LRN_BACKENDS = ("avgpool3d", "builtin", "band", "native", "none")  # of local response normalisation
KERNELS = ("compiled", "paddle")  # what computes the layers on a CPU
PRECISIONS = ("float32", "bfloat16", "int8")  # of the numbers that an exported model computes with on a CPU


def one_of(name: str, known: Iterable[str], *, what: str) -> str:
    """Return the name if it is known, else raise UserError that says the nearest and lists them all."""
    known = list(known)
    if name in known:
        return name
    nearest = difflib.get_close_matches(str(name), known, n=1, cutoff=0.0)[0]
    raise UserError(f"unknown {what} {name!r}; did you mean {nearest!r}? There are: {', '.join(known)}")


def check_color(text: str) -> str:
    """Return a color as #rrggbb. Raises UserError for what is neither a CSS name nor a code such as #ff8000."""
    from PIL import ImageColor

    try:
        return "#{:02x}{:02x}{:02x}".format(*ImageColor.getrgb(text)[:3])
    except ValueError:
        raise UserError(f"{text!r} is not a color; write a name such as white, or #rrggbb") from None
