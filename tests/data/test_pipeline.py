"""A config's loaders, and runs with everything that it can ask of them."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
from helpers import assert_user_error, run_tool, small_config
from PIL import Image
from rounding import LOSS, PIXELS

from paddle_alexnet import Predictor, UserError, train
from paddle_alexnet.data.dataset import PatchDataset
from paddle_alexnet.data.pipeline import open_loaders
from paddle_alexnet.data.preprocess import Preprocess
from paddle_alexnet.data.table import read_table
from paddle_alexnet.evaluation.evaluate import evaluate


def test_nothing_in_the_data_folder_is_touched(root, tmp_path):
    def state() -> dict[str, tuple[int, int]]:
        return {str(p): (p.stat().st_mtime_ns, p.stat().st_size) for p in root.rglob("*")}

    before = state()
    settings = ("data.cache=disk", "data.normalize=channel", "data.geometry=crop", "data.resize=40")
    config = small_config(root, tmp_path / "runs" / "a", *settings)
    for loader in open_loaders(config, read_table(root), 32, on_device=False):
        assert sum(len(label) for _, label in loader) == len(loader.dataset)
    assert state() == before
    assert {path.suffix for path in (tmp_path / "runs" / "cache").iterdir()} == {".npy", ".json", ".npz"}


def test_a_new_run_turns_images_as_exif_asks_and_its_model_says_so(root, tmp_path):
    """On disk a photograph lies on its side; in training, in evaluation and in prediction it stands."""
    table = read_table(root)
    path = PatchDataset(table, "val", Preprocess(32, (0, 0, 0), (1, 1, 1))).path(0)
    with Image.open(path) as image:
        upright = image.convert("RGB").resize((90, 60))
    exif = Image.Exif()
    exif[0x0112] = 6
    upright.transpose(Image.Transpose.ROTATE_90).save(path, "JPEG", quality=98, exif=exif)
    for setting, turned in (("data.draft=false", True), ("data.orientation=stored", False)):
        config = small_config(root, tmp_path / "run", setting, "data.resample=lanczos")
        train_loader, val_loader = open_loaders(config, table, 32, on_device=False)
        images, _ = next(iter(val_loader))
        expected = upright if turned else upright.transpose(Image.Transpose.ROTATE_90)
        small = np.asarray(expected.resize((32, 32), Image.Resampling.LANCZOS), np.float32) / 255
        expected = ((small - config.data.mean) / config.data.std).transpose(2, 0, 1)
        assert np.abs(images.numpy()[0] - expected).mean() < 0.1
        preprocess = train_loader.preprocess
        assert preprocess == val_loader.preprocess and (preprocess.orientation == "exif") == turned
        np.testing.assert_allclose(images.numpy()[0], preprocess.batch(preprocess.pixels(path)[None])[0], atol=PIXELS)


def test_statistics_are_measured_on_the_pixels_that_the_network_sees(root, tmp_path, statistics):
    """`statistics` are of patches of 64×64, whose center of 48×48 the network sees."""
    table = read_table(root)
    for normalize in ("given", "channel", "pixel"):
        settings = (f"data.normalize={normalize}", "data.geometry=crop", "data.resize=64")
        config = small_config(root, tmp_path / "run", *settings)
        train_loader, val_loader = open_loaders(config, table, 48, on_device=False)
        assert train_loader.preprocess == val_loader.preprocess
        given, preprocess = config.data, train_loader.preprocess
        mean, std = (given.mean, given.std) if normalize == "given" else (statistics.mean / 255, statistics.std / 255)
        np.testing.assert_allclose(preprocess.mean, mean)
        np.testing.assert_allclose(preprocess.std, std if normalize == "channel" else given.std)
        images = np.stack([train_loader.dataset[n][0] for n in range(30)])
        average = preprocess.batch(images).mean(axis=0)
        if normalize == "pixel":
            assert np.abs(average).max() < 0.5 / 255 / min(given.std) + PIXELS, (
                "the mean image, rounded to whole levels"
            )


def test_a_cache_of_central_squares_does_not_serve_random_parts_of_the_whole(demo_set, tmp_path):
    settings = ("data.cache=ram", "data.geometry=random_resized_crop")
    with pytest.raises(UserError, match=r"data\.cache=ram: .* use data\.cache=none or data\.geometry=crop"):
        open_loaders(small_config(demo_set, tmp_path / "run", *settings), read_table(demo_set), 32, on_device=False)


def test_patch_smaller_than_the_input_is_one_line(demo_set, tmp_path):
    with pytest.raises(UserError, match=r"data\.resize: 100 is less than the network's input of 131"):
        train(small_config(demo_set, tmp_path / "run", "data.resize=100"))


@pytest.fixture(scope="module")
def augmented_run(demo_set, tmp_path_factory):
    """Everything at once: the paper's data, mixup and a cache on disk."""
    output = tmp_path_factory.mktemp("augmented") / "run"
    settings = ["geometry=crop", "resize=147", "horizontal_flip=true", "pca_noise=0.1", "normalize=pixel", "mixup=0.2"]
    settings += ["color_jitter=0.2", "random_erasing=0.2", "cache=disk"]
    return train(small_config(demo_set, output, "train.epochs=1", *(f"data.{setting}" for setting in settings)))


def test_run_checkpoint_and_export_agree_with_crops_and_mean_image(augmented_run):
    for model in (augmented_run.output, augmented_run.output / "inference"):
        assert evaluate(Predictor(model), split="val").loss == pytest.approx(augmented_run.best.val_loss, rel=LOSS)


@pytest.mark.slow
@pytest.mark.parametrize("folder", ["", "inference"])
def test_ten_crops_average_the_probabilities(augmented_run, demo_set, tmp_path, folder):
    predictor = Predictor(augmented_run.output / folder)
    preprocess = predictor.metadata.preprocess
    csv = tmp_path / "labels.csv"
    lines = (demo_set / "labels.csv").read_text().splitlines()
    csv.write_text("\n".join([lines[0], *(line for line in lines if line.endswith(",val"))][:3]))
    shutil.copy(demo_set / "classes.txt", tmp_path)
    dataset = PatchDataset(read_table(demo_set, csv), "val", preprocess)
    losses = []
    for index in range(2):
        patch = preprocess.patch(dataset.path(index))
        views = [patch[y : y + 131, x : x + 131] for y, x in ((0, 0), (0, 16), (16, 0), (16, 16), (8, 8))]
        logits = predictor.logits(preprocess.batch(np.stack([*views, *(view[:, ::-1] for view in views)])))
        probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        losses.append(-np.log(probabilities.mean(axis=0)[dataset.labels[index]]))
    result = evaluate(predictor, split="val", root=demo_set, csv=csv, crops=10, batch_size=2)
    assert result.images == 2
    assert result.loss == pytest.approx(np.mean(losses), rel=LOSS)


def test_ten_crops_of_a_model_that_sees_whole_images_is_one_line(finished_run):
    assert_user_error(run_tool("evaluate", finished_run.output, "--crops", 10), "data.resize")


def test_the_decoder_is_the_run_s_and_not_the_model_s(root, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(
        Preprocess, "decoded_by", lambda self, decoder: asked.append(decoder) or replace(self, resize=50)
    )
    config = small_config(root, tmp_path / "run", "data.decoder=simplejpeg")
    for loader in open_loaders(config, read_table(root), 32, on_device=False):
        assert loader.dataset.preprocess.resize == 50
        assert loader.preprocess.resize is None
    assert asked == ["simplejpeg"]
