"""Which model answers, and which network is looked into."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
from planted import red_and_green

from paddle_alexnet import UserError
from paddle_alexnet.exporting.exporter import export_network
from paddle_alexnet.runs.checkpoint import save_checkpoint
from paddle_alexnet.service.samples import samples
from paddle_alexnet.service.served_model import open_served

pytestmark = pytest.mark.usefixtures("tiny_preset")  # a preset `tiny`


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run's folder as far as its models go."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    network, metadata = red_and_green()
    save_checkpoint(folder / "checkpoints" / "best", network, metadata)
    export_network(network, metadata, folder / "inference")
    return folder


def found(path):
    served = open_served(path, device="cpu")
    return served.predictor.metadata.kind, served.network is not None


def test_a_run_answers_by_its_export_and_is_looked_into_by_its_checkpoint(run, tmp_path):
    assert found(run) == ("inference", True)
    assert found(run / "inference") == ("inference", True)
    assert found(run / "checkpoints" / "best") == ("checkpoint", True)
    assert found(str(run / ".." / run.name)) == ("inference", True)
    alone = shutil.copytree(run / "inference", tmp_path / "alone")
    assert found(alone) == ("inference", False)
    with pytest.raises(UserError, match="model not found"):
        open_served(tmp_path)


def test_models_of_two_epochs_are_not_taken_for_one(run, tmp_path):
    copy = shutil.copytree(run, tmp_path / "run")
    network, metadata = red_and_green()
    save_checkpoint(copy / "checkpoints" / "best", network, replace(metadata, origin=replace(metadata.origin, epoch=9)))
    assert found(copy) == ("checkpoint", True)
    assert found(copy / "inference") == ("inference", False)


def test_samples_are_of_each_class_of_the_val_split_or_drawn(demo_set):
    from paddle_alexnet.data.classes import ClassList

    _, metadata = red_and_green()
    assert samples(metadata, 5) == []
    names = ClassList.from_lines((demo_set / "classes.txt").read_text().split(), "demo")
    metadata = replace(metadata, classes=names, origin=replace(metadata.origin, data_root=str(demo_set)))
    val = samples(metadata, 10)
    assert [sample.label for sample in val] == sorted(names.names)
    assert len(samples(metadata, 3)) == 3
    drawn = samples(replace(metadata, origin=replace(metadata.origin, data_root="/nowhere")), 12)
    assert len(drawn) == 12 and {sample.label for sample in drawn} == set(names.names)
    for sample in (val[0], drawn[0]):
        assert np.asarray(metadata.preprocess.pixels(sample.content)).std() > 5
