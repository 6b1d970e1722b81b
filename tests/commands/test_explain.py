"""explain as a command."""

import re
from dataclasses import replace

import numpy as np
import pytest
from helpers import REPOSITORY, assert_user_error, run_tool
from PIL import Image
from planted import RED, planted, red_and_green

from paddle_alexnet.runs.checkpoint import save_checkpoint
from paddle_alexnet.runs.model_folder import write_model

pytestmark = pytest.mark.usefixtures("tiny_preset")  # a preset `tiny`


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A checkpoint without a data set."""
    place = tmp_path_factory.mktemp("model") / "checkpoint"
    save_checkpoint(place, *red_and_green())
    return place


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "red.png"
    Image.fromarray(planted({RED: (10, 60)})).save(path)
    return path


def test_every_view_that_there_is_becomes_a_picture(model, image, tmp_path):
    result = run_tool("explain", model, image, "--output", tmp_path / "out", "--visualdl", tmp_path / "log")
    assert result.returncode == 0, result.stderr
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert written == {"filters.png", *(f"red-{view}.png" for view in ("gradcam", "occlusion", "maps"))}
    assert "view neighbors left out: the model's data set is not known" in result.stdout
    assert "tiny has no local response normalization" in result.stdout
    assert f"{image}  class 0 " in result.stdout
    for name in written:
        with Image.open(tmp_path / "out" / name) as picture:
            assert np.asarray(picture).std() > 0
    assert sum(path.stat().st_size for path in (tmp_path / "log").iterdir()) > 10_000


def test_some_views_of_another_class_and_neighbors_in_another_set(model, image, tmp_path):
    (tmp_path / "set").mkdir()
    lines = ["filename,label,split"]
    for n in range(4):
        Image.fromarray(planted({n % 2: (5 + 20 * n, 10 * n)})).save(tmp_path / "set" / f"{n}.png")
        lines.append(f"{n}.png,class {n % 2},val")
    (tmp_path / "set" / "labels.csv").write_text("\n".join(lines))
    words = ["--only", "neighbors,gradcam", "--root", tmp_path / "set", "--split", "val", "--class", "class 1"]
    (tmp_path / "again").mkdir()
    image.with_name("again").joinpath("red.png").write_bytes(image.read_bytes())
    result = run_tool("explain", model, image, tmp_path / "again", "--output", tmp_path / "out", *words)
    assert result.returncode == 0, result.stderr
    assert "class 1 " in result.stdout
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        f"red-{n}-{view}.png" for n in (1, 2) for view in ("gradcam", "neighbors")
    }


@pytest.mark.parametrize("view", ["gradcam", "occlusion"])
def test_the_map_itself_is_written_as_an_array(model, image, tmp_path, view):
    place = tmp_path / "map.npy"
    result = run_tool("explain", model, image, "--only", view, "--array", place, "--output", tmp_path / "out")
    assert result.returncode == 0, result.stderr
    values = np.load(place, allow_pickle=False)
    with Image.open(image) as picture:
        assert (values.dtype, values.shape) == (np.float32, picture.size[::-1])
    assert values[10:38, 60:88].mean() > 5 * values[60:, :30].mean()  # the red square
    for words in (["--array", tmp_path / "map.txt"], ["--array", place, "--only", "gradcam,occlusion"]):
        assert_user_error(run_tool("explain", model, image, "--only", view, *words), str(words[1]), "; ")
    other = tmp_path / "other.png"
    other.write_bytes(image.read_bytes())
    assert_user_error(run_tool("explain", model, image, other, "--only", view, "--array", place), "one image")


def test_explain_with_wrong_arguments_is_a_user_error(model, image, tmp_path):
    exported = replace(red_and_green()[1], kind="inference")
    write_model(tmp_path / "exported", exported, lambda folder: (folder / "model.pdmodel").write_bytes(b"a program"))
    assert_user_error(run_tool("explain", tmp_path / "exported", image), "is an export", "name its run or a checkpoint")
    assert_user_error(run_tool("explain", model, image, "--only", "gradcan"), "gradcan", "did you mean 'gradcam'")
    assert_user_error(run_tool("explain", model, image, "--split", "valid"), "valid", "val")
    assert_user_error(run_tool("explain", model, image, "--output", image), "is a file")
    assert_user_error(run_tool("explain", model, tmp_path / "none.png"), "none.png", "image or folder not found")
    assert_user_error(run_tool("explain", model, image, "--class", "dog", cwd=tmp_path), "dog", "class 0")
    (tmp_path / "broken.png").write_bytes(b"no picture")
    assert_user_error(run_tool("explain", model, tmp_path / "broken.png", "--only", "gradcam"), "broken.png")
    wanted = run_tool("explain", model, image, "--only", "neighbors")
    assert_user_error(wanted, "data set is not known")


def test_the_snippets_of_the_docs_run(image, tmp_path, monkeypatch):
    save_checkpoint(tmp_path / "runs" / "demo" / "checkpoints" / "best", *red_and_green())
    (tmp_path / "folder").mkdir()
    for place in ("photo.jpg", "folder/other.png"):
        (tmp_path / place).write_bytes(image.read_bytes())
    monkeypatch.chdir(tmp_path)
    text = (REPOSITORY / "docs" / "explain.md").read_text(encoding="utf-8")
    command, script = re.findall(r"^```(?:sh|python)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    verb, *words = command.split()[1:]
    assert run_tool(verb, *words).returncode == 0
    assert (tmp_path / "explanation" / "other-maps.png").is_file()
    names: dict[str, object] = {}
    exec(script, names)
    assert (tmp_path / "gradcam.png").is_file() and names["heat"].shape == (5, 5)
