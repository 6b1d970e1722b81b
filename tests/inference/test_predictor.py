"""What people do with a trained network: export, evaluate, predict; from a checkpoint and from the exported folder."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers import assert_user_error, run_tool
from PIL import Image
from rounding import PROBABILITIES, SIX_DIGITS

from paddle_alexnet import Predictor, UserError
from paddle_alexnet.data.image_files import find_images
from paddle_alexnet.evaluation.evaluate import open_table, predict_split
from paddle_alexnet.inference.predictor import top_classes
from paddle_alexnet.network.lrn import choose_backend

SCRIPT = """
import sys, zlib, numpy as np
from PIL import Image
import json, paddle.inference as inference
folder, image = sys.argv[1:]
about = json.load(open(folder + "/metadata.json"))
size = about["preprocess"]["image_size"]
pixels = np.asarray(Image.open(image).convert("RGB").resize((size, size), Image.Resampling.BILINEAR)) / 255
x = ((pixels - about["preprocess"]["mean"]) / about["preprocess"]["std"]).transpose(2, 0, 1)[None].astype("float32")
program = [f for f in about["sha256"] if f in ("model.pdmodel", "model.json")][0]
predictor = inference.create_predictor(inference.Config(f"{folder}/{program}", f"{folder}/model.pdiparams"))
predictor.get_input_handle(predictor.get_input_names()[0]).copy_from_cpu(x)
predictor.run()
logits = predictor.get_output_handle(predictor.get_output_names()[0]).copy_to_cpu()[0]
print(json.dumps({"class": about["classes"]["names"][logits.argmax()], "logits": logits.tolist()}))
"""


@pytest.fixture(scope="module")
def exported(finished_run, tmp_path_factory):
    """The exported folder, copied elsewhere: it must work alone."""
    return shutil.copytree(finished_run.output / "inference", tmp_path_factory.mktemp("elsewhere") / "model")


def test_metadata_says_all_that_a_user_of_the_model_needs(exported, finished_run):
    about = json.loads((exported / "metadata.json").read_text())
    assert about["classes"]["names"][:2] == ["stripes", "waves"]
    assert about["preprocess"]["image_size"] == 131
    assert len(about["preprocess"]["mean"]) == len(about["preprocess"]["std"]) == 3
    lrn = choose_backend("auto", job="jit")
    expected = ("small", lrn, "embedded demo set")
    assert (about["model"]["preset"], about["model"]["lrn"], about["origin"]["data"]) == expected
    assert about["origin"]["val_loss"] == finished_run.best.val_loss
    assert about["origin"]["epoch"] == finished_run.best.epoch


def test_a_short_script_without_the_package_reads_the_exported_folder(exported, demo_set, tmp_path):
    image = find_images([demo_set])[0]
    (tmp_path / "script.py").write_text(SCRIPT)
    printed = subprocess.run(
        [sys.executable, "-I", str(tmp_path / "script.py"), str(exported), str(image)],
        capture_output=True, text=True, check=True, cwd=tmp_path,
    ).stdout  # fmt: skip
    result = json.loads(printed.splitlines()[-1])
    probabilities = next(Predictor(exported).predict([image])).distribution
    theirs = np.exp(result["logits"]) / np.exp(result["logits"]).sum()
    np.testing.assert_allclose(theirs, probabilities, atol=PROBABILITIES)


def test_predict_writes_the_top_classes_of_every_image(exported, demo_set, tmp_path):
    folder = demo_set / "images" / "rings"
    result = run_tool("predict", exported, folder, "--top", 3, "--csv", tmp_path / "top.csv")
    assert result.returncode == 0, result.stderr
    table = pd.read_csv(tmp_path / "top.csv")
    assert list(table.columns) == ["image", "rank", "label", "wnid", "probability", "error"]
    assert len(table) == 3 * 5
    assert table.groupby("image")["probability"].apply(lambda p: p.is_monotonic_decreasing).all()
    assert "embedded demo set" in result.stdout
    assert "input: the whole image at 131×131" in result.stdout


def test_predict_with_an_unreadable_image_names_it_and_predicts_the_others(exported, demo_set, tmp_path):
    folder = shutil.copytree(demo_set / "images" / "rings", tmp_path / "in")
    sound = sorted(folder.iterdir())
    shutil.copy(sound[0], os.fsencode(folder) + b"/caf\xe9\n.png")  # a name in Latin 1, with a line break
    (folder / "0.jpg").write_text("not a picture")
    (folder / "._a.png").write_text("a Mac's")
    again = os.path.relpath(sound[1], Path.cwd())
    result = run_tool("predict", exported, folder, sound[1], again, "--top", 1, "--csv", tmp_path / "top.csv")
    assert result.returncode == 1, result.stderr
    *_, lines_end, count = result.stdout.splitlines()
    assert lines_end == f"wrote {tmp_path / 'top.csv'}"
    assert count == "1 of 7 images are unreadable"
    assert f"{folder / '0.jpg'}  unreadable image (not an image)" in result.stdout
    assert f"{folder}/caf\\xe9\\n.png  " in result.stdout
    table = pd.read_csv(tmp_path / "top.csv", dtype=str, keep_default_na=False)
    assert list(table["image"]) == [f"{folder}/0.jpg", f"{folder}/caf\\xe9\n.png", *map(str, sound)]
    assert table["error"][0].startswith("unreadable image")
    assert tuple(table.loc[0, ["rank", "label", "probability"]]) == ("", "", "")
    assert (table["error"][1:] == "").all()
    assert (table["rank"][1:] == "1").all()
    predicted = {each.image: each.probabilities for each in Predictor(exported).predict(sound)}
    for row in table.itertuples():
        if Path(row.image) in predicted:
            assert float(row.probability) == pytest.approx(predicted[Path(row.image)].max(), rel=SIX_DIGITS)


def test_predict_interrupted_keeps_the_rows_that_it_has(exported, demo_set, tmp_path, monkeypatch):
    predict = Predictor.predict

    def interrupted(self, images, **named):
        for n, answer in enumerate(predict(self, images, **named)):
            if n == 3:
                raise KeyboardInterrupt
            yield answer

    monkeypatch.setattr(Predictor, "predict", interrupted)
    result = run_tool("predict", exported, demo_set / "images" / "rings", "--top", 1, "--csv", tmp_path / "top.csv")
    assert result.returncode == 130
    assert "of the first 3 of 5 images" in result.stdout
    assert len((tmp_path / "top.csv").read_text().splitlines()) == 1 + 3


def test_images_are_read_no_more_than_two_batches_ahead(exported, demo_set):
    """A hundred thousand images take no more memory than a few."""
    image = find_images([demo_set])[0]
    taken = []

    def endless():
        while True:
            taken.append(image)
            yield image

    predictor = Predictor(exported)
    found = predictor.predict(endless(), batch_size=4)
    for _ in range(8):
        next(found)
    found.close()
    assert len(taken) <= 8 + 2 * 4 + 1


@pytest.mark.slow
def test_top_beyond_the_class_count_gives_every_class(exported, demo_set):
    image = find_images([demo_set])[0]
    result = run_tool("predict", exported, image, "--top", 50)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[2].count("0.") >= 10


def test_a_flipped_byte_and_a_missing_file_are_found(exported, tmp_path):
    """Paddle loads a damaged file without a word."""
    broken = shutil.copytree(exported, tmp_path / "broken")
    with (broken / "model.pdiparams").open("r+b") as stream:
        stream.seek(1_000_000)
        byte = stream.read(1)
        stream.seek(1_000_000)
        stream.write(bytes([byte[0] ^ 1]))
    with pytest.raises(UserError, match=r"model\.pdiparams: is damaged"):
        Predictor(broken)
    (broken / "model.pdiparams").unlink()
    assert_user_error(run_tool("evaluate", broken), "model.pdiparams", "not found")


@pytest.mark.parametrize(
    "tool", ["evaluate", *(pytest.param(tool, marks=pytest.mark.slow) for tool in ("export", "predict"))]
)
def test_path_without_a_model_is_a_user_error(tool, tmp_path):
    extra = [tmp_path] if tool == "predict" else []
    (tmp_path / "picture.png").touch()
    assert_user_error(run_tool(tool, tmp_path / "nothing", *extra), "nothing", "model not found")


def test_exporting_an_export_is_one_line(exported):
    assert_user_error(run_tool("export", exported), "name a run or a checkpoint")


@pytest.mark.slow
def test_predict_names_what_it_cannot_read(exported, tmp_path):
    assert_user_error(run_tool("predict", exported, tmp_path / "gone.jpg"), "gone.jpg")
    (tmp_path / "empty").mkdir()
    assert_user_error(run_tool("predict", exported, tmp_path / "empty"), "no images")
    assert_user_error(run_tool("predict", exported, tmp_path / ("a" * 5000)), "image or folder not found")


def test_paths_may_be_text(exported, demo_set, monkeypatch):
    monkeypatch.chdir(exported.parent)
    image = str(find_images([demo_set])[0])
    ours, theirs = (next(Predictor(model).predict([image])).distribution for model in ("model", exported))
    np.testing.assert_array_equal(ours, theirs)


def test_the_most_probable_classes_first_and_ties_in_order():
    probabilities = np.array([0.2, 0.1, 0.4, 0.2, 0.1])
    assert top_classes(probabilities, 3).tolist() == [2, 0, 3]
    assert top_classes(probabilities, 9).tolist() == [2, 0, 3, 1, 4]


def test_an_image_is_a_path_bytes_a_picture_an_array_or_a_folder_of_them(exported, demo_set):
    predictor = Predictor(exported)
    folder = demo_set / "images" / "rings"
    paths = find_images([folder])
    with Image.open(paths[0]) as picture:
        picture.load()
        array = np.asarray(picture)
        sources = [str(paths[0]), paths[0], paths[0].read_bytes(), picture, array]
        [expected] = predictor.predict(paths[0])
        for found in predictor.predict(sources, batch_size=1):
            np.testing.assert_array_equal(found.distribution, expected.distribution)
        for alone in (*sources, np.stack([array])):
            [found] = predictor.predict(alone)
            np.testing.assert_array_equal(found.distribution, expected.distribution)
    assert [found.image for found in predictor.predict([folder, str(paths[0])])] == [*paths, paths[0]]


def test_answers_for_unreadable_images_have_a_reason_and_the_others_continue(exported, demo_set):
    path = find_images([demo_set])[0]
    gray = np.zeros((9, 9), np.uint8)
    given = [b"no picture", path, gray, "gone.png", path.read_bytes()[:500]]
    answers = list(Predictor(exported).predict(given, batch_size=2, unreadable="keep"))
    assert [answer.image for answer in answers] == [b"no picture", path, gray, Path("gone.png"), given[-1]]
    assert [len(answer.labels) for answer in answers] == [0, 5, 0, 0, 0]
    reasons = ("not an image", "", "array is uint8 [9, 9]; pass", "image not found", "runcated")
    for answer, reason in zip(answers, reasons):
        assert reason in answer.error
        assert not answer.error.startswith(("the image", "gone.png"))
    with pytest.raises(UserError, match=r"the image: unreadable image \(not an image\)"):
        next(Predictor(exported).predict([b"no picture"]))


def test_predictor_with_show_progress_prints_the_count(exported, demo_set, capsys):
    folder = demo_set / "images" / "rings"
    for images, last in (([folder], "5/5"), (iter([folder]), "")):
        assert len(list(Predictor(exported).predict(images, show_progress=True))) == 5
        assert capsys.readouterr().err.strip().endswith(last)


@pytest.mark.parametrize("crops", [1, 10])
def test_predictor_answers_equal_those_of_evaluation(crops, exported):
    predictor = Predictor(exported)
    preprocess = replace(predictor.metadata.preprocess, resize=150)
    predictor.metadata = replace(predictor.metadata, preprocess=preprocess)
    table = open_table(predictor, None, None)
    theirs = predict_split(predictor, table, "train", crops=crops)
    images = [table.root / name for name in table.filenames[table.rows("train")]]
    ours = [found.probabilities for found in predictor.predict(images, crops=crops)]
    np.testing.assert_array_equal(np.stack(ours), theirs.probabilities)


def test_ten_crops_of_a_whole_patch_are_refused_at_once(exported):
    with pytest.raises(UserError, match="crops: 10 requires patches larger"):
        Predictor(exported).predict([], crops=10)
    with pytest.raises(UserError, match="top is 0"):
        Predictor(exported).predict([], top=0)


def test_a_run_may_be_moved(finished_run, demo_set, tmp_path):
    image = find_images([demo_set])[0]
    moved = shutil.copytree(finished_run.output, tmp_path / "moved")
    ours, theirs = (next(Predictor(run).predict(image)).distribution for run in (finished_run.output, moved))
    np.testing.assert_array_equal(ours, theirs)
    assert run_tool("predict", moved, image).returncode == 0


def test_prediction_unpacks_and_preprocessed_images_make_a_batch(exported, demo_set):
    predictor, path = Predictor(exported), next((demo_set / "images").rglob("*.jpg"))
    [prediction] = predictor.predict([path])
    image, probabilities = prediction
    assert image == path
    assert probabilities is prediction.distribution
    preprocess = predictor.metadata.preprocess
    expected = preprocess.batch(preprocess.pixels(path)[None])
    np.testing.assert_array_equal(preprocess.batch(preprocess(path)[None]), expected)
