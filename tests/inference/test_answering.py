"""A run answers by its exported model where that is the same network, and by its best checkpoint where it is not."""

import json
import shutil

import pytest
from helpers import run_tool

from paddle_alexnet import Predictor
from paddle_alexnet.inference.answering import find_answering


@pytest.fixture
def run(finished_run, tmp_path):
    return shutil.copytree(finished_run.output, tmp_path / "run")


def test_a_run_answers_by_its_exported_model(run):
    assert find_answering(run) == run / "inference"
    assert Predictor(run).metadata.kind == "inference"


@pytest.mark.parametrize("name", ["checkpoints/best", "checkpoints/last/metadata.json", "inference"])
def test_a_model_that_is_named_answers_itself(run, name):
    assert find_answering(run / name) == (run / name.partition("/metadata.json")[0])


@pytest.mark.parametrize("options", [("--softmax",), ("--batch", 2), ("--image-size", 132)])
def test_an_export_in_other_terms_does_not_answer_for_the_run(run, options):
    shutil.rmtree(run / "inference")
    assert run_tool("export", run, *options).returncode == 0
    assert find_answering(run) == run / "checkpoints" / "best"


def test_nor_does_a_missing_one_or_one_of_another_epoch(run, tmp_path):
    place = run / "inference"
    moved = place.rename(tmp_path / "moved")
    assert find_answering(run) == run / "checkpoints" / "best"
    shutil.copytree(run / "checkpoints" / "best", place)  # of that epoch, but none that is exported
    assert find_answering(run) == run / "checkpoints" / "best"
    shutil.rmtree(place)
    moved.rename(place)
    best = run / "checkpoints" / "best"
    shutil.rmtree(best)
    shutil.copytree(run / "checkpoints" / "last", best)
    epochs = [json.loads((folder / "metadata.json").read_text())["origin"]["epoch"] for folder in (best, place)]
    assert find_answering(run) == (place if epochs[0] == epochs[1] else best)
