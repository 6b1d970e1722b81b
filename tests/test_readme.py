"""README and docs/ as a stranger follows them: every command and script in its order, in one shell, in a copy of the
checkout."""

import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import numpy as np
import pytest
from helpers import REPOSITORY, torch_pickle, write_torch
from pages import blocks

# What is not as printed, so that it takes minutes: fewer epochs, steps and images, and a smaller network for the
# default recipe (`make` takes ARGS from the environment). The tests do not
# run within this test. No package is installed: this environment has them.
PRELUDE = """
export ARGS="-o train.epochs=1 -o model.preset=small"
epochs=1
paddle-alexnet() {
    case "$*" in
        "train --resume"*) epochs=$((epochs + 1)); command paddle-alexnet "$@" -o train.epochs=$epochs ;;
        "train -c"*) command paddle-alexnet "$@" -o train.epochs=1 ;;
        train*model.preset=*) command paddle-alexnet "$@" -o train.epochs=1 -o data.root=data/mine ;;
        train*) command paddle-alexnet "$@" $ARGS ;;
        "benchmark network"*) command paddle-alexnet "$@" --burn-in 0 --steps 1 --batch-size 2 ;;
        doctor*) command paddle-alexnet "$@" || [ $? = 1 ] ;;  # of this machine
        inspect-data*) command paddle-alexnet "$@" || [ $? = 1 ] ;;  # 1: it found something
        *) command paddle-alexnet "$@" ;;
    esac
}
pip() { :; }
make() { case "$*" in test) command make --dry-run test ;; *) command make "$@" ;; esac; }
set -e
"""
TORCHVISION = {  # its AlexNet's layers
    "features.0": (64, 3, 11, 11),
    "features.3": (192, 64, 5, 5),
    "features.6": (384, 192, 3, 3),
    "features.8": (256, 384, 3, 3),
    "features.10": (256, 256, 3, 3),
    "classifier.1": (4096, 9216),
    "classifier.4": (4096, 4096),
    "classifier.6": (1000, 4096),
}
PHOTOGRAPHS = os.environ.get("ALEXNET_IMAGENETTE", "")


def session() -> str:
    """The `sh` and `python` blocks of the pages as one script; other blocks are what is printed, or for other machines.

    What two pages say alike is run once.
    """
    pages = [
        "index",
        "own-classes",
        "reading",
        "data",
        "training",
        "resume",
        "weights",
        "fidelity",
        "lrn",
        "explain",
        "troubleshooting",
        "reference/python",
    ]
    lines, done = [PRELUDE], set()
    for page in (REPOSITORY / "README.md", *(REPOSITORY / "docs" / f"{name}.md" for name in pages)):
        for language, block in blocks(page):
            for part in {"python": [block], "sh": block.splitlines()}.get(language, []):
                if part not in done:
                    done.add(part)
                    lines += [f"echo {shlex.quote(f'=== {page.name}: {part}')}"]
                    lines += [f"python - <<'END'\n{part}END" if language == "python" else part]
    return "\n".join(lines) + "\necho '=== done'\n"


@pytest.mark.readme
@pytest.mark.skipif(not PHOTOGRAPHS, reason="ALEXNET_IMAGENETTE names no folder of photographs")
def test_every_command_runs_as_printed(tmp_path):
    pytest.importorskip("wheel", reason="installing without the network needs it")
    checkout = tmp_path / "checkout"
    files = subprocess.run(["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    for name in files.stdout.split("\0")[:-1]:
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPOSITORY / name, checkout / name)
    environment = install(checkout)
    reader_s_own_files(checkout)

    script = session()
    if importlib.util.find_spec("torch") is None:
        script = "\n".join(line for line in script.splitlines() if "--against torch" not in line)
    result = subprocess.run(["bash", "-c", script], cwd=checkout, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    assert result.stdout.endswith("=== done\n")
    assert "Traceback" not in result.stderr
    for name in (
        "top5.csv",
        "inference/metadata.json",
        "findings.csv",
        "contact-sheet.png",
        "times.json",
        "owt.pdparams",
    ):
        assert (checkout / name).is_file()
    hints = re.findall(r"^(?:next:|     ) ((?:\.venv/bin/)?paddle-alexnet .*)$", result.stdout, re.MULTILINE)
    assert hints  # what the tools say comes next is run, too
    for hint in dict.fromkeys(hints):
        hint = hint.replace("IMAGE", "photo.jpg").replace(" FOLDER", "")  # the prelude names the folder
        command = f"{PRELUDE}\n. .venv/bin/activate\n{hint}"
        shown = subprocess.run(["bash", "-c", command], cwd=checkout, env=environment, capture_output=True, text=True)
        assert shown.returncode == 0, hint + shown.stderr


def install(checkout: Path) -> "dict[str, str]":
    """What `make` does first, but without the network: .venv, on the packages of this environment, and the checkout."""
    python = checkout / ".venv" / "bin" / "python"
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "OMP_NUM_THREADS")}
    subprocess.run([sys.executable, "-m", "venv", checkout / ".venv"], check=True)
    site = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        capture_output=True,
        text=True,
        check=True,
    )
    Path(site.stdout.strip(), "packages-of-the-tests.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    words = ["--quiet", "--no-deps", "--no-index", "--no-build-isolation", "--force-reinstall", "-e", "."]
    subprocess.run([python, "-m", "pip", "install", *words], cwd=checkout, env=environment, check=True)
    (checkout / ".venv" / "installed").touch()
    return environment


def reader_s_own_files(checkout: Path) -> None:
    """What README takes for given: photos/, photo.jpg, folder/ and alexnet.pth."""
    for source in sorted(path for path in Path(PHOTOGRAPHS).iterdir() if path.is_dir()):
        (checkout / "photos" / source.name).mkdir(parents=True)
        for photograph in sorted(source.iterdir())[:10]:
            shutil.copy(photograph, checkout / "photos" / source.name)
    photographs = sorted((checkout / "photos").rglob("*.*"))
    shutil.copy(photographs[0], checkout / "photo.jpg")
    (checkout / "folder").mkdir()
    shutil.copy(photographs[1], checkout / "folder" / photographs[1].name)
    generator = np.random.default_rng(0)
    arrays = {}
    for name, shape in TORCHVISION.items():
        arrays[f"{name}.weight"] = generator.normal(0, 0.01, shape).astype(np.float32)
        arrays[f"{name}.bias"] = np.zeros(shape[0], np.float32)
    write_torch(checkout / "alexnet.pth", torch_pickle(arrays), arrays)
