"""The cache of decoded patches: the same images, built once, and again when something changed."""

import errno
import gc
import json
import os
import shutil
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers import truncate
from PIL import Image

from paddle_alexnet import UserError
from paddle_alexnet.config.schema import DataConfig
from paddle_alexnet.data import cache
from paddle_alexnet.data.cache import open_cache
from paddle_alexnet.data.dataset import Decoded, PatchDataset, UnreadableImages
from paddle_alexnet.data.loader import Loader
from paddle_alexnet.data.preprocess import Preprocess
from paddle_alexnet.data.table import read_table

SQUASH = Preprocess(32, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
CROP = replace(SQUASH, geometry="crop", resize=40)
TORCHVISION = replace(SQUASH, geometry="torchvision", resize=47)


def split(root: Path, preprocess: Preprocess = SQUASH) -> PatchDataset:
    return PatchDataset(read_table(root), "train", preprocess)


def opened(root: Path, preprocess: Preprocess = SQUASH) -> Decoded:
    folder = root.parent / "cache"
    return open_cache("disk", split(root, preprocess), folder, unreadable=UnreadableImages(), workers=2)


@pytest.fixture
def fills(monkeypatch):
    """A list that grows by one each time that a cache is filled."""
    calls, fill = [], cache._fill
    monkeypatch.setattr(cache, "_fill", lambda *a, **k: calls.append(a) or fill(*a, **k))
    return calls


@pytest.mark.parametrize("preprocess", [SQUASH, CROP, TORCHVISION])
@pytest.mark.parametrize("kind", ["ram", "disk"])
def test_cached_batches_are_the_same(root, preprocess, kind):
    files, cached = split(root, preprocess), split(root, preprocess)
    cached.decoded = open_cache(kind, cached, root.parent / "cache", unreadable=UnreadableImages(), workers=3)
    config = DataConfig(geometry=preprocess.geometry, horizontal_flip=True, color_jitter=0.3)
    loaders = [
        Loader(dataset, preprocess, batch_size=8, shuffle=True, seed=5, augmentation=config, workers=workers)
        for dataset, workers in ((files, 1), (cached, 4))
    ]
    for _ in range(2):
        for (image, label), (cached_image, cached_label) in zip(*loaders):
            np.testing.assert_array_equal(image.numpy(), cached_image.numpy())
            np.testing.assert_array_equal(label.numpy(), cached_label.numpy())


def test_cache_is_built_once_and_again_when_something_changed(root, fills):
    first = opened(root)
    assert isinstance(first.planes, np.memmap) and len(fills) == 1
    opened(root)
    assert len(fills) == 1, "read, not built"
    victim = split(root).path(3)
    Image.new("RGB", (50, 50), (1, 2, 3)).save(victim)
    assert (opened(root).planes[3].transpose(1, 2, 0) == SQUASH.pixels(victim)).all() and len(fills) == 2
    stat = victim.stat()
    os.utime(victim, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    opened(root)
    assert len(fills) == 3
    assert opened(root, CROP).planes.shape == (30, 3, 40, 40) and len(fills) == 4
    opened(root)
    assert len(fills) == 4, "one geometry does not drive out the other"
    opened(root, replace(SQUASH, orientation="exif"))
    assert len(fills) == 5, "turned pictures are others"
    opened(root, TORCHVISION)
    opened(root, replace(TORCHVISION, image_size=33))
    assert len(fills) == 7, "torchvision's patch lies by its center"
    opened(root, replace(SQUASH, background="#ffffff"))
    opened(root, replace(SQUASH, truncated="accept"))
    assert len(fills) == 9


@pytest.mark.parametrize("damage", ["flip", "cut", "header", "other types", "other images"])
def test_a_damaged_cache_is_found_and_built_again(root, fills, damage, caplog):
    whole = np.array(opened(root).planes)
    file = next((root.parent / "cache").glob("*.npy"))
    if damage == "flip":
        with file.open("r+b") as stream:
            stream.seek(40_000)
            byte = stream.read(1)[0]
            stream.seek(40_000)
            stream.write(bytes([byte ^ 4]))
    elif damage == "cut":
        truncate(file)
    elif damage == "other types":
        header = json.loads(file.with_suffix(".json").read_text())
        file.with_suffix(".json").write_text(json.dumps({**header, "unreadable": {"1": ["a"]}}))
    elif damage == "other images":
        header = json.loads(file.with_suffix(".json").read_text())
        file.with_suffix(".json").write_text(json.dumps({**header, "unreadable": {"99999": "unreadable"}}))
    else:
        truncate(file.with_suffix(".json"))
    caplog.set_level("INFO")
    np.testing.assert_array_equal(opened(root).planes, whole)
    assert len(fills) == 2
    assert "is damaged; rebuilding the cache" in caplog.text


def test_open_cache_without_room_or_inside_the_data_raises(root, monkeypatch):
    with pytest.raises(UserError, match="inside the data folder"):
        open_cache("disk", split(root), root / "cache", unreadable=UnreadableImages(), workers=1)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(9, 9, 9))
    with pytest.raises(UserError, match=r"requires .* data\.cache_folder"):
        opened(root)


def test_memory_that_is_not_there_is_one_line(root, monkeypatch):
    monkeypatch.setattr(cache, "available_memory", lambda: 90_000)
    with pytest.raises(UserError, match=r"requires 0\.0 GB of memory for train patches, 0\.0 GB are free"):
        open_cache("ram", split(root), root, unreadable=UnreadableImages(), workers=1)  # 30 patches, 92,160 bytes
    monkeypatch.setattr(cache, "available_memory", lambda: 92_160)
    assert len(open_cache("ram", split(root), root, unreadable=UnreadableImages(), workers=1).planes) == 30


def test_a_disk_that_fills_up_is_one_line_before_anything_is_decoded(root, monkeypatch, fills):
    """Room is set aside first: a write to the map of a file for which there is none ends the process."""
    if not hasattr(os, "posix_fallocate"):
        pytest.skip("no posix_fallocate")
    allocated = []

    def full(descriptor: int, offset: int, length: int) -> None:
        allocated.append((offset, length))
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "posix_fallocate", full)
        with pytest.raises(UserError, match="No space left"):
            opened(root)
    assert allocated == [(0, 128 + 30 * 3 * 32 * 32)] and not fills
    assert list((root.parent / "cache").iterdir()) == []
    opened(root)
    file = next((root.parent / "cache").glob("*.npy"))
    assert 512 * file.stat().st_blocks >= file.stat().st_size


def test_a_cache_that_another_process_is_building_is_left_to_it(root, monkeypatch):
    """Its number would mean nothing where it runs in another container: it is the lock that tells."""
    fill, begun, go_on, results = cache._fill, threading.Event(), threading.Event(), []

    def slow(*arguments: object, **settings: object) -> dict[int, str]:
        if not begun.is_set():
            begun.set()
            go_on.wait(60)
        return fill(*arguments, **settings)

    monkeypatch.setattr(cache, "_fill", slow)
    first = threading.Thread(target=lambda: results.append(opened(root)))
    first.start()
    assert begun.wait(60)
    being_written = {path for path in (root.parent / "cache").iterdir() if path.name.endswith(".partial")}
    results.append(opened(root))
    assert len(being_written) == 1 and all(path.exists() for path in being_written)
    go_on.set()
    first.join()
    np.testing.assert_array_equal(results[0].planes, results[1].planes)
    assert {path.suffix for path in (root.parent / "cache").iterdir()} == {".npy", ".json"}


def test_a_disk_cache_is_let_go_with_its_dataset(root):
    maps = Path("/proc/self/maps")
    if not maps.exists():
        pytest.skip("no /proc/self/maps")
    dataset = split(root)
    for _ in range(2):  # built, then read
        dataset.decoded = opened(root)
        assert str(root.parent / "cache") in maps.read_text()
        dataset.decoded = None
        gc.collect()
        assert str(root.parent / "cache") not in maps.read_text()


def test_no_thread_outlives_a_cache_that_could_not_be_filled(root):
    truncate(split(root).path(0))
    before = threading.active_count()
    with pytest.raises(UserError) as error:  # whose traceback holds every frame
        opened(root)
    assert error.tb and threading.active_count() == before
    assert list((root.parent / "cache").iterdir()) == []
