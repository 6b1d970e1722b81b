"""The reader of pickles beside Python's own, which wrote them; and what it refuses."""

import collections
import io
import pickle

import numpy as np
import pytest
from hostile import Call, array

from paddle_alexnet.weights.unpickle import MAX_DEPTH, PickleReader, load_pdparams, named

rng = np.random.default_rng(0)
CONTENT = collections.OrderedDict(
    little=rng.standard_normal((3, 4), np.float32),
    big=np.arange(5, dtype=">f8"),
    fortran=np.asfortranarray(rng.standard_normal((2, 3))),
    half=np.array([1, 2], np.float16),
    none=np.zeros((0, 3)),
    number=np.float64(2.5),
    objects=np.array([np.ones(2), np.zeros(3)], dtype=object),
    nested=[{"a": np.ones(2)}, (np.zeros(1), {"ä": True})],
    tensor=("its own name", np.ones((2, 2))),
    huge=2**100,
    numbers=[-5, 70_000, 255, -1, 1.5, None, False, 2**40],
    raw=[b"ab", bytearray(b"xy"), b"\x80" * 300],
    sets=[{1}, frozenset([2])],
    text="ü" * 300,
)
EXPECTED = {
    **{name: value for name, value in CONTENT.items() if isinstance(value, np.ndarray) and name != "objects"},
    "objects/0": np.ones(2),
    "objects/1": np.zeros(3),
    "nested/0/a": np.ones(2),
    "nested/1/0": np.zeros(1),
    "nested/1/1/ä": True,
    "tensor": np.ones((2, 2)),
    "number": 2.5,
    "huge": 2**100,
    **{f"numbers/{i}": value for i, value in enumerate(CONTENT["numbers"])},
    **{f"raw/{i}": bytes(value) for i, value in enumerate(CONTENT["raw"])},
    "sets/0/0": 1,
    "sets/1/0": 2,
    "text": "ü" * 300,
}


def read(content):
    reader = PickleReader(io.BytesIO(content))
    return dict(named(reader.load())), reader.unread


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_reads_what_python_and_numpy_pickle(protocol):
    found, unread = read(pickle.dumps(CONTENT, protocol))
    assert found.keys() == EXPECTED.keys()
    for name, value in EXPECTED.items():
        assert np.array_equal(found[name], value), name
        if isinstance(value, np.ndarray):
            assert found[name].dtype == value.dtype, name
    assert not unread


def test_reads_numpy_s_arrays_of_python_2():
    """As Python 2 with NumPy 1 wrote {'a': np.array([1, 2], '<f4')}, in its protocols 0 and 2."""
    bits = np.array([1, 2], "<f4").tobytes()
    names = b"cnumpy.core.multiarray\n_reconstruct\n"
    text = b"(dp0\nS'a'\np1\n" + names + b"p2\n(cnumpy\nndarray\np3\n(I0\ntp4\nS'b'\np5\ntp6\nRp7\n"
    text += (
        b"(I1\n(L2L\ntp8\ncnumpy\ndtype\np9\n(S'f4'\np10\nI0\nI1\ntp11\nRp12\n(I3\nS'<'\np13\nNNNI-1\nI-1\nI0\ntp14\nb"
    )
    text += b"I00\nS" + repr(bits)[1:].encode() + b"\np15\ntp16\nbs."
    binary = b"\x80\x02}q\x00U\x01a" + names + b"cnumpy\nndarray\nK\x00\x85U\x01b\x87R"
    binary += (
        b"(K\x01K\x02\x85cnumpy\ndtype\nU\x02f4K\x00K\x01\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    )
    binary += b"\x89U\x08" + bits + b"tbs."
    for content in (text, binary):
        assert read(content)[0]["a"].tolist() == [1, 2]


class Own:
    def __init__(self):
        self.weight = np.ones(2)


def test_other_objects_are_left_unread_whatever_their_kind():
    kinds = [Own(), Own, collections.Counter("ab"), np.array(["text"]), np.zeros(1, [("a", "f4")]), 1j, range(3)]
    found, unread = read(pickle.dumps({"weight": np.ones(1), "kinds": kinds}))
    assert [name for name, value in found.items() if isinstance(value, np.ndarray)] == ["weight"]
    assert {name.rpartition(".")[2] for name in unread} >= {"Own", "Counter", "complex", "range"}


@pytest.mark.parametrize(
    "content, reason",
    [
        (pickle.dumps(array((4,), "O", b"\x41" * 32)), "object array without"),
        (pickle.dumps(array((1 << 20,), "O", [1])), "object array without"),
        (pickle.dumps(array((3,), "<f4", bytes(8))), "8 bytes for an array of 3"),
        (pickle.dumps(array((1,), "<f4", bytes(8))), "8 bytes for an array of 1"),
        (pickle.dumps(array((-2,), "<f4", bytes(8))), "invalid shape"),
        (pickle.dumps(array((1 << 62, 4, 0), "<f4", b"")), "invalid shape"),
        (pickle.dumps(array(("2",), "<f4", bytes(8))), "invalid shape"),
        (pickle.dumps(array((1,) * 9, "<f4", bytes(4))), "invalid shape"),
        (b"\x80\x02X\x00\x00\x00\x01.", "truncated"),
        (b"\x80\x02}r\x00\x00\x00\x00", "truncated"),
        (b"\x80\x02h\x07.", "reference to nothing"),
        (b"\x80\x02u.", "without a mark"),
        (b"\x80\x02K\x01(0u.", "without a mark"),
        (b"\x80\x02(K\x01a.", "empty stack"),
        (b"\x80\x02}(K\x01u.", "key without a value"),
        (b"\x80\x04\x97.", "unsupported opcode"),
        (b"\x82\x01.", "unsupported opcode"),
    ],
)
def test_unpickle_of_inconsistent_bytes_raises(content, reason):
    with pytest.raises(ValueError, match=reason):
        read(content)


def test_a_scalar_of_objects_follows_no_pointer():
    scalar = Call(np._core.multiarray.scalar, (np.dtype("O"), b"\x41" * 8))
    assert read(pickle.dumps({"a": scalar}))[0] == {"a": b"\x41" * 8}


def test_containers_may_be_as_deep_as_the_bound_and_no_deeper():
    inner = np.ones(1)
    for _ in range(MAX_DEPTH + 1):
        inner = [inner]
    assert len(read(pickle.dumps(inner))[0]) == 1
    with pytest.raises(ValueError, match="too deep"):
        read(pickle.dumps([inner]))


def test_load_pdparams_takes_names_with_arrays_alone():
    def load(content):
        return load_pdparams(io.BytesIO(pickle.dumps(content)))

    assert list(load({"a": ("a", np.ones(1)), "StructuredToParameterName@@": {"a": "b"}})) == ["a"]
    with pytest.raises(ValueError, match="a list instead of named arrays"):
        load([np.ones(1)])
    with pytest.raises(ValueError, match=r"it would run .*print; save only the weights"):
        load({"a": np.ones(1), "b": Call(print, ("run",))})


def test_bfloat16_of_paddle_becomes_float32():
    bits = np.array([0x3F80, 0xC040, 0x3DCD], np.uint16)  # 1, −3, and 0.1 as near as it comes
    found = load_pdparams(io.BytesIO(pickle.dumps({"a": ("a", bits)})))["a"]
    assert found.dtype == np.float32
    assert found.tolist() == [1.0, -3.0, 0.10009765625]
