"""What people do with a trained network: export, evaluate, predict; from a checkpoint and from the exported folder."""

import io
import json
import pickle
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from helpers import assert_user_error, run_tool

from paddle_alexnet import AlexNet, Predictor, UserError
from paddle_alexnet.data.images import find_images
from paddle_alexnet.evaluation import evaluate
from paddle_alexnet.export.jit import export
from paddle_alexnet.runs.checkpoint import WEIGHTS, load_checkpoint, read_pdparams, save_checkpoint
from paddle_alexnet.runs.model_folder import write_model

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
    assert about["preprocess"]["image_size"] == 224
    assert len(about["preprocess"]["mean"]) == len(about["preprocess"]["std"]) == 3
    assert (about["model"]["preset"], about["model"]["lrn"], about["origin"]["data"]) == (
        "half",
        "none",
        "embedded demo set",
    )
    assert about["origin"]["val_loss"] == finished_run.best.val_loss
    assert about["origin"]["epoch"] == finished_run.best.epoch


def test_checkpoint_and_exported_folder_agree(finished_run, exported):
    ours, theirs = (evaluate(Predictor(model), split="test") for model in (finished_run.output, exported))
    assert ours.images == theirs.images == 10
    assert ours.loss == pytest.approx(theirs.loss, rel=1e-5)
    assert ours.top1 == theirs.top1


def test_a_short_script_without_the_package_reads_the_exported_folder(exported, demo_set, tmp_path):
    image = find_images([demo_set])[0]
    (tmp_path / "script.py").write_text(SCRIPT)
    printed = subprocess.run(
        [sys.executable, "-I", str(tmp_path / "script.py"), str(exported), str(image)],
        capture_output=True, text=True, check=True, cwd=tmp_path,
    ).stdout  # fmt: skip
    result = json.loads(printed.splitlines()[-1])
    _, probabilities = next(Predictor(exported).predict([image]))
    theirs = np.exp(result["logits"]) / np.exp(result["logits"]).sum()
    np.testing.assert_allclose(theirs, probabilities, atol=1e-5)


def test_predict_writes_the_top_classes_of_every_image(exported, demo_set, tmp_path):
    folder = demo_set / "images" / "rings"
    result = run_tool("predict", exported, folder, "--top", 3, "--csv", tmp_path / "top.csv")
    assert result.returncode == 0, result.stderr
    table = pd.read_csv(tmp_path / "top.csv")
    assert list(table.columns) == ["image", "rank", "label", "wnid", "probability"]
    assert len(table) == 3 * 5
    assert table.groupby("image")["probability"].apply(lambda p: p.is_monotonic_decreasing).all()
    assert "embedded demo set" in result.stdout


@pytest.mark.slow
def test_top_beyond_the_class_count_gives_every_class(exported, demo_set):
    image = find_images([demo_set])[0]
    result = run_tool("predict", exported, image, "--top", 50)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[1].count("0.") >= 10


@pytest.mark.slow
def test_export_tool_gives_the_same_model_from_a_checkpoint(finished_run, tmp_path):
    result = run_tool("export", finished_run.output / "checkpoints" / "best", "--output", tmp_path / "again")
    assert result.returncode == 0, result.stderr
    weights = [folder / "model.pdiparams" for folder in (tmp_path / "again", finished_run.output / "inference")]
    assert weights[0].read_bytes() == weights[1].read_bytes()


def test_an_export_that_differs_is_an_error_and_not_kept(finished_run, tmp_path, monkeypatch):
    network, metadata = load_checkpoint(finished_run.output)
    monkeypatch.setattr("paddle_alexnet.export.jit.TOLERANCE", -1.0)
    with pytest.raises(UserError, match="differs from the network"):
        export(network, metadata, tmp_path / "model")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "lrn", ["native", *(pytest.param(lrn, marks=pytest.mark.slow) for lrn in ("avgpool3d", "builtin", "band"))]
)
def test_every_backend_exports_or_is_swapped_for_one_that_can(lrn, finished_run, tmp_path):
    _, metadata = load_checkpoint(finished_run.output)
    network = AlexNet("caffenet", 10, lrn)
    described = replace(metadata, model=network.spec, preprocess=replace(metadata.preprocess, image_size=227))
    assert export(network, described, tmp_path / "model") <= 1e-5
    assert network.training, "the network goes on training as before"


def test_failed_write_leaves_the_model_that_was_there(finished_run, tmp_path):
    _, metadata = load_checkpoint(finished_run.output)
    place = tmp_path / "model"
    write_model(place, metadata, lambda folder: (folder / "a").touch())

    def fail(folder):
        (folder / "a").write_text("half")
        raise OSError("no space left on device")

    with pytest.raises(UserError, match="untouched"):
        write_model(place, metadata, fail)
    assert (place / "a").read_text() == ""
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_flipped_byte_and_a_missing_file_are_found(exported, tmp_path):
    """Paddle loads a damaged file without a word."""
    broken = shutil.copytree(exported, tmp_path / "broken")
    with (broken / "model.pdiparams").open("r+b") as stream:
        stream.seek(1_000_000)
        byte = stream.read(1)
        stream.seek(1_000_000)
        stream.write(bytes([byte[0] ^ 1]))
    with pytest.raises(UserError, match=r"model\.pdiparams: damaged"):
        Predictor(broken)
    (broken / "model.pdiparams").unlink()
    assert_user_error(run_tool("evaluate", broken), "model.pdiparams", "missing")


def test_weights_file_that_would_run_code_is_refused(tmp_path):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    with pytest.raises(UserError, match="would run"):
        read_pdparams(io.BytesIO(pickle.dumps({"w": Evil()})), source=tmp_path / WEIGHTS)
    assert not (tmp_path / "ran").exists()


def test_plain_paddle_reads_the_checkpoint_s_weights(finished_run):
    import paddle

    place = finished_run.output / "checkpoints" / "best"
    theirs = paddle.load(str(place / WEIGHTS))
    ours = read_pdparams(io.BytesIO((place / WEIGHTS).read_bytes()), source=place)
    assert set(theirs) == set(ours)
    assert all(np.array_equal(theirs[name].numpy(), ours[name]) for name in ours)


def test_weights_that_do_not_fit_are_all_listed(finished_run, tmp_path):
    _, metadata = load_checkpoint(finished_run.output)
    save_checkpoint(tmp_path / "other", AlexNet("half", 7), metadata)
    with pytest.raises(UserError) as error:
        load_checkpoint(tmp_path / "other")
    assert str(error.value).count("must be") == 2  # weight and bias of the last layer


@pytest.mark.slow
def test_export_never_replaces_what_is_not_a_model(finished_run, tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    assert_user_error(run_tool("export", finished_run.output, "--output", tmp_path), str(tmp_path), "not a model")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize(
    "tool", ["evaluate", *(pytest.param(tool, marks=pytest.mark.slow) for tool in ("export", "predict"))]
)
def test_no_model_there_is_one_line(tool, tmp_path):
    extra = [tmp_path] if tool == "predict" else []
    (tmp_path / "picture.png").touch()
    assert_user_error(run_tool(tool, tmp_path / "nothing", *extra), "nothing", "no model there")


@pytest.mark.slow
def test_exporting_an_export_and_other_classes_are_one_line(exported, demo_set, tmp_path):
    assert_user_error(run_tool("export", exported), "name a run or a checkpoint")
    root = shutil.copytree(demo_set, tmp_path / "data")
    names = (root / "classes.txt").read_text().splitlines()
    (root / "classes.txt").write_text("\n".join(reversed(names)))
    assert_user_error(run_tool("evaluate", exported, "--root", root), "classes")


@pytest.mark.slow
def test_predict_names_what_it_cannot_read(exported, tmp_path):
    assert_user_error(run_tool("predict", exported, tmp_path / "gone.jpg"), "gone.jpg")
    (tmp_path / "empty").mkdir()
    assert_user_error(run_tool("predict", exported, tmp_path / "empty"), "no images")
    (tmp_path / "text.jpg").write_text("not a picture")
    assert_user_error(run_tool("predict", exported, tmp_path / "text.jpg"), "text.jpg", "not an image")
