"""Trainings without a part of the network, on a tiny one."""

import csv

import pytest
from helpers import assert_user_error, run_tool, small_config
from PIL import Image

from paddle_alexnet import UserError
from paddle_alexnet.network.presets import PRESETS, Conv, Dropout, MaxPool, ablated, walk
from paddle_alexnet.studies import ablation
from paddle_alexnet.studies.ablation import ablate

pytestmark = pytest.mark.usefixtures("tiny_preset")  # a preset `tiny`


@pytest.mark.parametrize("preset", ["small", "paper", "source145", "owt", "tensorflow", "caffenet"])
def test_ablated_preset_lacks_only_the_ablated_part(preset):
    def stages(*quirks):
        return [stage for *_, stage in walk(ablated(PRESETS[preset], quirks))]

    for quirk, kind, field, values in (
        ("no_overlap", MaxPool, "kernel_size", {2}),
        ("no_dropout", Dropout, "p", {0.0}),
        ("one_column", Conv, "groups", {1}),
    ):
        without = stages(quirk)
        assert {getattr(stage, field) for stage in without if isinstance(stage, kind)} <= values
        same = [a == b for a, b in zip(stages(), without, strict=True) if not hasattr(a, field)]
        assert all(same)


def test_runs_are_made_once_and_set_side_by_side(demo_set, tmp_path, monkeypatch):
    config = small_config(demo_set, tmp_path / "out", "model.preset=tiny", "train.epochs=1")
    trained, train = [], ablation.train

    def counted(config, **others):
        trained.append(config.output)
        return train(config, **others)

    monkeypatch.setattr(ablation, "train", counted)
    whole, plain = ablate(config, parts=["overlap"], seeds=[0, 1])
    assert len(trained) == 4
    assert (whole.title, plain.title, plain.lost_in_2012) == ("full network", "without overlapping pooling", 0.39)
    assert ablate(config, parts=["overlap"], seeds=[0, 1]) == [whole, plain]
    assert len(trained) == 4, "what is finished is taken as it is"
    with (tmp_path / "out" / "ablation.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [float(row["run 1"]) for row in rows] == [whole.top1[0], plain.top1[0]]
    assert float(rows[1]["points lost"]) == pytest.approx(50 * (sum(whole.top1) - sum(plain.top1)), abs=0.06)
    low, high = map(float, rows[0]["95 % interval"].split(" to "))
    assert low < 50 * sum(whole.top1) < high and whole.images == 10
    with Image.open(tmp_path / "out" / "ablation.png") as picture:
        assert picture.width > 500
    other = small_config(demo_set, tmp_path / "out", "model.preset=tiny", "train.epochs=1", "data.horizontal_flip=true")
    with pytest.raises(UserError, match="whole-seed-0: holds a run with other settings"):
        ablate(other, parts=["overlap"], seeds=[0])


def test_a_part_that_is_not_there_or_cannot_go_is_one_line(tmp_path):
    words = ["ablate", "-o", f"output={tmp_path / 'out'}", "-o", "data.root=here"]
    assert_user_error(run_tool(*words, "-c", "half", "--without", "lrn"), "part lrn: not found in preset half")
    assert_user_error(run_tool(*words, "--without", "lnr"), "did you mean 'lrn'?")
    assert_user_error(run_tool(*words, "-c", "slim", "--without", "overlap"), "layers of preset slim require it")
    assert not (tmp_path / "out").exists()
