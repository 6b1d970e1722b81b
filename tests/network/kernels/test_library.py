"""Building the library of compiled operators, where that can be done and where not."""

import hashlib
import os
import sys
from pathlib import Path

import pytest
from helpers import assert_user_error, run_process, run_tool

from paddle_alexnet import UserError
from paddle_alexnet.network.kernels import forward, library


@pytest.fixture
def nothing_built(tmp_path, monkeypatch):
    """An empty cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_library_path_depends_on_paddle_processor_and_source(nothing_built, tmp_path, monkeypatch):
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


def test_build_kernels_without_headers_or_compiler_names_them(nothing_built, tmp_path, monkeypatch):
    monkeypatch.setenv("CXX", sys.executable)
    monkeypatch.setattr(library, "files", lambda name: [])
    assert_user_error(run_tool("build-kernels"), "oneDNN headers: not installed", "paddle-alexnet[fast]")
    monkeypatch.setattr(library, "_headers", lambda: tmp_path)
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert_user_error(run_tool("build-kernels"), "C++ compiler no-such-compiler: not found", "CXX")
    monkeypatch.setenv("CXX", sys.executable)  # which does not understand a word
    assert_user_error(run_tool("build-kernels"), "cannot compile", sys.executable)
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX")
    assert_user_error(run_tool("build-kernels"), "C++ compiler c++: not found")
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.setenv("CXX", sys.executable)
    assert_user_error(run_tool("build-kernels"), "cannot write it")
    assert not nothing_built.exists() or not list(nothing_built.rglob("*.so"))


LIBRARY = b"no library"


@pytest.fixture
def one_built(nothing_built, monkeypatch):
    """A file in place of the library, with its checksum."""
    monkeypatch.setattr(library, "_registered", [])
    path = library.library_path()
    path.parent.mkdir(mode=0o700, parents=True)
    nothing_built.chmod(0o700)
    path.parent.parent.chmod(0o700)
    path.write_bytes(LIBRARY)
    path.chmod(0o700)
    path.with_name(f"{path.name}.sha256").write_text(f"{hashlib.sha256(LIBRARY).hexdigest()}  {path.name}\n")
    return path


def spoil(path, how):
    if how == "cut":
        path.write_bytes(LIBRARY[:5])
    elif how == "flipped":
        path.write_bytes(b"no librarx")
    elif how == "no checksum":
        path.with_name(f"{path.name}.sha256").unlink()
    elif how == "a link":
        path.rename(path.with_name("other.so"))
        path.symlink_to("other.so")
    elif how == "file of others":
        path.chmod(0o722)
    elif how == "folder of others":
        path.parent.chmod(0o770)
    elif how == "cache of others":
        path.parents[2].chmod(0o777)


@pytest.mark.parametrize(
    "how", ["cut", "flipped", "no checksum", "a link", "file of others", "folder of others", "cache of others"]
)
def test_a_library_that_is_not_as_it_was_built_is_not_loaded(one_built, how, monkeypatch, caplog):
    def load(path):
        pytest.fail("it was loaded")

    assert library.whole()
    spoil(one_built, how)
    assert not library.whole()
    monkeypatch.setattr(library.core, "load_op_meta_info_and_register_op", load)
    with pytest.raises(UserError, match=r"run paddle-alexnet build-kernels, or set model\.kernels=paddle$") as error:
        forward.choose_kernels("compiled")
    assert "\n" not in str(error.value)
    forward._warn_once.cache_clear()
    assert [forward.choose_kernels("auto") for _ in range(2)] == ["paddle", "paddle"]
    assert caplog.messages == [f"{error.value}; Paddle's kernels are used"]


def test_library_of_another_user_is_not_loaded(one_built, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    if os.getuid():
        assert not library.whole()
    else:
        assert library.whole(), "root may write everything anyway"
        os.chown(one_built.parent, 12345, -1)
        assert not library.whole()


def test_a_sticky_cache_is_fine(one_built):
    one_built.parents[2].chmod(0o1777)
    assert library.whole()


def test_library_that_is_loaded_is_the_one_that_was_checked(one_built, monkeypatch):
    """Paddle reads a copy of the checked bytes; the file may be another one meanwhile."""
    loaded = []

    def load(path):
        one_built.write_bytes(b"another")
        loaded.append(Path(path).read_bytes())

    monkeypatch.setattr(library.core, "load_op_meta_info_and_register_op", load)
    library.load()
    assert loaded == [LIBRARY]


def test_library_that_paddle_cannot_load_is_not_used(one_built, monkeypatch):
    def old_kernel(name):
        raise OSError("no such call")

    monkeypatch.setattr(os, "memfd_create", old_kernel)
    with pytest.raises(UserError, match="Paddle cannot load it"):
        library.load()


@pytest.mark.slow
def test_build_kernels_builds_a_library_that_loads(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    result = run_process("build_kernels")
    if "oneDNN" in result.stderr or "C++ compiler" in result.stderr:
        pytest.skip(result.stderr.strip())
    assert result.returncode == 0, result.stderr
    assert result.stdout == f"built: {library.library_path()}\n"
    library.library_path().write_bytes(b"cut")
    assert run_process("build_kernels").stdout == f"built: {library.library_path()}\n"
    assert run_process("build_kernels").stdout == f"already exists: {library.library_path()}\n"
