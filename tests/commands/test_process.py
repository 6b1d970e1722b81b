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


def test_handlers_are_put_back():
    from paddle_alexnet.commands.main import main

    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    assert main(["recipes"]) == 0
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
