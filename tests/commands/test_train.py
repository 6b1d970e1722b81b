"""Which recipe a run has, and the first command of all."""

import shutil

import pytest
from helpers import run_tool

from paddle_alexnet import UserError
from paddle_alexnet.training import trainer


@pytest.fixture
def configs(monkeypatch):
    """The configs that training is asked for, and refuses."""
    configs = []

    def refuse(config, resume):
        configs.append(config)
        raise UserError("enough")

    monkeypatch.setattr(trainer, "train", refuse)
    return configs


def test_train_without_data_takes_the_demo_recipe_and_names_alternatives(configs, tmp_path):
    result = run_tool("train", "-o", "schedule.warmup_epochs=3", "-o", "data.root=null", cwd=tmp_path)
    (config,) = configs
    assert (config.output, config.model.preset, config.schedule.warmup_epochs) == ("runs/demo", "small", 3)
    (line,) = result.stdout.splitlines()
    assert "recipe demo" in line
    assert "-c scratch" in line
    assert "name their folder" in line


def test_train_with_data_or_by_name_takes_the_full_size_recipe(configs, demo_set, tmp_path):
    table = demo_set / "labels.csv"
    for words in (["-o", f"data.root={demo_set}"], ["-o", f"data.csv={table}"], ["-c", "scratch"]):
        assert run_tool("train", *words, cwd=tmp_path).stdout == ""
    shutil.copytree(demo_set, tmp_path / "data")
    assert run_tool("train", cwd=tmp_path).stdout == ""
    assert [(config.output, config.model.preset) for config in configs] == [("runs/scratch", "paddle2")] * 4
