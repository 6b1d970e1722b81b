"""The images that Dockerfile and Dockerfile.gpu describe."""

import re
import shutil
import subprocess
from fnmatch import fnmatch

import pytest
from helpers import REPOSITORY

DOCKERFILES = ("Dockerfile", "Dockerfile.gpu")


@pytest.mark.parametrize("name", DOCKERFILES)
def test_dockerfile_copies_files_that_exist_and_are_not_ignored(name):
    text = (REPOSITORY / name).read_text(encoding="utf-8")
    sources = [source for line in re.findall(r"^COPY (.*) \S+$", text, re.MULTILINE) for source in line.split()]
    ignored, *kept = (REPOSITORY / ".dockerignore").read_text(encoding="utf-8").split("\n*\n")
    assert ignored.startswith("#")
    for source in sources:
        assert (REPOSITORY / source).exists(), source
        assert any(fnmatch(source, line[1:]) for line in kept[0].splitlines() if line.startswith("!")), source


@pytest.mark.parametrize("name", DOCKERFILES)
def test_dockerfile_ends_with_a_user_other_than_root(name):
    text = (REPOSITORY / name).read_text(encoding="utf-8")
    users = re.findall(r"^USER (.*)$", text, re.MULTILINE)
    assert users and users[-1] not in ("root", "0")
    assert text.index(f"USER {users[-1]}") > text.rindex("RUN ")  # what is installed cannot be changed by it


@pytest.mark.slow
def test_image_for_the_processor_trains(tmp_path):
    if shutil.which("docker") is None:
        pytest.skip("there is no docker")
    if docker("info").returncode:
        pytest.skip("no Docker daemon answers")
    built = docker("build", "--tag", "paddle-alexnet-test", str(REPOSITORY))
    assert built.returncode == 0, built.stderr[-3000:]
    tmp_path.chmod(0o777)
    run = ["run", "--rm", "--network", "none", "--volume", f"{tmp_path}:/work"]
    assert docker(*run, "--entrypoint", "id", "paddle-alexnet-test", "-u").stdout.strip() != "0"
    trained = docker(*run, "--user", "1234:1234", "paddle-alexnet-test", "train", "-o", "train.epochs=1")
    assert trained.returncode == 0, trained.stderr[-3000:]
    assert (tmp_path / "runs" / "demo" / "inference" / "metadata.json").is_file()


def docker(*words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(["docker", *words], capture_output=True, text=True)
