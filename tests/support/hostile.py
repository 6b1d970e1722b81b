"""Files of weights that mean harm, each written small, whatever it would become when it is read."""

import io
import os
import pickle
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any, Callable

import numpy as np
from numpy._core import multiarray


class Call:
    """Pickled, it asks the reader to call a function, and to give the result a state."""

    def __init__(self, function: Callable[..., Any], arguments: tuple[Any, ...], *state: Any) -> None:
        self.asked = (function, arguments, *state)

    def __reduce__(self) -> Any:
        return self.asked


def array(shape: tuple[int, ...], dtype: str, raw: Any) -> Call:
    """An ndarray as NumPy pickles it, with a shape, a type and contents that need not agree."""
    state = (1, shape, np.dtype(dtype), False, raw)
    return Call(multiarray._reconstruct, (np.ndarray, (0,), b"b"), state)


def torch_zip(path: Path, *, numel: int, size: tuple[int, ...], stride: tuple[int, ...], stored: int) -> None:
    """A file of torch.save: a storage said to be of `numel` numbers, `stored` of them there, and a view of it."""

    def text(value: str) -> bytes:
        return b"X" + struct.pack("<I", len(value)) + value.encode()

    def numbers(values: tuple[int, ...]) -> bytes:
        return b"(" + b"".join(b"\x8a\x08" + struct.pack("<q", value) for value in values) + b"t"

    storage = b"(" + text("storage") + b"ctorch\nFloatStorage\n" + text("0") + text("cpu") + numbers((numel,))[1:-1]
    tensor = b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + b"tQK\x00" + numbers(size) + numbers(stride)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", b"\x80\x02}" + text("conv1.bias") + tensor + b"\x89}tRs.")
        archive.writestr("a/data/0", bytes(4 * stored))


def deflated(path: Path, members: dict[str, tuple[bytes, int]]) -> None:
    """A zip file of packed members, each with the size that it is said to unpack to."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, (content, size) in members.items():
            archive.writestr(name, content)
            archive.getinfo(name).file_size = size


def npy_header(shape: tuple[int, ...], dtype: str = "<f4") -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array_header_2_0(stream, {"descr": dtype, "fortran_order": False, "shape": shape})
    return stream.getvalue()


def long_integers(values: list[int]) -> bytes:
    return b"".join(b"\x8a\x0a" + value.to_bytes(10, "little") + b"K\x00" for value in values)


def write_all(folder: Path) -> list[str]:
    """Write every file into a folder, and return their names."""
    weight = np.ones((2, 2), np.float32)
    pickles = {
        "pointers": pickle.dumps({"conv1.weight": array((4,), "O", b"\x41" * 32)}),
        "pointer-scalar": pickle.dumps({"conv1.weight": Call(multiarray.scalar, (np.dtype("O"), b"\x41" * 8))}),
        "short-list": pickle.dumps({"conv1.weight": array((1 << 20,), "O", [weight])}),
        "short-bytes": pickle.dumps({"conv1.weight": array((1 << 20,), "<f4", bytes(8))}),
        "negative-shape": pickle.dumps({"conv1.weight": array((-1, -4), "<f4", bytes(16))}),
        "deep-key": b"\x80\x02})" + b"\x85" * 3_000_000 + b"K\x01s.",
        "deep-key-within-bounds": b"\x80\x02})" + b"\x85" * 400_000 + b"K\x01s.",
        "deep-list": b"\x80\x02}X\x01\x00\x00\x00a" + b"]" * 200_000 + b"a" * 199_999 + b"s.",
        "equal-hashes": b"\x80\x02}(" + long_integers([k * (2**61 - 1) for k in range(1, 50_001)]) + b"u.",
        "huge-memo": b"\x80\x02}r\xff\xff\xff\xff.",
        "huge-memo-in-text": b"}p99999999999999999999\n.",
        "huge-text": b"\x80\x02}X\xff\xff\xff\xff",
        "huge-bytes": b"\x80\x04}\x8e" + b"\xff" * 8,
        "huge-integer": b"\x80\x02}\x8b" + struct.pack("<i", 1 << 22) + b"\x7f" * (1 << 22) + b"K\x01s.",
        "long-decimal": b"}I" + b"9" * 1_000_000 + b"\nI1\ns.",
        "dictionary-made-often": pickle.dumps([(1, 2)] * 100_000, 2)[:-1]
        + b"q\xff"
        + b"0ccollections\nOrderedDict\nh\xff\x85R" * 100_000
        + b".",
        "no-stack": b"\x80\x02000R.",
        "only-a-stop": b".",
        "number-for-a-name": pickle.dumps({1: weight, 2: weight[0]}),
        "call-of-a-number": b"\x80\x02K\x01)R.",
    }
    many: Any = [weight]
    for _ in range(40):
        many = [many, many]
    pickles["doubled-40-times"] = pickle.dumps({"conv1.weight": many})
    wide: Any = [weight]
    for _ in range(10):
        wide = [wide] * 16
    pickles["sixteen-times-10-deep"] = pickle.dumps({"conv1.weight": wide})
    for name, content in pickles.items():
        (folder / f"{name}.pdparams").write_bytes(content)

    torch_zip(folder / "view-of-nothing.pth", numel=0, size=(1000,), stride=(1,), stored=0)
    torch_zip(folder / "repeated-view-of-nothing.pth", numel=0, size=(1000,), stride=(0,), stored=0)
    torch_zip(folder / "view-beyond.pth", numel=10, size=(1000,), stride=(1,), stored=10)
    torch_zip(folder / "one-number-often.pth", numel=1, size=(1 << 36,), stride=(0,), stored=1)
    torch_zip(folder / "storage-not-there.pth", numel=1 << 36, size=(1 << 36,), stride=(1,), stored=1)
    torch_zip(folder / "storage-too-short.pth", numel=1000, size=(1000,), stride=(1,), stored=10)

    one = npy_header((1 << 38,)) + bytes(1000)
    (folder / "short.npy").write_bytes(one)
    (folder / "long-header.npy").write_bytes(b"\x93NUMPY\x02\x00\xff\xff\xff\xff" + b" " * 100)
    (folder / "overflow.npy").write_bytes(npy_header((1 << 40, 1 << 40)) + bytes(1000))
    deflated(folder / "bomb.npz", {"conv1.npy": (one, 1 << 40)})
    deflated(folder / "many-bombs.npz", {f"{i}.npy": (npy_header((10**8,)) + bytes(99), 10**9) for i in range(50)})
    deflated(folder / "pickled-bomb.npz", {"a.npy": (npy_header((), "|O") + pickle.dumps(weight), 1 << 40)})
    deflated(folder / "bomb.pt", {"a/data.pkl": (b"\x80\x02}.", 1 << 40)})
    with zipfile.ZipFile(folder / "lzma.npz", "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("a.npy", one)
    (folder / "no-end.npz").write_bytes(b"PK\x03\x04" + bytes(100))
    (folder / "long-list.npz").write_bytes(
        b"PK\x03\x04" + bytes(60) + struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, 1, 1, 1 << 31, 0, 0)
    )

    (folder / "header.safetensors").write_bytes(struct.pack("<Q", 1 << 62) + b"{}")
    (folder / "deep.safetensors").write_bytes(struct.pack("<Q", 900_000) + b"[" * 900_000)
    for name, shape, offsets in (
        ("beyond", [1 << 30], [0, 4 << 30]),
        ("backwards", [2], [8, 0]),
        ("unlike", [1 << 30], [0, 8]),
        ("text", [2], ["0", "8"]),
    ):
        header = repr({"a": {"dtype": "F32", "shape": shape, "data_offsets": offsets}}).replace("'", '"').encode()
        (folder / f"{name}.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + bytes(8))

    (folder / "fields.caffemodel").write_bytes(b"\x12\x00" * 200_000)
    (folder / "length.caffemodel").write_bytes(b"\xa2\x06\xff\xff\xff\xff\x7f")
    (folder / "no-message.caffemodel").write_bytes(b"\xff" * 1000)
    (folder / "shape.caffemodel").write_bytes(
        b"\xa2\x06\x0e\x3a\x0c\x3a\x0a\x0a\x08" + b"\xff\xff\xff\xff\xff\xff\xff\x7f"
    )

    os.mkfifo(folder / "pipe.pth")
    (folder / "device.npy").symlink_to("/dev/zero")
    (folder / "circle.pth").symlink_to(folder / "circle.pth")
    (folder / "folder.pth.index").mkdir()
    with (folder / "sparse.npy").open("wb") as stream:
        stream.truncate(1 << 42)
    return sorted(path.name for path in folder.iterdir())


def write_hdf5(folder: Path) -> list[str]:
    """Write the files that need h5py, and return their names."""
    import h5py

    secret = folder / "secret"
    secret.write_bytes(np.full(64, 7, "<f4").tobytes())
    with h5py.File(folder / "external.h5", "w") as file:
        file.create_dataset("kernel", (8, 8), "<f4", external=[(str(secret), 0, 256)])
    with h5py.File(folder / "other.hdf5", "w") as file:
        file["kernel"] = np.full((8, 8), 7, "<f4")
    with h5py.File(folder / "virtual.h5", "w") as file:
        layout = h5py.VirtualLayout((8, 8), "<f4")
        layout[:] = h5py.VirtualSource(str(folder / "other.hdf5"), "kernel", (8, 8))
        file.create_virtual_dataset("kernel", layout)
    with h5py.File(folder / "link.h5", "w") as file:
        file["kernel"] = h5py.ExternalLink(str(folder / "other.hdf5"), "kernel")
    with h5py.File(folder / "empty.h5", "w") as file:
        file.create_dataset("kernel", (1 << 33,), "<f4", chunks=(1 << 20,), compression="gzip")
    with h5py.File(folder / "not-stored.h5", "w") as file:
        file.create_dataset("kernel", (1 << 26,), "<f4")
    with h5py.File(folder / "bomb.h5", "w") as file:
        kernel = file.create_dataset("kernel", (1024,), "<f4", chunks=(1024,), compression="gzip")
        packer = zlib.compressobj(1)
        parts = [packer.compress(bytes(1 << 24)) for _ in range(8)]
        kernel.id.write_direct_chunk((0,), b"".join([*parts, packer.flush()]))
    with h5py.File(folder / "deep.h5", "w") as file:
        group = file
        for _ in range(100):
            group = group.create_group("a")
        group["kernel"] = np.ones((2, 2), np.float32)
    with h5py.File(folder / "round.h5", "w") as file:
        file.create_group("a")["back"] = file["/"]
    return [path.name for path in sorted(folder.glob("*.h5"))]
