"""The package built without a network, as a source distribution and from it as a wheel, and installed elsewhere."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import REPOSITORY

import paddle_alexnet

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that the package is installed in, from a copy of the checkout that is deleted afterwards."""
    pytest.importorskip("wheel", reason="building a wheel without the network requires it")
    folder = tmp_path_factory.mktemp("installed")
    copy = folder / "copy"
    copy.mkdir()
    for name in ("setup.py", "pyproject.toml", "MANIFEST.in", "README.md", "LICENSE", "CHANGELOG.md", "CITATION.cff"):
        shutil.copy(REPOSITORY / name, copy)
    for name in ("paddle_alexnet", "configs"):
        shutil.copytree(REPOSITORY / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    subprocess.run([sys.executable, "setup.py", "-q", "sdist"], cwd=copy, check=True, capture_output=True)
    (source,) = (copy / "dist").iterdir()
    options = ["--quiet", "--no-deps", "--no-index", "--no-build-isolation", "--target", str(folder / "site")]
    subprocess.run([sys.executable, "-m", "pip", "install", *options, source], check=True, capture_output=True)
    shutil.rmtree(copy)
    return folder / "site"


def run(site: Path, *words: str, cwd: Path) -> "subprocess.CompletedProcess[str]":
    """Run Python with the installed package."""
    environment = {**os.environ, "PYTHONPATH": str(site)}
    return subprocess.run([sys.executable, *words], capture_output=True, text=True, cwd=cwd, env=environment)


def test_installed_command_reads_its_own_recipes(site, tmp_path):
    command = str(site / "bin" / "paddle-alexnet")
    unknown = run(site, command, "train", "-c", "fluud", cwd=tmp_path)
    assert (unknown.returncode, unknown.stdout) == (2, "")
    assert "did you mean 'fluid'" in unknown.stderr

    listed = run(site, command, "recipes", cwd=tmp_path)
    assert (listed.returncode, listed.stderr) == (0, "")
    assert {line.split()[0] for line in listed.stdout.splitlines()} == {
        path.stem for path in (REPOSITORY / "configs").glob("*.yaml")
    }
    summary = run(site, command, "summary", "half", "--num-classes", "3", cwd=tmp_path)
    assert summary.returncode == 0, summary.stderr
    assert "14,587,587" in summary.stdout


def test_installed_package_has_every_file_and_the_version_of_its_metadata(site, tmp_path):
    def files(package: Path) -> set[str]:
        paths = (path.relative_to(package) for path in package.rglob("*") if path.is_file())
        return {path.as_posix() for path in paths if "__pycache__" not in path.parts}

    installed = site / "paddle_alexnet"
    recipes = {f"configs/{path.name}" for path in (REPOSITORY / "configs").iterdir()}
    assert files(installed) == files(REPOSITORY / "paddle_alexnet") | recipes
    code = "import paddle_alexnet as a; from importlib.metadata import version; print(a.__file__, version(a.__name__))"
    printed = run(site, "-c", code, cwd=tmp_path).stdout.split()
    assert printed == [str(installed / "__init__.py"), paddle_alexnet.__version__]
