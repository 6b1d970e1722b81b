"""Paddle's GPU build finds NVIDIA's wheels: tiny libraries, laid out, named and linked as the real ones are."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import REPOSITORY

from paddle_alexnet.system import cuda_libraries

# As libphi.so does, the library asks for others by name; the loader then looks beside the one that asks.
PHI = "#include <dlfcn.h>\nint opens(const char *name) { return dlopen(name, RTLD_LAZY) != 0; }\n"
# Which of what Paddle looks for is found, whichever is imported first.
CODE = (
    "import os, sys\nexec(sys.argv[1])\nimport paddle\nfrom paddle_alexnet.system import cuda_libraries\n"
    "print([name for name in cuda_libraries.NUMBERED if paddle.opens(name)])\nprint(cuda_libraries.explain_missing())"
)
WHEELS = {
    "cublas": ["libcublasLt.so.11", "libcublas.so.11"],
    "cudnn": ["libcudnn_ops_infer.so.8", "libcudnn.so.8"],
    "cufft": ["libcufft.so.10"],
    "curand": ["libcurand.so.10"],
    "cusolver": ["libcusolver.so.11"],
    "cusparse": ["libcusparse.so.11"],
    "cuda_nvrtc": ["libnvrtc.so.11.2"],
}
FOUND = [name for name in cuda_libraries.NUMBERED if name != "libnccl.so"]
pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or not shutil.which("gcc"), reason="needs Linux and gcc to make libraries with"
)


def build(path: Path, source: str = "", *options: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    words = ["gcc", "-shared", "-fPIC", "-x", "c", "-", "-x", "none", *options, f"-Wl,-soname,{path.name}", "-o", path]
    subprocess.run([*map(str, words), "-ldl"], input=source, text=True, check=True)


@pytest.fixture(scope="module")
def wheels(tmp_path_factory) -> Path:
    """A site-packages with Paddle's GPU build and NVIDIA's wheels, of which cuBLAS needs cuBLASLt."""
    site = tmp_path_factory.mktemp("site")
    paddle = site / "paddle"
    build(paddle / "libs" / "libphi.so", PHI, "-Wl,--enable-new-dtags,-rpath,$ORIGIN")
    origin = "-Wl,--no-as-needed,--enable-new-dtags,-rpath,$ORIGIN/../libs/"
    build(paddle / "base" / "libpaddle.so", "", origin, paddle / "libs" / "libphi.so")
    (paddle / "version").mkdir()
    (paddle / "__init__.py").write_text(
        "import ctypes, os\n"
        "_library = ctypes.CDLL(os.path.join(os.path.dirname(__file__), 'base', 'libpaddle.so'))\n"
        "def opens(name): return bool(_library.opens(name.encode()))\n"
    )
    say_version(site, "2.6.2", "11.8")
    for wheel, names in WHEELS.items():
        needed: list[object] = []
        for name in names:
            path = site / "nvidia" / wheel / "lib" / name
            build(path, "", "-Wl,--no-as-needed,-rpath,$ORIGIN", *needed)
            needed = [path]
    return site


def say_version(site: Path, paddle: str, cuda: str) -> None:
    text = f"full_version     = '{paddle}'\nmajor            = '2'\ncuda_version     = '{cuda}'\n"
    (site / "paddle" / "version" / "__init__.py").write_text(text)


def ask(site: Path, cache: Path, first: str = "import paddle_alexnet") -> tuple[list[str], str]:
    """The libraries that Paddle finds in a process of its own, and the complaint."""
    variables = {"PYTHONPATH": f"{site}{os.pathsep}{REPOSITORY}", "XDG_CACHE_HOME": str(cache)}
    result = subprocess.run(
        [sys.executable, "-c", CODE, first], capture_output=True, text=True, env={**os.environ, **variables}
    )
    assert (result.returncode, result.stderr) == (0, "")
    found, complaint = result.stdout.splitlines()
    return eval(found), complaint


def test_cuda_libraries_are_found_and_site_packages_unchanged(wheels, tmp_path):
    before = sorted(wheels.rglob("*"))
    for _ in range(2):  # the second time the folder is there
        assert ask(wheels, tmp_path) == (FOUND, "")
    assert [path for path in sorted(wheels.rglob("*")) if "__pycache__" not in path.parts] == before
    [folder] = (tmp_path / "paddle-alexnet").iterdir()
    assert (folder / "libs" / "libcudnn.so").resolve() == wheels / "nvidia" / "cudnn" / "lib" / "libcudnn.so.8"


def test_cuda_library_that_others_put_into_the_cache_is_not_loaded(wheels, tmp_path):
    assert ask(wheels, tmp_path) == (FOUND, "")
    [folder] = (tmp_path / "paddle-alexnet").iterdir()
    link = folder / "libs" / "libcudnn.so"
    link.unlink()
    link.symlink_to("/tmp/planted.so")
    assert ask(wheels, tmp_path) == (FOUND, "")
    assert link.readlink() == wheels / "nvidia" / "cudnn" / "lib" / "libcudnn.so.8"
    link.unlink()
    tmp_path.chmod(0o777)
    assert ask(wheels, tmp_path) == (FOUND, ""), "by a folder of the process's own"
    assert not link.exists()


def test_without_a_cache_to_write_to_there_is_a_folder_for_the_process(wheels, tmp_path):
    cache = tmp_path / "cache"
    cache.write_text("no folder")
    assert ask(wheels, cache, f"import tempfile, paddle_alexnet; tempfile.tempdir = {str(tmp_path)!r}") == (FOUND, "")
    assert list(tmp_path.iterdir()) == [cache], "removed at the end"


def test_cuda_libraries_after_paddle_was_imported_are_not_found(wheels, tmp_path):
    found, complaint = ask(wheels, tmp_path, "import zlib, paddle")
    assert found == []
    assert "import paddle_alexnet before paddle" in complaint


def test_cuda_library_that_is_missing_is_named_with_the_remedy(wheels, tmp_path):
    site = tmp_path / "site"
    shutil.copytree(wheels, site, symlinks=True)
    shutil.rmtree(site / "nvidia" / "cudnn")
    found, complaint = ask(site, tmp_path)
    assert found == [name for name in FOUND if name != "libcudnn.so"]
    assert "CUDA 11.8 with cuDNN 8.6, but libcudnn.so is not found" in complaint
    assert 'pip install "paddle-alexnet[gpu]"' in complaint
    shutil.rmtree(site / "nvidia")
    found, complaint = ask(site, tmp_path)
    assert found == [] and ", ".join(FOUND) in complaint


@pytest.mark.parametrize("paddle, cuda", [("2.6.2", "False"), ("3.3.1", "11.8"), ("2.6.2", "12.0")])
def test_other_builds_of_paddle_are_left_alone(wheels, tmp_path, paddle, cuda):
    site = tmp_path / "site"
    shutil.copytree(wheels, site, symlinks=True)
    say_version(site, paddle, cuda)
    assert ask(site, tmp_path / "cache") == ([], "")
    assert not (tmp_path / "cache").exists()
