"""The wheel, installed away from the checkout: the command and the recipes are in it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import REPOSITORY


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that the package is installed in, from a copy of the checkout that is gone afterwards."""
    pytest.importorskip("wheel", reason="building a wheel without the network needs it")
    folder = tmp_path_factory.mktemp("installed")
    copy = folder / "copy"
    copy.mkdir()
    for name in ("setup.py", "pyproject.toml", "MANIFEST.in"):
        shutil.copy(REPOSITORY / name, copy)
    for name in ("paddle_alexnet", "configs"):
        shutil.copytree(REPOSITORY / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    options = ["--quiet", "--no-deps", "--no-index", "--no-build-isolation", "--target", str(folder / "site")]
    subprocess.run([sys.executable, "-m", "pip", "install", *options, str(copy)], check=True, capture_output=True)
    shutil.rmtree(copy)
    return folder / "site"


def installed(site: Path, *words: str, cwd: Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, str(site / "bin" / "paddle-alexnet"), *words]
    environment = {**os.environ, "PYTHONPATH": str(site)}
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environment, check=False)


@pytest.mark.slow
def test_the_command_works_away_from_the_checkout(site, tmp_path):
    where = installed(site, "train", "-c", "fluud", cwd=tmp_path)
    assert (where.returncode, where.stdout) == (2, "")
    assert "did you mean 'fluid'" in where.stderr

    listed = installed(site, "recipes", cwd=tmp_path)
    assert (listed.returncode, listed.stderr) == (0, "")
    assert {line.split()[0] for line in listed.stdout.splitlines()} == {
        path.stem for path in (REPOSITORY / "configs").glob("*.yaml")
    }
    summary = installed(site, "summary", "half", "--num-classes", "3", cwd=tmp_path)
    assert summary.returncode == 0, summary.stderr
    assert "14,587,587" in summary.stdout
    located = subprocess.run(
        [sys.executable, "-c", "import paddle_alexnet; print(paddle_alexnet.__file__)"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(site)},
        check=True,
    )
    assert Path(located.stdout.strip()).is_relative_to(site)
    templates = Path("paddle_alexnet", "report", "templates")
    in_the_wheel = {path.name for path in (site / templates).iterdir()}
    assert in_the_wheel == {path.name for path in (REPOSITORY / templates).iterdir()}
