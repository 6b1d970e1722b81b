"""`paddle-alexnet predict`: what it writes beside the lines it prints."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from helpers import assert_user_error, run_tool, save_untrained
from PIL import Image
from rounding import SIX_DIGITS

from paddle_alexnet.commands.predict import folder_names


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_untrained(tmp_path_factory.mktemp("model") / "checkpoint")


@pytest.fixture
def folder(tmp_path):
    """Two pictures of one name in two folders, and what is none."""
    for n, name in enumerate(("a", "b")):
        (tmp_path / "in" / name).mkdir(parents=True)
        pixels = np.random.default_rng(n).integers(0, 255, (99, 99, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "in" / name / "one.png")
    (tmp_path / "in" / "b" / "two.jpg").write_text("not a picture")
    return tmp_path / "in"


def test_json_is_an_object_a_line(model, folder, tmp_path):
    result = run_tool(
        "predict", model, folder, "--top", 2, "--json", tmp_path / "top.json", "--csv", tmp_path / "t.csv"
    )
    assert result.returncode == 1
    lines = (tmp_path / "top.json").read_text().splitlines()
    first, second, third = map(json.loads, lines)
    assert [each["image"] for each in (first, second, third)] == [
        str(folder / name) for name in ("a/one.png", "b/one.png", "b/two.jpg")
    ]
    assert [each["rank"] for each in first["top"]] == [1, 2]
    assert first["error"] is None
    assert (third["top"], third["error"]) == ([], "unreadable image (not an image); replace or remove it")
    table = pd.read_csv(tmp_path / "t.csv")
    assert table["probability"][0] == pytest.approx(first["top"][0]["probability"], rel=SIX_DIGITS)

    printed = run_tool("predict", model, folder, "--top", 2, "--json", "-")
    assert printed.returncode == 1
    assert printed.stdout.splitlines() == lines
    assert "1 of 3 images are unreadable" in printed.stderr


def test_quiet_prints_only_the_results(model, folder):
    loud, quiet = (run_tool("predict", model, folder / "a", *words) for words in ((), ("-q",)))
    assert len(loud.stdout.splitlines()) == 3
    assert quiet.stdout.splitlines() == loud.stdout.splitlines()[2:]


def test_images_are_copied_by_class_and_nothing_is_replaced(model, folder, tmp_path):
    result = run_tool("predict", model, folder, "--json", tmp_path / "top.json", "--sort-into", tmp_path / "sorted")
    assert result.returncode == 1
    lines = [json.loads(line) for line in (tmp_path / "top.json").read_text().splitlines()]
    [name] = {line["top"][0]["label"] for line in lines[:2]}  # one class, so that the names meet

    def there():
        paths = sorted(path for path in (tmp_path / "sorted").rglob("*") if path.is_file())
        return {str(path.relative_to(tmp_path / "sorted")): path.read_bytes() for path in paths}

    expected = {
        f"{name}/one.png": (folder / "a" / "one.png").read_bytes(),
        f"{name}/one-2.png": (folder / "b" / "one.png").read_bytes(),
    }
    assert there() == expected
    run_tool("predict", model, folder, "--sort-into", tmp_path / "sorted")
    assert there() == expected, "the same again is there already"
    shutil.copy(folder / "b" / "one.png", folder / "a" / "one.png")
    run_tool("predict", model, folder / "a", "--sort-into", tmp_path / "sorted")
    assert there() == expected


def test_a_class_has_a_folder_whatever_it_is_called():
    names = ["..", "a/b", "a:b", "tench", "Tench", ".hidden", "x" * 300, "…"]
    assert list(folder_names(names)) == ["_", "a_b", "a_b (2)", "tench", "Tench (2)", "hidden", "x" * 200, "…"]


def test_predict_with_ten_crops_equals_evaluate(finished_run, tmp_path):
    result = run_tool(
        "evaluate", finished_run.output, "--resize", 150, "--crops", 10, "--csv", tmp_path / "theirs.csv", "--excel"
    )
    assert result.returncode == 0, result.stderr
    theirs = pd.read_csv(tmp_path / "theirs.csv")
    root = json.loads((finished_run.output / "inference" / "metadata.json").read_text())["origin"]["data_root"]
    paths = [f"{root}/{name}" for name in theirs["filename"]]
    run_tool(
        "predict",
        finished_run.output,
        *paths,
        "--resize",
        150,
        "--crops",
        10,
        "--csv",
        tmp_path / "ours.csv",
        "--excel",
    )
    for name in ("ours.csv", "theirs.csv"):
        assert (tmp_path / name).read_bytes().startswith(b"\xef\xbb\xbf"), "the mark that Excel wants"
    ours = pd.read_csv(tmp_path / "ours.csv")
    best = ours[ours["rank"] == 1].reset_index()
    assert (best["label"] == theirs["predicted"]).all()
    assert (best["probability"] == theirs["probability"]).all()
    assert_user_error(run_tool("predict", finished_run.output, paths[0], "--crops", 10), "crops: 10", "data.resize")
