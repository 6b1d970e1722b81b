"""A run answers by its exported model where that is the same network, and by its best checkpoint where it is not."""

import shutil
from dataclasses import replace

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


def test_answering_folder_of_a_run_is_its_exported_model(run):
    assert answered_by(run) == run / "inference"
    assert Predictor(run).metadata.kind == "inference"


@pytest.mark.parametrize("name", ["checkpoints/best", "checkpoints/last/metadata.json", "inference"])
def test_answering_folder_of_a_model_is_that_model(run, name):
    assert answered_by(run / name) == (run / name.partition("/metadata.json")[0])


@pytest.mark.parametrize("options", [("--softmax",), ("--batch", 2), ("--image-size", 132)])
def test_answering_folder_with_an_export_in_other_terms_is_the_best_checkpoint(run, options):
    shutil.rmtree(run / "inference")
    assert run_tool("export", run, *options).returncode == 0
    assert answered_by(run) == run / "checkpoints" / "best"


def test_answering_folder_without_an_export_is_the_best_checkpoint(run):
    best, export = run / "checkpoints" / "best", run / "inference"
    shutil.rmtree(export)
    assert answered_by(run) == best
    shutil.copytree(best, export)  # of that epoch, but no export
    assert answered_by(run) == best


@pytest.mark.parametrize(("of_best", "of_export", "answers"), [(7, 7, "inference"), (7, 6, "checkpoints/best")])
def test_answering_folder_with_an_export_of_another_epoch_is_the_best_checkpoint(run, of_best, of_export, answers):
    set_epoch(run / "checkpoints" / "best", of_best)
    set_epoch(run / "inference", of_export)
    assert answered_by(run) == run / answers


def set_epoch(place, epoch):
    """Write a model again, as one of another epoch."""
    model = model_folder.read_model(place)
    metadata = replace(model.metadata, origin=replace(model.metadata.origin, epoch=epoch))
    model_folder.write_model(
        place, metadata, lambda folder: [(folder / name).write_bytes(content) for name, content in model.files.items()]
    )


def test_predict_reads_each_metadata_file_once(run, demo_set, monkeypatch):
    read = []
    original = model_folder._read_metadata
    monkeypatch.setattr(model_folder, "_read_metadata", lambda place: read.append(place) or original(place))
    image = next(demo_set.rglob("*.jpg"))
    assert run_tool("predict", run, image).returncode == 0
    assert sorted(read) == sorted({*read}), "a model's metadata.json is read a second time"
    assert run / "inference" in read
