"""A safe reader of arrays in pickles.

Python's unpickler calls functions that a file names, and trusts the file's sizes. This reader builds arrays by the few
functions below, which check every size against the available bytes; any other object stays `Unread`. Python's
`Lib/pickletools.py` describes the opcodes.
"""

import codecs
import math
import pickle
import struct
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO, Callable, NamedTuple, Optional

import numpy as np

from paddle_alexnet.weights.entries import (
    BFLOAT16,
    MAX_NAME,
    Unread,
    array_of,
    checked_shape,
    decode,
    numeric,
    printable,
    read_exactly,
    size_left,
)

MAX_STEPS = 1_000_000  # opcodes; a checkpoint with optimizer state has some thousands
MAX_DEPTH = 32  # nested containers
_MAX_KEY = 1 << 63  # larger integers could be chosen to have equal hashes


class Name(NamedTuple):
    """A class or function that a file names."""

    module: str
    name: str


class Array:
    """A NumPy array; `value` is a list for an object array."""

    def __init__(self, value: Any = None) -> None:
        self.value = value

    def build(self, state: Any) -> None:
        shape, dtype, column_major, raw = state[-4:]
        self.fill(raw, dtype, shape, column_major=bool(column_major))

    def fill(self, raw: Any, dtype: Any, shape: Any, *, column_major: bool) -> None:
        if not isinstance(dtype, DType):
            raise ValueError("array without a type")
        if dtype.kind == "O":
            sides = checked_shape(shape)
            if not isinstance(raw, list) or len(raw) != math.prod(sides):
                raise ValueError("object array without its objects")
            self.value = raw if sides else raw[0]
        elif numeric(dtype.kind) is None:
            self.value = Unread(f"numpy {dtype.kind[:20]}")
        elif not isinstance(raw, bytes):
            raise ValueError("array without bytes")
        else:
            self.value = array_of(raw, dtype.kind, shape, column_major=column_major)


class DType:
    """A NumPy data type such as `<f4`; `O` is an object."""

    def __init__(self, kind: str) -> None:
        self.kind = "O" if kind.lstrip("|") in ("O", "O4", "O8") else kind

    def build(self, state: Any) -> None:
        order, parts, names = state[1:4]
        if parts is not None or names is not None:
            self.kind = "several fields"
        elif numeric(self.kind):
            self.kind = _text(order) + (numeric(self.kind) or "").lstrip("<>|=")


class PickleReader:
    """A reader of consecutive pickles in a stream. Damaged or too large ones raise ValueError or similar.

    Args:
        size: Bytes to read at most; by default to the end of the stream.
        unread: Receives the names of objects that are not built.
        functions: Replacements of the functions that a pickle calls; they receive the reader and the arguments.
        persistent: Returns the object of a persistent id.
    """

    def __init__(
        self,
        stream: BinaryIO,
        *,
        size: Optional[int] = None,
        unread: Optional[set[str]] = None,
        functions: Optional[Mapping[Name, Callable[..., Any]]] = None,
        persistent: Optional[Callable[[Any], Any]] = None,
    ) -> None:
        self.unread: set[str] = set() if unread is None else unread
        self._stream = stream
        self._left = size_left(stream) if size is None else size
        self._encoded = self._left  # bound of bytes made from text
        self._steps = MAX_STEPS
        self._functions = {**_FUNCTIONS, **(functions or {})}
        self._persistent = persistent

    def load(self) -> Any:
        """Return the next object: numbers, text, bytes, tuples, lists, dictionaries, `Array` and `Unread`."""
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: dict[int, Any] = {}
        while True:
            opcode = self._read(1)
            self.count(1)
            if opcode == pickle.STOP:
                return self._pop()
            step = _STEPS.get(opcode)
            if step is None:
                raise ValueError(f"unsupported opcode {opcode!r}")
            step(self)

    def count(self, items: int) -> None:
        """Count steps. Raises ValueError beyond MAX_STEPS."""
        self._steps -= items
        if self._steps < 0:
            raise ValueError(f"more than {MAX_STEPS:,} objects")

    def encode(self, text: str) -> bytes:
        """Encode text of code points below 256, in which Python 3 writes bytes for Python 2."""
        self._encoded -= len(text)
        if self._encoded < 0:
            raise ValueError("more bytes than the file has")
        return text.encode("latin1")

    def leave(self, what: Any) -> Unread:
        """Return a placeholder for an object that is not built."""
        name = printable(f"{what.module}.{what.name}") if isinstance(what, Name) else "an object"
        if len(self.unread) < 10:
            self.unread.add(name)
        return Unread(name)

    def set_item(self, target: Any, key: Any, value: Any) -> None:
        """Set an item of a dictionary; skip keys other than text and bounded integers."""
        if isinstance(target, Unread):
            return
        if not isinstance(target, dict):
            raise ValueError("keys in an object without keys")
        if isinstance(key, bytes):
            key = _text(key)
        if isinstance(key, str) and len(key) > MAX_NAME:
            raise ValueError(f"name of {len(key):,} characters")
        if isinstance(key, str) or (isinstance(key, int) and abs(key) < _MAX_KEY):
            target[key] = value

    def _read(self, size: int) -> bytes:
        if size > self._left:
            raise ValueError("truncated")
        self._left -= size
        return read_exactly(self._stream, size)

    def _line(self, limit: Optional[int] = None) -> bytes:
        line = self._stream.readline(self._left if limit is None else min(limit, self._left))
        self._left -= len(line)
        if not line.endswith(b"\n"):
            raise ValueError("truncated, or a line is too long")
        return line[:-1]

    def _unpack(self, form: str) -> Any:
        return struct.unpack(form, self._read(struct.calcsize(form)))[0]

    def _push(self, value: Any) -> None:
        self._stack.append(value)

    def _pop(self) -> Any:
        if len(self._stack) <= (self._marks[-1] if self._marks else 0):
            raise ValueError("empty stack")
        return self._stack.pop()

    def _top(self) -> Any:
        self._push(top := self._pop())
        return top

    def _pop_to_mark(self) -> list[Any]:
        if not self._marks:
            raise ValueError("stack without a mark")
        start = self._marks.pop()
        items = self._stack[start:]
        del self._stack[start:]
        return items

    # One method per opcode, or per group of opcodes that differ in a length.

    def _mark(self) -> None:
        self._marks.append(len(self._stack))

    def _pop_one(self) -> None:
        if self._marks and len(self._stack) == self._marks[-1]:
            self._marks.pop()
        else:
            self._pop()

    def _number_line(self) -> None:
        text = self._line(100).strip()
        self._push({b"00": False, b"01": True}[text] if text in (b"00", b"01") else int(text.rstrip(b"L")))

    def _long(self, form: str) -> None:
        size = self._unpack(form)
        if not 0 <= size <= 40:  # a random generator's state has up to 17
            raise ValueError(f"number of {size:,} bytes")
        self._push(int.from_bytes(self._read(size), "little", signed=True))

    def _quoted(self) -> None:
        line = self._line().strip()
        if len(line) < 2 or line[:1] != line[-1:] or line[:1] not in (b"'", b'"'):
            raise ValueError("text without quotes")
        self._push(codecs.escape_decode(line[1:-1])[0])

    def _tuple(self, size: int) -> None:
        items = [self._pop() for _ in range(size)]
        self._push(tuple(items[::-1]))

    def _dictionary(self) -> None:
        items = self._pop_to_mark()
        self._push({})
        self._set_items(items)

    def _set_items(self, items: list[Any]) -> None:
        if len(items) % 2:
            raise ValueError("key without a value")
        for key, value in zip(items[::2], items[1::2]):
            self.set_item(self._top(), key, value)

    def _set_one(self) -> None:
        value, key = self._pop(), self._pop()
        self.set_item(self._top(), key, value)

    def _append(self, items: list[Any]) -> None:
        target = self._top()
        if isinstance(target, list):
            target.extend(items)
        elif not isinstance(target, Unread):
            raise ValueError("items in an object without items")

    def _put(self, index: int) -> None:
        if not 0 <= index < 1 << 32:
            raise ValueError("invalid reference")
        self._memo[index] = self._top()

    def _get(self, index: int) -> None:
        if index not in self._memo:
            raise ValueError("reference to nothing")
        self._push(self._memo[index])

    def _name(self, module: Any, name: Any) -> None:
        module, name = _text(module), _text(name)
        if len(module) > MAX_NAME or len(name) > MAX_NAME:
            raise ValueError(f"name of {max(len(module), len(name)):,} characters")
        self._push(Name(module, name))

    def _name_from_stack(self) -> None:
        name, module = self._pop(), self._pop()
        self._name(module, name)

    def _call(self) -> None:
        arguments, function = self._pop(), self._pop()
        known = self._functions.get(function) if isinstance(function, Name) else None
        if known is None:
            self._push(self.leave(function))
        elif not isinstance(arguments, tuple):
            raise ValueError("call without arguments")
        else:
            self._push(known(self, *arguments))

    def _new(self, *, keywords: bool = False) -> None:
        if keywords:
            self._pop()
        self._pop()
        self._push(self.leave(self._pop()))

    def _instance(self) -> None:
        self._pop_to_mark()
        self._name(self._line(MAX_NAME + 1), self._line(MAX_NAME + 1))
        self._push(self.leave(self._pop()))

    def _object(self) -> None:
        self._push(self.leave(next(iter(self._pop_to_mark()), None)))

    def _build(self) -> None:
        state = self._pop()
        build = getattr(self._top(), "build", None)
        if build is not None:  # containers and unread objects ignore their attributes
            build(state)

    def _outside(self, pid: Any) -> None:
        self._push(self.leave(None) if self._persistent is None else self._persistent(pid))


_STEPS: dict[bytes, Callable[[PickleReader], Any]] = {
    pickle.PROTO: lambda r: r._read(1),
    pickle.FRAME: lambda r: r._read(8),
    pickle.MARK: PickleReader._mark,
    pickle.POP: PickleReader._pop_one,
    pickle.POP_MARK: lambda r: r._pop_to_mark(),
    pickle.DUP: lambda r: r._push(r._top()),
    pickle.NONE: lambda r: r._push(None),
    pickle.NEWTRUE: lambda r: r._push(True),
    pickle.NEWFALSE: lambda r: r._push(False),
    pickle.INT: PickleReader._number_line,
    pickle.LONG: PickleReader._number_line,
    pickle.BININT: lambda r: r._push(r._unpack("<i")),
    pickle.BININT1: lambda r: r._push(r._unpack("<B")),
    pickle.BININT2: lambda r: r._push(r._unpack("<H")),
    pickle.LONG1: lambda r: r._long("<B"),
    pickle.LONG4: lambda r: r._long("<i"),
    pickle.FLOAT: lambda r: r._push(float(r._line(100))),
    pickle.BINFLOAT: lambda r: r._push(r._unpack(">d")),
    pickle.STRING: PickleReader._quoted,  # Python 2's text or bytes; names are decoded later
    pickle.BINSTRING: lambda r: r._push(r._read(r._unpack("<I"))),
    pickle.SHORT_BINSTRING: lambda r: r._push(r._read(r._unpack("<B"))),
    pickle.UNICODE: lambda r: r._push(r._line().decode("raw-unicode-escape")),
    pickle.BINUNICODE: lambda r: r._push(r._read(r._unpack("<I")).decode("utf-8", "surrogatepass")),
    pickle.SHORT_BINUNICODE: lambda r: r._push(r._read(r._unpack("<B")).decode("utf-8", "surrogatepass")),
    pickle.BINUNICODE8: lambda r: r._push(r._read(r._unpack("<Q")).decode("utf-8", "surrogatepass")),
    pickle.BINBYTES: lambda r: r._push(r._read(r._unpack("<I"))),
    pickle.SHORT_BINBYTES: lambda r: r._push(r._read(r._unpack("<B"))),
    pickle.BINBYTES8: lambda r: r._push(r._read(r._unpack("<Q"))),
    pickle.BYTEARRAY8: lambda r: r._push(r._read(r._unpack("<Q"))),
    pickle.EMPTY_TUPLE: lambda r: r._push(()),
    pickle.TUPLE1: lambda r: r._tuple(1),
    pickle.TUPLE2: lambda r: r._tuple(2),
    pickle.TUPLE3: lambda r: r._tuple(3),
    pickle.TUPLE: lambda r: r._push(tuple(r._pop_to_mark())),
    pickle.EMPTY_LIST: lambda r: r._push([]),
    pickle.LIST: lambda r: r._push(r._pop_to_mark()),
    pickle.APPEND: lambda r: r._append([r._pop()]),
    pickle.APPENDS: lambda r: r._append(r._pop_to_mark()),
    pickle.EMPTY_DICT: lambda r: r._push({}),
    pickle.DICT: PickleReader._dictionary,
    pickle.SETITEM: PickleReader._set_one,
    pickle.SETITEMS: lambda r: r._set_items(r._pop_to_mark()),
    pickle.EMPTY_SET: lambda r: r._push([]),  # a list, because a set would hash its items
    pickle.ADDITEMS: lambda r: r._append(r._pop_to_mark()),
    pickle.FROZENSET: lambda r: r._push(r._pop_to_mark()),
    pickle.PUT: lambda r: r._put(int(r._line(20))),
    pickle.BINPUT: lambda r: r._put(r._unpack("<B")),
    pickle.LONG_BINPUT: lambda r: r._put(r._unpack("<I")),
    pickle.MEMOIZE: lambda r: r._put(len(r._memo)),
    pickle.GET: lambda r: r._get(int(r._line(20))),
    pickle.BINGET: lambda r: r._get(r._unpack("<B")),
    pickle.LONG_BINGET: lambda r: r._get(r._unpack("<I")),
    pickle.GLOBAL: lambda r: r._name(r._line(MAX_NAME + 1), r._line(MAX_NAME + 1)),
    pickle.STACK_GLOBAL: PickleReader._name_from_stack,
    pickle.REDUCE: PickleReader._call,
    pickle.NEWOBJ: PickleReader._new,
    pickle.NEWOBJ_EX: lambda r: r._new(keywords=True),
    pickle.INST: PickleReader._instance,
    pickle.OBJ: PickleReader._object,
    pickle.BUILD: PickleReader._build,
    pickle.PERSID: lambda r: r._outside(r._line(1000)),
    pickle.BINPERSID: lambda r: r._outside(r._pop()),
}


def _text(value: Any) -> str:
    """Return text, which Python 2 wrote as bytes."""
    if isinstance(value, bytes):
        return value[: MAX_NAME + 1].decode("latin1")
    if not isinstance(value, str):
        raise ValueError("name that is not text")
    return value


def _items(reader: PickleReader, items: Any = ()) -> list[Any]:
    if not isinstance(items, (list, tuple)):
        raise ValueError("invalid items")
    reader.count(len(items))
    return list(items)


def _ordered_dict(reader: PickleReader, pairs: Any = ()) -> dict[Any, Any]:
    found: dict[Any, Any] = {}
    for key, value in _items(reader, pairs):
        reader.set_item(found, key, value)
    return found


def _encode(reader: PickleReader, text: Any, encoding: Any) -> bytes:
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise ValueError("text in an unknown encoding")
    return reader.encode(text)


def _byte_array(reader: PickleReader, content: Any = b"", *encoding: Any) -> bytes:
    if isinstance(content, bytes):
        return content
    return _encode(reader, content, *encoding)


def _dtype(_: PickleReader, kind: Any, *__: Any) -> DType:
    return DType(_text(kind))


def _scalar(_: PickleReader, dtype: Any, raw: Any = b"") -> Array:
    scalar = Array()
    scalar.fill([raw] if isinstance(dtype, DType) and dtype.kind == "O" else raw, dtype, (), column_major=False)
    return scalar


def _from_buffer(_: PickleReader, raw: Any, dtype: Any, shape: Any, order: Any) -> Array:
    array = Array()
    array.fill(raw, dtype, shape, column_major=order == "F")
    return array


_BUILTINS: dict[str, Callable[..., Any]] = {
    "tuple": lambda *a: tuple(_items(*a)),  # Paddle writes a tensor as name and array
    "list": _items,
    "set": _items,
    "frozenset": _items,
    "bytes": _byte_array,
    "bytearray": _byte_array,
}
_NUMPY: dict[tuple[str, str], Callable[..., Any]] = {
    ("multiarray", "_reconstruct"): lambda *_: Array(),
    ("multiarray", "scalar"): _scalar,
    ("numeric", "_frombuffer"): _from_buffer,
}
_FUNCTIONS: dict[Name, Callable[..., Any]] = {
    Name("_codecs", "encode"): _encode,  # bytes in pickles for Python 2
    Name("collections", "OrderedDict"): _ordered_dict,
    Name("collections", "defaultdict"): lambda *_: {},
    Name("numpy", "dtype"): _dtype,
    **{Name(module, name): call for module in ("builtins", "__builtin__") for name, call in _BUILTINS.items()},
    **{  # of NumPy 1 and 2
        Name(f"numpy.{core}.{module}", name): call
        for core in ("core", "_core")
        for (module, name), call in _NUMPY.items()
    },
}


def named(content: Any) -> Iterator[tuple[str, Any]]:
    """Yield the leaves of nested containers with their paths, such as `state_dict/conv1.weight`.

    Raises ValueError for deep nesting, and for so many objects that a container must repeat.
    """
    left = MAX_STEPS

    def walk(content: Any, name: str, depth: int) -> Iterator[tuple[str, Any]]:
        nonlocal left
        if isinstance(content, Array):
            content = content.value
        elif isinstance(content, tuple) and [type(item) for item in content] == [str, Array]:
            content = content[1].value  # a tensor of Paddle
        if not isinstance(content, (dict, list, tuple)):
            yield name, content
            return
        left -= len(content)
        if depth > MAX_DEPTH or left < 0:
            raise ValueError("nested too deep" if left >= 0 else f"more than {MAX_STEPS:,} objects")
        for key, value in content.items() if isinstance(content, dict) else enumerate(content):
            yield from walk(value, f"{name}/{key}" if name else str(key), depth + 1)

    return walk(content, "", 0)


def load_pdparams(stream: BinaryIO) -> dict[str, np.ndarray]:
    """Return the arrays of a state dict that Paddle saved; bfloat16 becomes float32.

    Damaged content, and content other than named arrays, raises ValueError or similar.
    """
    reader = PickleReader(stream)
    content = reader.load()
    if not isinstance(content, dict):
        raise ValueError(f"a {type(content).__name__.lower()} instead of named arrays")
    if reader.unread:
        raise ValueError(f"it would run {', '.join(sorted(reader.unread))}; save only the weights")
    return {name: of_paddle(value) for name, value in named(content) if isinstance(value, np.ndarray)}


def of_paddle(array: np.ndarray) -> np.ndarray:
    """Decode uint16 as bfloat16: Paddle, which has no uint16, saves bfloat16 so."""
    return decode(array.tobytes(), BFLOAT16).reshape(array.shape) if array.dtype == np.uint16 else array
