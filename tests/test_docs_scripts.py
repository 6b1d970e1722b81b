"""The scripts of docs/ as a stranger runs them: on a copy of an exported folder, without this package."""

import re
import shutil
import subprocess
import sys

import pytest
from helpers import REPOSITORY, run_tool, save_untrained

from paddle_alexnet import Predictor
from paddle_alexnet.data.images import find_images


@pytest.fixture(scope="module")
def scripts():
    text = (REPOSITORY / "docs" / "export.md").read_text(encoding="utf-8")
    return re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


@pytest.fixture
def folder(demo_set, tmp_path, monkeypatch):
    """A folder with what the scripts take for given: inference, onnx, photo.jpg and folder."""
    pytest.importorskip("onnxruntime", reason="needs the extra [onnx]")
    save_untrained(tmp_path / "checkpoint")
    result = run_tool("export", tmp_path / "checkpoint", "--to", "all", "--output", tmp_path)
    assert result.returncode == 0, result.stderr
    shutil.copy(find_images([demo_set])[0], tmp_path / "photo.jpg")
    shutil.copytree(demo_set / "images" / "rings", tmp_path / "folder")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_scripts_of_export_run_and_answer_as_predict_does(scripts, folder):
    alone, with_package = scripts
    assert "paddle" not in alone
    printed = subprocess.run([sys.executable, "-I", "-c", alone], capture_output=True, text=True, check=True).stdout
    predictor = Predictor("inference")
    [top, *_] = predictor.top(next(predictor.answers("photo.jpg")), 1)
    assert printed.strip() == top.label

    shown = []
    exec(with_package, {"print": lambda *words: shown.append(words)})
    assert len(shown) == 3 * (1 + 5)
    assert shown[0][1:] == (top.label, pytest.approx(top.probability, rel=1e-5))
