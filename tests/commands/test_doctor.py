"""`doctor`: the exit code, the words and the JSON."""

import json

import pytest
from helpers import run_tool

from paddle_alexnet.commands import doctor
from paddle_alexnet.system.installation import Check


@pytest.mark.parametrize("state, code", [("fine", 0), ("note", 0), ("fault", 1)])
def test_faults_alone_set_the_exit_code(monkeypatch, state, code):
    asked = []
    monkeypatch.setattr(doctor, "examine", lambda **options: asked.append(options) or [Check(state, "this", "do that")])
    result = run_tool("doctor", "--deep")
    assert (result.returncode, result.stderr, asked) == (code, "", [{"deep": True}])
    assert "this\n" in result.stdout and "-> do that" in result.stdout
    result = run_tool("doctor", "--json")
    assert result.returncode == code
    assert json.loads(result.stdout) == [{"state": state, "detail": "this", "remedy": "do that"}]


def test_doctor_on_this_machine_prints_python_and_cores():
    result = run_tool("doctor")
    assert result.returncode in (0, 1) and "Python 3." in result.stdout and "usable cores" in result.stdout
