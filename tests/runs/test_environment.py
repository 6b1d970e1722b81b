"""The environment of a run, written and read again."""

import platform

import paddle
import pytest

from paddle_alexnet import UserError
from paddle_alexnet.runs.environment import environment, read_environment, save_environment


def test_environment_has_the_device_and_the_command(monkeypatch):
    monkeypatch.setattr("sys.argv", ["tools/train.py", "-o", "data.root=my set"])
    found = environment("cpu")
    assert found["device"] == "cpu"
    assert found["Python"] == platform.python_version()
    assert paddle.__version__ in (found.get("paddlepaddle"), found.get("paddlepaddle-gpu"))
    assert found["command"].endswith(" tools/train.py -o 'data.root=my set'")


def test_environment_is_read_as_written(tmp_path):
    save_environment(tmp_path / "environment.json", "cpu")
    assert read_environment(tmp_path / "environment.json").keys() == environment("cpu").keys()
    assert read_environment(tmp_path / "none.json") == {}


@pytest.mark.parametrize("content", ["[1]", "{", "\xff", '{"threads": 2}', "[" * 10**5])
def test_another_file_in_its_place_is_one_line(tmp_path, content):
    place = tmp_path / "environment.json"
    place.write_text(content, encoding="latin1")
    with pytest.raises(UserError, match="not the environment of a run"):
        read_environment(place)
