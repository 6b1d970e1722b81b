"""What several test files call."""

import contextlib
import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Optional

import paddle_alexnet
from paddle_alexnet.commands.main import main
from paddle_alexnet.data.classes import ClassList
from paddle_alexnet.data.preprocess import Preprocess
from paddle_alexnet.network.alexnet import AlexNet
from paddle_alexnet.runs.metadata import Metadata, Origin

REPOSITORY = Path(__file__).resolve().parents[1]


def small_config(root: Path, output: Path, *overrides: str) -> paddle_alexnet.Config:
    """A config that trains in seconds."""
    fixed = [
        f"data.root={root}",
        f"output={output}",
        "model.preset=half",
        "train.batch_size=8",
        "data.verify=false",
        "train.report=false",
    ]
    return paddle_alexnet.load_config(None, [*fixed, *overrides])


def metadata_of(network: AlexNet) -> Metadata:
    """Metadata as a training run would write it beside a network."""
    names = tuple(f"class {index}" for index in range(network.num_classes))
    preprocess = Preprocess(network.image_size, (0.5, 0.4, 0.3), (0.2, 0.2, 0.2))
    return Metadata(network.spec, ClassList(names, (None,) * len(names)), preprocess, Origin("a test's", epoch=3))


def run_tool(verb: str, *arguments: object, cwd: Optional[Path] = None) -> "subprocess.CompletedProcess[str]":
    """Run a verb in this process as the command line does, from another folder if one is given."""
    out, err, here = io.StringIO(), io.StringIO(), Path.cwd()
    words = [verb.replace("_", "-"), *map(str, arguments)]
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            if cwd is not None:
                os.chdir(cwd)
            code = main(words)
        finally:
            os.chdir(here)
    return subprocess.CompletedProcess(words, code, out.getvalue(), err.getvalue())


def run_process(name: str, *arguments: object, cwd: Path = REPOSITORY) -> "subprocess.CompletedProcess[str]":
    """Run a tool as a user would, in a process of its own: where the process itself is the subject."""
    command = [sys.executable, str(REPOSITORY / "tools" / f"{name}.py"), *map(str, arguments)]
    environment = {**os.environ, "COLUMNS": "200"}
    environment.pop("OMP_NUM_THREADS", None)  # which the package has set in this process
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environment)


def assert_user_error(result: "subprocess.CompletedProcess[str]", *parts: str) -> None:
    """Exit code 2, one error line that names what it must, no traceback."""
    assert result.returncode == 2, result.stderr
    assert "Traceback" not in result.stderr
    line = result.stderr.strip().splitlines()[-1]
    assert "error: " in line
    for part in parts:
        assert part in line


def truncate(path: Path) -> None:
    """Cut a file in half."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
