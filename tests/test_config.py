"""Recipes and overrides."""

from pathlib import Path

import pytest
from helpers import REPOSITORY, run_tool

from paddle_alexnet import PRESETS, UserError, load_config
from paddle_alexnet.config import save_config


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    return path


def test_override_beats_recipe_beats_default(tmp_path):
    recipe = write(tmp_path, "train: {epochs: 3, batch_size: 8}\noptimizer: {learning_rate: 1e-4}\n")
    config = load_config(recipe, ["train.epochs=5", "data.root=my pictures"])
    assert (config.train.epochs, config.train.batch_size, config.train.seed) == (5, 8, 0)
    assert config.optimizer.learning_rate == 1e-4
    assert config.data.root == "my pictures"


def test_resolved_config_reads_back_unchanged(tmp_path):
    config = load_config(None, ["schedule.milestones=[3, 5]", "schedule.name=step", "data.mean=[0, 0.5, 1]"])
    save_config(config, tmp_path / "config.yaml", comment="a: b")
    assert load_config(tmp_path / "config.yaml") == config


def test_config_is_frozen():
    with pytest.raises(AttributeError):
        load_config().train.epochs = 3


@pytest.mark.parametrize(
    "override, words",
    [
        ("train.epoch=3", "did you mean train.epochs"),
        ("trian.epochs=3", "did you mean train"),
        ("train.epochs=3.5", "valid integer"),
        ("train.epochs=true", "valid integer"),
        ("train.epochs=three", "valid integer"),
        ("train.epochs=0", "greater than or equal to 1"),
        ("optimizer.learning_rate=.nan", "finite"),
        ("optimizer.learning_rate=-1e-4", "greater than 0"),
        ("optimizer.name=lamb", "'adam', 'momentum' or 'sgd'"),
        ("data.mean=[0.5, 0.5]", "data.mean"),
        ("data.std=[0.2, 0.2, 0]", "greater than 0"),
        ("schedule.name=step", "set both or neither"),
        ("schedule.milestones=[5, 3]", "rising order"),
        ("device=tpu", "pattern"),
        ("model=half", "object"),
        ("train.epochs.more=1", "train.epochs"),
        ("train.epochs", "key.sub=value"),
        ("train.epochs=[1", "YAML"),
    ],
)
def test_bad_override_names_itself_and_the_remedy(override, words):
    with pytest.raises(UserError, match=words.replace("(", r"\(")) as error:
        load_config(None, [override])
    assert override.split("=")[0].split(".")[0] in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "text, words",
    [
        ("train:\n  epocs: 3\n", "did you mean train.epochs"),
        ("- a\n- b\n", "mapping"),
        ("train: [\n", "YAML"),
    ],
)
def test_bad_recipe_names_the_file(tmp_path, text, words):
    with pytest.raises(UserError, match=words) as error:
        load_config(write(tmp_path, text))
    assert "recipe.yaml" in str(error.value)


def test_missing_recipe_is_one_line(tmp_path):
    with pytest.raises(UserError, match=r"nowhere\.yaml"):
        load_config(tmp_path / "nowhere.yaml")


@pytest.mark.parametrize("recipe", sorted((REPOSITORY / "configs").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_recipe_loads_and_says_what_it_does(recipe):
    config = load_config(recipe)
    assert recipe.read_text().startswith("#"), "a recipe's header gives its command"
    assert set(config.model.quirks) <= PRESETS[config.model.preset].quirks


def test_help_lists_every_key_with_default_and_meaning():
    help_text = run_tool("train", "--help").stdout
    for key in ("data.root=null", "train.epochs=10", "optimizer.learning_rate=0.0001", 'device="auto"'):
        assert key in help_text
    assert "passes over the training split" in help_text
