"""Files of weights by suffix: honest ones, ones that hold several sets, damaged ones, ones that mean harm."""

import json
import os
import pickle
import resource
import struct
import subprocess
import sys
import zipfile
from importlib.util import find_spec

import hostile
import numpy as np
import pytest

from paddle_alexnet import UserError
from paddle_alexnet.weights.formats import read_arrays, write_arrays
from paddle_alexnet.weights.safetensors_file import write_safetensors

rng = np.random.default_rng(0)
SHAPES = {f"conv{i}": (4, 4, 3, 3) for i in range(1, 6)} | {f"fc{i}": (4, 4) for i in range(6, 9)}
ARRAYS = {
    f"{name}.{part}": rng.standard_normal(shape if part == "weight" else shape[:1], np.float32)
    for name, shape in SHAPES.items()
    for part in ("weight", "bias")
}


def save(path, content):
    path.write_bytes(pickle.dumps(content))
    return path


def assert_read(found, arrays=ARRAYS):
    assert found.arrays.keys() == arrays.keys()
    for name, array in arrays.items():
        assert np.array_equal(found.arrays[name], array), name


# What is honest


def save_npz(path):
    np.savez(path, **ARRAYS)


def save_packed_npz(path):
    np.savez_compressed(path, **ARRAYS)


def save_npy(path):
    np.save(path, np.array(ARRAYS, dtype=object), allow_pickle=True)


def save_fortran_npz(path):
    np.savez(path, **{name: np.asfortranarray(array.astype(">f8")) for name, array in ARRAYS.items()})


WRITERS = [
    ("a.npz", save_npz),
    ("packed.npz", save_packed_npz),
    ("a.npy", save_npy),
    ("a.safetensors", lambda path: write_safetensors(path, ARRAYS)),
    ("a.pdparams", lambda path: save(path, ARRAYS)),
]


@pytest.mark.parametrize("name, write", [*WRITERS, ("fortran.npz", save_fortran_npz)])
def test_read_arrays_reads_files_of_other_programs(name, write, tmp_path):
    write(tmp_path / name)
    assert_read(read_arrays(tmp_path / name))


def test_safetensors_of_every_precision(tmp_path):
    """Written by hand: 1 and −2 as float64, float16 and bfloat16, and integers, which are no weights."""
    parts = {"F64": struct.pack("<2d", 1, -2), "F16": struct.pack("<2e", 1, -2), "BF16": b"\x80\x3f\x00\xc0"}
    parts["I32"] = struct.pack("<2i", 1, -2)
    header, content = {"__metadata__": {"format": "pt"}}, b""
    for kind, raw in parts.items():
        offsets = [len(content), len(content) + len(raw)]
        header[kind], content = {"dtype": kind, "shape": [2], "data_offsets": offsets}, content + raw
    text = json.dumps(header).encode()
    (tmp_path / "a.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + content)
    found = read_arrays(tmp_path / "a.safetensors").arrays
    assert {name: array.tolist() for name, array in found.items()} == {kind: [1, -2] for kind in ("F64", "F16", "BF16")}


@pytest.mark.parametrize("name, write", WRITERS)
@pytest.mark.parametrize("called", ["pytorch_model.bin", "last.ckpt", "model_best.pth.tar", "weights", "wrong.h5"])
def test_content_says_how_to_read_whatever_a_file_is_called(name, write, called, tmp_path):
    write(tmp_path / name)
    (tmp_path / name).rename(tmp_path / called)
    assert_read(read_arrays(tmp_path / called))


def test_suffixes_count_in_upper_case_too(tmp_path):
    write_arrays(tmp_path / "A.SAFETENSORS", ARRAYS)
    assert_read(read_arrays(tmp_path / "A.SAFETENSORS"))


def test_format_says_how_to_read_what_begins_like_nothing(tmp_path):
    (tmp_path / "weights.bin").write_bytes(b"\x0a\x01a")  # the name of a network of Caffe
    with pytest.raises(UserError, match=r"unknown kind of file.*\.safetensors.*with --from: paddle, .*torch.*caffe"):
        read_arrays(tmp_path / "weights.bin")
    with pytest.raises(UserError, match="has no "):
        read_arrays(tmp_path / "weights.bin", "caffe")


def test_no_number_is_a_weight_that_is_not_floating(tmp_path):
    save(tmp_path / "a.pdparams", {**ARRAYS, "steps": np.arange(4), "rate": np.float32(0.1)})
    assert_read(read_arrays(tmp_path / "a.pdparams"))
    with pytest.raises(UserError, match="has no floating-point weights"):
        read_arrays(save(tmp_path / "b.pdparams", {"a": np.arange(4)}))


# Which weights


PREFIXES = ["module.", "backbone.", "_layers.", "model.module."]
WRAPPERS = [
    *[lambda arrays, p=p: {p + name: array for name, array in arrays.items()} for p in PREFIXES],
    lambda arrays: {"state_dict": arrays, "epoch": 3, "optimizer": {"state": {0: {"exp_avg": np.ones((4, 4))}}}},
    lambda arrays: {"model": {f"module.{name}": array for name, array in arrays.items()}},
    lambda arrays: {"a": {"b": [arrays]}},
]


@pytest.mark.parametrize("wrap", WRAPPERS)
def test_read_arrays_unwraps_a_checkpoint(wrap, tmp_path):
    assert_read(read_arrays(save(tmp_path / "a.pdparams", wrap(ARRAYS))))


@pytest.mark.parametrize("wrap", [lambda arrays: arrays, *WRAPPERS])
def test_paddleclas_is_recognized_whatever_wraps_it(wrap, tmp_path):
    theirs = {name.replace("conv", "_conv").replace("fc", "_fc"): array for name, array in ARRAYS.items()}
    assert read_arrays(save(tmp_path / "a.pdparams", wrap(theirs))).file_format == "paddleclas"
    assert read_arrays(save(tmp_path / "b.pdparams", wrap(ARRAYS))).file_format == "paddle"


def test_read_arrays_of_several_sets_asks_for_a_key(tmp_path):
    average = {f"module.{name}": array + 1 for name, array in ARRAYS.items()}
    path = save(tmp_path / "a.pdparams", {"state_dict": ARRAYS, "ema": {"model": average, "updates": 7}, "epoch": 1})
    with pytest.raises(UserError, match=r"several groups of weights; choose one as key: ema, state_dict$"):
        read_arrays(path)
    assert_read(read_arrays(path, key="state_dict"))
    for key in ("ema", "ema/model", "ema/model/module"):
        found = read_arrays(path, key=key)
        assert_read(found, {name: array + 1 for name, array in ARRAYS.items()})
        assert found.notes == ("left out 16 arrays beside these weights",)
    with pytest.raises(UserError, match=r"no weights under 'em'; choose a key among ema, state_dict$"):
        read_arrays(path, key="em")


def test_a_network_s_own_parts_are_no_sets(tmp_path):
    """`features` of a VGG has eight kernels, and is no network."""
    vgg = {f"features.{i}.weight": np.ones((4, 4, 3, 3)) for i in range(8)}
    vgg |= {f"classifier.{i}.weight": np.ones((4, 4)) for i in range(3)}
    assert read_arrays(save(tmp_path / "a.pdparams", vgg)).arrays.keys() == vgg.keys()


def test_objects_are_left_unread_and_named(tmp_path):
    path = save(tmp_path / "a.pdparams", {"state_dict": ARRAYS, "args": hostile.Call(os.mkdir, (str(tmp_path / "m"),))})
    found = read_arrays(path)
    assert_read(found)
    assert found.notes == (f"left unread: {os.mkdir.__module__}.mkdir",)
    assert not (tmp_path / "m").exists()


# What is damaged or means harm


@pytest.mark.parametrize("name, write", WRITERS)
def test_a_file_cut_or_changed_anywhere_is_read_or_refused(name, write, tmp_path):
    write(tmp_path / name)
    whole, broken = (tmp_path / name).read_bytes(), tmp_path / f"broken-{name}"
    random = np.random.default_rng(1)
    for _ in range(60):
        broken.write_bytes(whole[: random.integers(len(whole))])
        with pytest.raises(UserError, match=broken.name):
            read_arrays(broken)
    for _ in range(100):
        changed = np.frombuffer(whole, np.uint8).copy()
        places = random.integers(0, min(len(whole), 600), 3)  # where the structure is, and not the numbers
        changed[places if random.random() < 0.5 else -places - 1] = random.integers(0, 256, 3)
        broken.write_bytes(changed.tobytes())
        try:
            read_arrays(broken)
        except UserError as error:
            assert "\n" not in str(error)


RUNNER = """
import resource, sys, time
from pathlib import Path
from paddle_alexnet.commands.main import main
import paddle_alexnet.conversion
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (1 << 30),) * 2)
for name in sys.argv[2:]:
    start = time.process_time()
    print(name, file=sys.stderr, flush=True)
    code = main(["--quiet", "convert-weights", str(Path(sys.argv[1], name)), str(Path(sys.argv[1], "out"))])
    print(name, code, time.process_time() - start, sep="\\t", flush=True)
"""


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """By file that means harm: the exit code of its conversion, the seconds it took, what it wrote to stderr.

    A process of its own may take another gigabyte of memory, and a minute.
    """
    folder = tmp_path_factory.mktemp("hostile")
    names = hostile.write_all(folder)
    if find_spec("h5py"):
        names += hostile.write_hdf5(folder)
    command = [sys.executable, "-c", RUNNER, str(folder), *names]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    said, found = done.stderr, {}
    for line in done.stdout.splitlines():
        name, *rest = line.split("\t")
        if len(rest) == 2:
            said = said.partition(f"{name}\n")[2]
            found[name] = int(rest[0]), float(rest[1]), said[: said.index("\n") + 1 if "\n" in said else None]
    assert not (folder / "out").exists()
    return found, names, done


def test_files_that_mean_harm_end_in_one_line(outcomes):
    found, names, done = outcomes
    assert done.returncode == 0, done.stderr[-2000:]
    assert found.keys() == set(names)
    assert "Traceback" not in done.stderr
    for name, (code, seconds, line) in found.items():
        assert code == 2, name
        assert seconds < 20, name
        assert line.startswith("error: ") and name.partition(".")[0] in line and len(line) < 1000, name


def test_members_of_a_zip_file_may_be_stored_or_deflated_alone(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_BZIP2) as archive:
        archive.writestr("a.npy", hostile.npy_header((1,)) + bytes(4))
    with pytest.raises(UserError, match="unsupported compression"):
        read_arrays(tmp_path / "a.npz")


# Writing

SUFFIXES = [(".pth", "torch"), (".h5", "h5py"), (".safetensors", "json"), (".pdparams", "paddle")]


@pytest.mark.parametrize("suffix, needs", SUFFIXES)
def test_write_arrays_writes_files_that_read_arrays_reads(suffix, needs, tmp_path):
    pytest.importorskip(needs)
    arrays = {name.replace(".", "/"): array for name, array in ARRAYS.items()}
    write_arrays(tmp_path / f"a{suffix}", arrays)
    found = read_arrays(tmp_path / f"a{suffix}")
    if suffix == ".h5":  # Keras has a group for each layer
        arrays = {f"{name.partition('/')[0]}/{name}": array for name, array in arrays.items()}
    assert_read(found, arrays)
    assert [path.name for path in tmp_path.iterdir()] == [f"a{suffix}"]


def test_without_h5py_the_extra_that_has_it_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    (tmp_path / "a.H5").write_bytes(b"\x89HDF\r\n\x1a\n")
    with pytest.raises(UserError, match=r'a.H5: requires h5py.*pip install "paddle-alexnet\[keras\]"'):
        read_arrays(tmp_path / "a.H5")


def test_a_missing_framework_is_named_with_the_remedy(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(UserError, match=r'a.pth: requires torch.*pip install "paddle-alexnet\[torch\]"'):
        write_arrays(tmp_path / "a.pth", ARRAYS)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix, needs", SUFFIXES)
def test_a_full_disk_ends_in_a_line(suffix, needs, tmp_path):
    pytest.importorskip(needs)
    arrays = {"conv1/kernel:0": np.zeros((1 << 19,), np.float32)}
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, hard))  # what a full disk does, to files of 1 MB
    try:
        with pytest.raises(UserError, match=f"a{suffix}: cannot write it"):
            write_arrays(tmp_path / f"a{suffix}", arrays)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []
