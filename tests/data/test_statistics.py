"""The colors of a training set, against the pixels themselves."""

from dataclasses import replace

import numpy as np
import pytest
from helpers import truncate
from PIL import Image

from paddle_alexnet import UserError
from paddle_alexnet.data.cache import open_cache
from paddle_alexnet.data.dataset import PatchDataset, UnreadableImages
from paddle_alexnet.data.preprocess import Preprocess
from paddle_alexnet.data.statistics import Statistics, open_statistics
from paddle_alexnet.data.table import read_table

CROP = Preprocess(48, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), geometry="crop", resize=64)


def test_statistics_equal_the_mean_and_deviation_of_the_pixels(statistics, train_set):
    pixels = np.stack([CROP.patch(train_set.path(i)) for i in range(len(train_set))]).astype(np.float64)
    np.testing.assert_allclose(statistics.mean_image, pixels.mean(axis=0).transpose(2, 0, 1))
    flat = pixels.reshape(-1, 3)
    np.testing.assert_allclose(statistics.std, flat.std(axis=0), rtol=1e-9)
    covariance = np.cov(flat.T, bias=True)
    rebuilt = statistics.eigenvectors * statistics.eigenvalues @ statistics.eigenvectors.T
    np.testing.assert_allclose(rebuilt, covariance, rtol=1e-6)
    assert (np.diff(statistics.eigenvalues) <= 0).all()
    largest = np.abs(statistics.eigenvectors).argmax(axis=0)
    assert (statistics.eigenvectors[largest, range(3)] > 0).all(), "the same sign on every machine"


@pytest.mark.parametrize("change", [
    {"mean": np.zeros(4)},
    {"mean_image": np.zeros((3, 8, 8))},
    {"std": np.full(3, np.nan)},
    {"std": np.zeros(3, "U4")},
    {"eigenvalues": np.zeros(3, np.int8)},
])  # fmt: skip
def test_statistics_of_another_form_are_measured_again(root, measured, statistics, tmp_path, change):
    dataset = PatchDataset(read_table(root), "train", CROP)
    measured(dataset)
    (file,) = (tmp_path / "cache").glob("*.npz")
    np.savez(file, **{**vars(statistics), **change})
    found, reads = measured(dataset)
    assert reads == 30
    np.testing.assert_array_equal(found.std, statistics.std)


@pytest.fixture
def measured(monkeypatch, tmp_path):
    """Statistics, and how many images were read for them."""

    def measured(dataset: PatchDataset) -> tuple[Statistics, int]:
        reads = []
        read = PatchDataset.read
        with monkeypatch.context() as patched:
            patched.setattr(PatchDataset, "read", lambda *a: reads.append(a) or read(*a))
            found = open_statistics(dataset, tmp_path / "cache", unreadable=UnreadableImages(), workers=2)
        return found, len(reads)

    return measured


def test_statistics_are_measured_once_for_the_same_images(root, measured, statistics, tmp_path):
    table = read_table(root)
    first, reads = measured(PatchDataset(table, "train", CROP))
    assert reads == 30
    np.testing.assert_array_equal(first.mean_image, statistics.mean_image)
    assert measured(PatchDataset(table, "train", CROP))[1] == 0
    assert measured(PatchDataset(table, "train", replace(CROP, resize=50)))[1] == 30
    truncate(min((tmp_path / "cache").glob("*.npz"), key=lambda file: file.stat().st_size))
    assert measured(PatchDataset(table, "train", replace(CROP, resize=50)))[1] == 30
    assert measured(PatchDataset(table, "train", CROP))[1] == 0
    csv = root / "labels.csv"
    csv.write_text(csv.read_text().replace(",train\n", ",test\n", 4))
    assert measured(PatchDataset(read_table(root), "train", CROP))[1] == 26


def test_statistics_are_measured_again_when_a_picture_changes_under_the_same_csv(root, measured):
    dataset = PatchDataset(read_table(root), "train", CROP)
    before, _ = measured(dataset)
    Image.new("RGB", (50, 50), (255, 255, 255)).save(dataset.path(3))
    after, reads = measured(dataset)
    assert reads == 30 and (after.mean > before.mean).all()


def test_decoded_patches_give_the_same_and_unreadable_ones_are_left_out(root, tmp_path):
    truncate(PatchDataset(read_table(root), "train", CROP).path(3))
    found = []
    for cached in (False, True):
        dataset = PatchDataset(read_table(root), "train", CROP)
        if cached:
            dataset.decoded = open_cache("ram", dataset, tmp_path, unreadable=UnreadableImages(1), workers=2)
        folder = tmp_path / f"cache{cached}"
        found.append(open_statistics(dataset, folder, unreadable=UnreadableImages(1), workers=2))
        with pytest.raises(UserError, match=dataset.path(3).name):
            open_statistics(dataset, tmp_path / "other", unreadable=UnreadableImages(), workers=2)
    good = np.stack([CROP.patch(dataset.path(n)) for n in range(30) if n != 3])
    for statistics in found:
        np.testing.assert_allclose(statistics.mean, good.mean(axis=(0, 1, 2)))
