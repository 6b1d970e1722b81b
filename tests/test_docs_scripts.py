"""The scripts of docs/ as a stranger runs them: on a copy of an exported folder, without this package."""

import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from helpers import REPOSITORY, run_tool, save_untrained
from PIL import Image
from rounding import LOGITS, PROBABILITIES

from paddle_alexnet import Predictor
from paddle_alexnet.data.image_files import find_images
from paddle_alexnet.inference.engine import log_softmax


def scripts_of(page):
    text = (REPOSITORY / "docs" / page).read_text(encoding="utf-8")
    return re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


@pytest.fixture(params=["squash", "crop"])
def folder(request, demo_set, tmp_path, monkeypatch):
    """A folder with what the scripts take for given: inference, onnx, photo.jpg and folder."""
    pytest.importorskip("onnxruntime", reason="needs the extra [onnx]")
    save_untrained(tmp_path / "checkpoint", geometry=request.param)
    result = run_tool("export", tmp_path / "checkpoint", "--to", "all", "--output", tmp_path)
    assert result.returncode == 0, result.stderr
    with Image.open(find_images([demo_set])[0]) as image:
        image.resize((301, 200)).save(tmp_path / "photo.jpg", quality=95)
    shutil.copytree(demo_set / "images" / "rings", tmp_path / "folder")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_scripts_without_the_package_predict_as_it_does(folder):
    read, with_onnx, with_paddle, _ = scripts_of("export.md")
    assert "paddle_alexnet" not in read + with_onnx + with_paddle
    printed = subprocess.run(
        [sys.executable, "-I", "-c", read + with_onnx], capture_output=True, text=True, check=True
    ).stdout
    predictor = Predictor("inference")
    answer = next(predictor.predict("photo.jpg"))
    assert printed.strip() == answer.labels[0]
    if not (folder / "inference" / "model.pdmodel").exists():
        with_paddle = with_paddle.replace("model.pdmodel", "model.json")  # as the page says
    for script in (with_onnx, with_paddle):
        found = {"print": lambda *words: None}
        exec(read + script, found)
        assert np.exp(log_softmax(found["logits"]))[0] == pytest.approx(answer.distribution, rel=2 * 3 * LOGITS)
    assert found["logits"] == pytest.approx(Predictor("inference").logits(found["image"]), abs=LOGITS)


def test_the_script_with_the_package_lists_the_classes_of_each_image(folder):
    *_, with_package = scripts_of("export.md")
    predictor = Predictor("inference")
    answer = next(predictor.predict("photo.jpg"))
    shown = []
    exec(with_package, {"print": lambda *words: shown.append(words)})
    assert len(shown) == 3 * (1 + 5)
    assert shown[0][1:] == (answer.labels[0], pytest.approx(answer.probabilities[0], rel=PROBABILITIES))
