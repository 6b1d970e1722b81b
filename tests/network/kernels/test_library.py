"""Building the library of compiled operators, where that can be done and where not."""

import sys
from pathlib import Path

import pytest
from helpers import assert_user_error, run_process, run_tool

from paddle_alexnet.network.kernels import library


@pytest.fixture
def nothing_built(tmp_path, monkeypatch):
    """An empty cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_it_is_kept_by_paddle_processor_and_source(nothing_built, tmp_path, monkeypatch):
    paths = {library.library_path()}
    assert next(iter(paths)).parent == nothing_built / "paddle-alexnet" / "kernels"
    with monkeypatch.context() as other:
        other.setattr(library, "_processor", lambda: "another one")
        paths.add(library.library_path())
    with monkeypatch.context() as other:
        (tmp_path / "operators.cc").write_text("// another source")
        other.setattr(library, "SOURCE", tmp_path / "operators.cc")
        paths.add(library.library_path())
    with monkeypatch.context() as other:
        other.setattr("paddle.__version__", "2.6.9")
        paths.add(library.library_path())
    assert len(paths) == 4
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert library.library_path().is_relative_to(Path.home() / ".cache")


def test_what_is_missing_is_named(nothing_built, tmp_path, monkeypatch):
    monkeypatch.setenv("CXX", sys.executable)
    monkeypatch.setattr(library, "files", lambda name: [])
    assert_user_error(run_tool("build-kernels"), "headers of oneDNN", ".[fast]")
    monkeypatch.setattr(library, "_headers", lambda: tmp_path)
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert_user_error(run_tool("build-kernels"), "no C++ compiler no-such-compiler", "CXX")
    monkeypatch.setenv("CXX", sys.executable)  # which does not understand a word
    assert_user_error(run_tool("build-kernels"), "cannot compile", sys.executable)
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX")
    assert_user_error(run_tool("build-kernels"), "no C++ compiler c++")
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.setenv("CXX", sys.executable)
    assert_user_error(run_tool("build-kernels"), "cannot write it")
    assert not nothing_built.exists() or not list(nothing_built.rglob("*.so"))


def test_a_damaged_library_is_named(nothing_built, monkeypatch):
    monkeypatch.setattr(library, "_registered", [])
    path = library.library_path()
    path.parent.mkdir(parents=True)
    path.write_bytes(b"no library")
    assert_user_error(run_tool("build-kernels"), str(path), "remove it and build it again")


@pytest.mark.slow
def test_it_is_built_and_loaded(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    result = run_process("build_kernels")
    if "oneDNN" in result.stderr or "no C++ compiler" in result.stderr:
        pytest.skip(result.stderr.strip())
    assert result.returncode == 0, result.stderr
    assert result.stdout == f"built: {library.library_path()}\n"
    assert run_process("build_kernels").stdout == f"there already: {library.library_path()}\n"
