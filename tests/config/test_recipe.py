"""Recipes and overrides."""

import re
from pathlib import Path

import pytest
from helpers import REPOSITORY, run_tool

from paddle_alexnet import PRESETS, UserError, load_config
from paddle_alexnet.config.recipe import RENAMED_KEYS, save_config


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
        ("optimizer.name=lamb", "'momentum_2012' or 'sgd'"),
        ("data.mean=[0.5, 0.5]", "data.mean"),
        ("data.std=[0.2, 0.2, 0]", "greater than 0"),
        ("schedule.name=step", "set both or neither"),
        ("schedule.milestones=[5, 3]", "rising order"),
        ("device=tpu", "write auto"),
        ("device=gpu", "write gpu:0"),
        ("model=half", "set one of them, such as model.preset"),
        ("model={preset: half}", "such as model.preset"),
        ("train.lr=1", "did you mean optimizer.learning_rate"),
        ("lr=1", "did you mean optimizer.learning_rate"),
        ("optimiser.momentum=0.5", "did you mean optimizer.momentum"),
        ("model.name=half", "did you mean model.preset"),
        ("model.lrn=bands", "did you mean 'band'"),
        ("data.mean=[123, 117, 104]", "divide values of 0..255 by 255"),
        ("data.std=[58, 57, 57]", "divide values of 0..255 by 255"),
        ("data.root=", "data.root=null"),
        ("output=", "the value is empty"),
        ("train.epochs= ", "the value is empty"),
        ("data.root=a\0b", "control character"),
        ("data.root=caf\udce9", "not UTF-8"),
        ("data.root=~no-such-user/x", "home folder"),
        ("train.epochs.more=1", "train.epochs"),
        ("train.epochs", "key.sub=value"),
        ("train.epochs=[1", "YAML"),
        ("train.epochs=&a [*a]", "anchors"),
        ("train.epochs=!!int 3", "tags"),
        (f"train.epochs={'9' * 20}", "15 digits"),
        (f"train.epochs={'9' * 4301}", "digits"),
        (f"train.epochs={'[' * 1_000_000}", "longer than"),
        (f"train.epochs={'[' * 50_000}", "nested deeper"),
        (f"{'x' * 1_000_000}=1", "unknown key x+; `paddle-alexnet train --help` lists the keys"),
        ("zebra=1", "unknown key zebra; `paddle-alexnet train --help` lists the keys$"),
    ],
    ids=lambda text: text[:30].encode("unicode_escape").decode(),
)
def test_bad_override_names_itself_and_the_remedy(override, words):
    with pytest.raises(UserError, match=words.replace("(", r"\(")) as error:
        load_config(None, [override])
    assert override.split("=")[0].split(".")[0][:200] in str(error.value)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 600


@pytest.mark.parametrize(
    "text, words",
    [
        ("train:\n  epocs: 3\n", "did you mean train.epochs"),
        ("- a\n- b\n", "mapping"),
        ("train: [\n", "YAML"),
        ("train: 3\n", "group of keys"),
        ("train.epochs: 3\n", "indented below its group"),
        ("train: {epochs: 2, epochs: 3}\n", "duplicate"),
        ("a: &a [*a]\n", "anchors"),
        ("data: {root: !foo bar}\n", "tags"),
        ("data: {root: 2024}\n", "valid string"),
        ('data: {root: "a\\0b"}\n', "control"),
        ("1: 2\n", "not text"),
        ("null: 2\n", "not text"),
        ("? [a, b]\n: 1\n", "not text"),
        ("? {a: b}\n: 1\n", "unhashable"),
        ("data: {root: =}\n", "constructor"),
        ("---\na: 1\n---\nb: 2\n", "single document"),
        ("%YAML 9.9\n---\na: 1\n", "version"),
        ("\0", "unacceptable"),
        (f"train: {{epochs: {'9' * 4301}}}\n", "digits"),
        ("[" * 50_000, "nested deeper"),
        ("[" * 1_000_000, "larger than"),
        ("a: " * 30_000, "mapping values"),
    ],
    ids=lambda text: text[:20].encode("unicode_escape").decode(),
)
def test_bad_recipe_names_the_file(tmp_path, text, words):
    with pytest.raises(UserError, match=words) as error:
        load_config(write(tmp_path, text))
    assert "recipe.yaml" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("old", "new"), RENAMED_KEYS.items())
def test_renamed_key_in_a_recipe_or_override_names_the_new_key(tmp_path, old, new):
    group, name = old.split(".")
    recipe = write(tmp_path, f"{group}: {{{name}: 0}}\n")
    for path, overrides in ((recipe, []), (None, [f"{old}=0"])):
        with pytest.raises(UserError, match=rf"{old} was renamed; write {new}$"):
            load_config(path, overrides)


def test_config_that_an_earlier_version_stored_is_read(tmp_path):
    stored = write(
        tmp_path,
        "# the data is the demo set\nmodel: {initialisation: kmeans}\n"
        "data: {colour_jitter: 0.4, erase: 0.5, flip: true, normalise: channel}\n",
    )
    today = "color_jitter=0.4 random_erasing=0.5 horizontal_flip=true normalize=channel"
    overrides = ["model.initialization=kmeans", *(f"data.{override}" for override in today.split())]
    assert load_config(stored) == load_config(None, overrides)


@pytest.mark.parametrize("text", ["set #2", "2024", "a: b", "[x] y", "true", "1e-4", " a", "'"])
def test_a_text_is_taken_as_it_is(text):
    assert load_config(None, [f"data.root={text}"]).data.root == text
    assert load_config(None, [f"output={text}"]).output == text


def test_null_is_none_where_there_may_be_none(tmp_path):
    recipe = write(tmp_path, "data: {root: pictures, resize: 256}\n")
    assert load_config(recipe, ["data.root=null", "data.resize=null"]) == load_config()
    assert load_config(None, ["output=null"]).output == "null"


@pytest.mark.parametrize(
    "key", ["output", "model.weights", "data.root", "data.csv", "data.classes", "data.cache_folder"]
)
def test_every_path_may_begin_at_home(tmp_path, monkeypatch, key):
    monkeypatch.setenv("HOME", str(tmp_path))
    config = load_config(None, [f"{key}=~/x"])
    group, _, name = key.rpartition(".")
    assert getattr(getattr(config, group) if group else config, name) == str(tmp_path / "x")


def test_a_group_may_be_empty_and_a_date_is_text(tmp_path):
    assert load_config(write(tmp_path, "train:\n")) == load_config()
    assert load_config(write(tmp_path, "data: {root: 2024-02-30}\n")).data.root == "2024-02-30"


def test_a_recipe_is_a_regular_file_or_a_known_name(tmp_path):
    assert load_config(Path("half")).model.preset == "half"
    for path in (Path("/dev/zero"), tmp_path):
        with pytest.raises(UserError, match="regular file"):
            load_config(path)
    with pytest.raises(UserError, match="did you mean 'fluid'"):
        load_config(Path("fluud"))


def test_missing_recipe_is_one_line(tmp_path):
    with pytest.raises(UserError, match=r"nowhere\.yaml"):
        load_config(tmp_path / "nowhere.yaml")


@pytest.mark.parametrize("recipe", sorted((REPOSITORY / "configs").glob("*.yaml")), ids=lambda path: path.stem)
def test_recipe_loads_and_its_header_names_its_command(recipe):
    config = load_config(recipe)
    header = recipe.read_text().partition("\noutput:")[0]
    assert all(line.startswith("#") for line in header.splitlines())
    default = {"demo": r"", "scratch": r" -o data\.root=DIR"}
    command = default.get(recipe.stem, rf" -c {recipe.stem}\b")
    assert re.search(rf"^#   paddle-alexnet train{command}", header, re.MULTILINE)
    assert set(config.model.quirks) <= PRESETS[config.model.preset].quirks


def test_help_lists_every_key_with_default_and_meaning():
    help_text = run_tool("train", "--help").stdout
    for key in ("data.root=null", "train.epochs=10", "optimizer.learning_rate=0.0001", 'device="auto"'):
        assert key in help_text
    assert "number of epochs" in help_text
