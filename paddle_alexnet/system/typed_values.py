"""Type checks of values read from files."""

from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from pydantic import TypeAdapter

T = TypeVar("T")


@cache
def adapter(kind: Any) -> "TypeAdapter[Any]":
    """Return pydantic's adapter for a type, cached."""
    from pydantic import TypeAdapter  # slow to import

    return TypeAdapter(kind)


def check_types(kind: type[T], values: Any) -> T:
    """Convert lists, dictionaries, text and numbers to a type, such as a dataclass.

    Raises:
        ValueError: A value does not match its type; the message is one line that names the first such entry.
    """
    from pydantic import ValidationError

    try:
        found: T = adapter(kind).validate_python(values)  # type: ignore[arg-type]
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))[:200]
        raise ValueError(f"{where}: {first['msg']}" if where else first["msg"]) from None
    return found
