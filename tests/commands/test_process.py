"""Signals: an exit code and one line, at any moment, and no dump of Paddle's."""

import os
import signal
import subprocess
import sys

import pytest
from helpers import REPOSITORY

PROGRAM = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # which a job in the background ignores
from paddle_alexnet.commands import main, recipes
def run(arguments):
    {setup}
    print("ready", flush=True)
    for _ in range(600):  # in steps, for a signal that another thread is given does not end a sleep
        time.sleep(0.1)
recipes.run = run
sys.exit(main.main(["recipes"]))
"""
SETUP = {
    "at work": "",
    "in an import that swallows it": "sys.path.insert(0, '.'); import swallowing",
    "after Paddle's import": "import paddle",
}
SWALLOWING = """
import time
print("ready", flush=True)
try:
    time.sleep(60)
except BaseException:
    pass
"""


@pytest.mark.parametrize(
    "number, code, line", [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]
)
@pytest.mark.parametrize("moment", SETUP)
def test_a_signal_ends_a_command_with_a_line(tmp_path, number, code, line, moment):
    (tmp_path / "swallowing.py").write_text(SWALLOWING)
    program = PROGRAM.format(setup=SETUP[moment])
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    environment.pop("OMP_NUM_THREADS", None)
    with subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env=environment,
    ) as child:
        assert child.stdout.readline() == "ready\n"
        child.send_signal(number)
        out, err = child.communicate(timeout=50)
    assert (child.returncode, err, out) == (code, f"{line}\n", "")


SLOW_IMPORT = """
import builtins, signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # which a job in the background ignores
real = builtins.__import__
def slow(name, *rest):
    if name == "paddle_alexnet.system.bootstrap":
        print("ready", flush=True)
        time.sleep(60)
    return real(name, *rest)
builtins.__import__ = slow
"""


@pytest.mark.parametrize("program", ["module", "tool", "script", "another"])
def test_ctrl_c_during_the_first_import_is_a_line(tmp_path, program):
    """The handler of another program that imports the package is left alone."""
    if program == "module" and sys.version_info < (3, 10):
        pytest.skip("Python 3.9 does not say which module -m runs")
    (tmp_path / "sitecustomize.py").write_text(SLOW_IMPORT)
    for name in ("paddle-alexnet", "another"):
        (tmp_path / name).write_text("from paddle_alexnet.commands.main import main\nmain()\n")
    words = {"module": ["-m", "paddle_alexnet"], "tool": [REPOSITORY / "tools" / "export.py"]}
    words |= {"script": [tmp_path / "paddle-alexnet"], "another": [tmp_path / "another"]}
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(REPOSITORY)])}
    with subprocess.Popen(
        [sys.executable, *words[program]], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as child:
        assert child.stdout.readline() == "ready\n"
        child.send_signal(signal.SIGINT)
        _, err = child.communicate(timeout=50)
    if program == "another":
        assert "KeyboardInterrupt" in err
    else:
        assert (child.returncode, err) == (130, "interrupted\n")


def test_warnings_of_libraries_are_a_line_and_the_ones_of_pillow_are_none(tmp_path):
    (tmp_path / "a.py").write_text(
        "import io, sys, warnings\nfrom PIL import Image\nfrom paddle_alexnet.commands import main, recipes\n"
        "def run(arguments):\n"
        "    warnings.warn('something\\n  is old', stacklevel=1)\n"
        "    image = Image.new('P', (4, 4)); image.info['transparency'] = b'\\0' * 3\n"
        "    image.convert('RGB')\n"
        "    warnings.warn('large', Image.DecompressionBombWarning, stacklevel=1)\n"
        "recipes.run = run\nsys.exit(main.main(['recipes']))\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(
        [sys.executable, tmp_path / "a.py"], capture_output=True, text=True, env=environment, check=False
    )
    assert (done.returncode, done.stderr, done.stdout) == (0, "warning: something is old\n", "")


def test_handlers_are_put_back():
    from paddle_alexnet.commands.main import main

    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    assert main(["recipes"]) == 0
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
