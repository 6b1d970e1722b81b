"""Which GPUs a library has code for, read from libraries made by hand as nvcc lays them out."""

import struct
from pathlib import Path
from types import SimpleNamespace

import pytest

from paddle_alexnet.system import cuda_capability as cuda_code
from paddle_alexnet.system.cuda_capability import device_code, explain_unsupported

PTX, MACHINE_CODE = 1, 2
PADDLE = [(MACHINE_CODE, number) for number in (61, 70, 75, 80, 86)]  # of 2.6.2 on PyPI, 2026-11-26


def container(*pieces: tuple[int, int]) -> bytes:
    entries = b""
    for kind, number in pieces:
        code = bytes(range(1, 101))
        entries += struct.pack("<HHIQ12xI32x", kind, 257, 64, len(code), number) + code
    return struct.pack("<IHHQ", 0xBA55ED50, 1, 16, len(entries)) + entries


@pytest.fixture
def library(tmp_path):
    def made(*containers: bytes) -> Path:
        path = tmp_path / "libpaddle.so"
        path.write_bytes(b"\x7fELF" + bytes(999) + b"some code".join(containers) + bytes(77))
        return path

    return made


def test_code_is_found_in_every_container(library):
    path = library(container((MACHINE_CODE, 61), (PTX, 86)), container((MACHINE_CODE, 120)))
    assert list(device_code(path)) == [(MACHINE_CODE, (6, 1)), (PTX, (8, 6)), (MACHINE_CODE, (12, 0))]


@pytest.mark.parametrize(
    ("capability", "runs"),
    [
        ((6, 0), False),
        ((6, 1), True),
        ((7, 2), True),
        ((8, 0), True),
        ((8, 9), True),
        ((9, 0), False),
        ((12, 0), False),
    ],
)
def test_a_gpu_that_there_is_no_code_for_is_named_with_those_that_there_is_code_for(library, capability, runs):
    said = explain_unsupported(capability, library(container(*PADDLE), container(*PADDLE)))
    assert bool(said) != runs
    if not runs:
        assert "{}.{}".format(*capability) in said
        assert "supports only 6.1, 7.0, 7.5, 8.0, 8.6;" in said


def test_entries_of_other_kinds_are_passed_over(library):
    assert list(device_code(library(container((16, 90), (MACHINE_CODE, 90))))) == [(MACHINE_CODE, (9, 0))]


def test_ptx_is_translated_for_later_gpus_and_not_for_earlier(library):
    path = library(container((MACHINE_CODE, 80), (PTX, 86)))
    assert not explain_unsupported((9, 0), path)
    assert explain_unsupported((7, 5), path)


@pytest.mark.parametrize("content", [b"", b"\x50\xed\x55\xba", container(*PADDLE)[:60], b"nothing of the kind" * 9])
def test_complaint_about_a_library_without_device_code_is_empty(tmp_path, content):
    path = tmp_path / "libpaddle.so"
    path.write_bytes(content)
    assert explain_unsupported((9, 0), path) == ""
    assert explain_unsupported((9, 0), tmp_path / "missing.so") == ""


@pytest.mark.parametrize(("version", "cuda", "read"), [("2.6.2", "11.8", True), ("2.6.2", "False", False)])
def test_the_installed_paddle_is_the_one_that_is_read(library, tmp_path, monkeypatch, version, cuda, read):
    """Not a build for processors, nor Paddle 3, which has code in other libraries too."""
    folder = tmp_path / "paddle"
    (folder / "version").mkdir(parents=True)
    (folder / "version" / "__init__.py").write_text(f"full_version = '{version}'\ncuda_version = '{cuda}'\n")
    (folder / "base").mkdir()
    library(container(*PADDLE)).rename(folder / "base" / "libpaddle.so")
    spec = SimpleNamespace(submodule_search_locations=[str(folder)])
    monkeypatch.setattr(cuda_code.PathFinder, "find_spec", lambda name: spec)
    assert bool(explain_unsupported((9, 0))) == read
