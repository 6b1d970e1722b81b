"""Values that a file held, checked against the type that they must have."""

from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from pydantic import TypeAdapter

T = TypeVar("T")


@cache
def adapter(kind: Any) -> "TypeAdapter[Any]":
    """Return what converts values to a type and back."""
    from pydantic import TypeAdapter  # when it is used, for the import takes a while

    return TypeAdapter(kind)


def check_types(kind: type[T], values: Any) -> T:
    """Return values of lists, dictionaries, text and numbers as a type, such as a dataclass.

    Raises:
        ValueError: They do not fit; the message is one line that names the first entry.
    """
    from pydantic import ValidationError

    try:
        found: T = adapter(kind).validate_python(values)  # type: ignore[arg-type]
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))[:200]
        raise ValueError(f"{where}: {first['msg']}" if where else first["msg"]) from None
    return found
