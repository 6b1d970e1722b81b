"""A run answers by its exported model where that is the same network, and by its best checkpoint where it is not."""

import json
import shutil

import pytest
from helpers import run_tool

from paddle_alexnet import Predictor
from paddle_alexnet.inference.predictor import answering_folder
from paddle_alexnet.runs import model_folder
from paddle_alexnet.runs.resolve import resolve_model


def answered_by(path):
    return answering_folder(resolve_model(path))


@pytest.fixture
def run(finished_run, tmp_path):
    return shutil.copytree(finished_run.output, tmp_path / "run")


def test_a_run_answers_by_its_exported_model(run):
    assert answered_by(run) == run / "inference"
    assert Predictor(run).metadata.kind == "inference"


@pytest.mark.parametrize("name", ["checkpoints/best", "checkpoints/last/metadata.json", "inference"])
def test_a_model_that_is_named_answers_itself(run, name):
    assert answered_by(run / name) == (run / name.partition("/metadata.json")[0])


@pytest.mark.parametrize("options", [("--softmax",), ("--batch", 2), ("--image-size", 132)])
def test_an_export_in_other_terms_does_not_answer_for_the_run(run, options):
    shutil.rmtree(run / "inference")
    assert run_tool("export", run, *options).returncode == 0
    assert answered_by(run) == run / "checkpoints" / "best"


def test_nor_does_a_missing_one_or_one_of_another_epoch(run, tmp_path):
    place = run / "inference"
    moved = place.rename(tmp_path / "moved")
    assert answered_by(run) == run / "checkpoints" / "best"
    shutil.copytree(run / "checkpoints" / "best", place)  # of that epoch, but none that is exported
    assert answered_by(run) == run / "checkpoints" / "best"
    shutil.rmtree(place)
    moved.rename(place)
    best = run / "checkpoints" / "best"
    shutil.rmtree(best)
    shutil.copytree(run / "checkpoints" / "last", best)
    epochs = [json.loads((folder / "metadata.json").read_text())["origin"]["epoch"] for folder in (best, place)]
    assert answered_by(run) == (place if epochs[0] == epochs[1] else best)


def test_predict_reads_each_metadata_file_once(run, demo_set, monkeypatch):
    read = []
    original = model_folder._read_metadata
    monkeypatch.setattr(model_folder, "_read_metadata", lambda place: read.append(place) or original(place))
    image = next(demo_set.rglob("*.jpg"))
    assert run_tool("predict", run, image).returncode == 0
    assert sorted(read) == sorted({*read}), "a model's metadata.json is read a second time"
    assert run / "inference" in read
