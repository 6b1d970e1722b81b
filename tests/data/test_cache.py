"""The decoded cache, the loader's threads and speed, and images that cannot be read."""

import os
import shutil
import struct
import sys
import threading
import time
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers import small_config
from PIL import Image

from paddle_alexnet import UserError
from paddle_alexnet.config import DataConfig
from paddle_alexnet.data import cache
from paddle_alexnet.data.cache import open_cache
from paddle_alexnet.data.dataset import Faults, LabelledImages, verify_images
from paddle_alexnet.data.loader import Loader
from paddle_alexnet.data.pipeline import open_loaders
from paddle_alexnet.data.preprocess import Preprocess
from paddle_alexnet.data.table import read_table
from paddle_alexnet.files import atomic_file as writing

SQUASH = Preprocess(32, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
CROP = replace(SQUASH, geometry="crop", resize=40)


@pytest.fixture
def root(demo_set: Path, tmp_path: Path) -> Path:
    """A copy of the demo set to break."""
    return shutil.copytree(demo_set, tmp_path / "data")


def split(root: Path, name: str = "train") -> LabelledImages:
    return LabelledImages(read_table(root), name, SQUASH)


def opened(root: Path, *, preprocess: Preprocess = SQUASH, limit: int = 0) -> cache.Decoded:
    return open_cache("disk", split(root), preprocess, root.parent / "cache", faults=Faults(limit), workers=2)


@pytest.fixture
def fills(monkeypatch):
    """A list that grows by one each time that a cache is filled."""
    calls, fill = [], cache._fill
    monkeypatch.setattr(cache, "_fill", lambda *a, **k: calls.append(a) or fill(*a, **k))
    return calls


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize("preprocess", [SQUASH, CROP])
@pytest.mark.parametrize("kind", ["ram", "disk"])
def test_cached_batches_are_the_same(root, preprocess, kind):
    dataset = split(root)
    decoded = open_cache(kind, dataset, preprocess, root.parent / "cache", faults=Faults(), workers=3)
    changes = DataConfig(geometry=preprocess.geometry, mirror=True, colour_jitter=0.3)
    loaders = [
        Loader(dataset, preprocess, batch_size=8, shuffle=True, seed=5, changes=changes, decoded=d, workers=w)
        for d, w in ((None, 1), (decoded, 4))
    ]
    for _ in range(2):
        for (image, label), (cached, cached_label) in zip(*loaders):
            np.testing.assert_array_equal(image.numpy(), cached.numpy())
            np.testing.assert_array_equal(label.numpy(), cached_label.numpy())


def test_cache_is_built_once_and_again_when_something_changed(root, fills):
    first = opened(root)
    assert isinstance(first.planes, np.memmap) and len(fills) == 1
    opened(root)
    assert len(fills) == 1, "read, not built"
    victim = split(root).path(3)
    Image.new("RGB", (50, 50), (1, 2, 3)).save(victim)
    assert (opened(root).planes[3].transpose(1, 2, 0) == SQUASH(victim)).all() and len(fills) == 2
    stat = victim.stat()
    os.utime(victim, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    opened(root)
    assert len(fills) == 3
    assert opened(root, preprocess=CROP).planes.shape == (30, 3, 40, 40) and len(fills) == 4
    opened(root)
    assert len(fills) == 4, "one geometry does not drive out the other"


@pytest.mark.parametrize("damage", ["flip", "cut", "header"])
def test_a_damaged_cache_is_found_and_built_again(root, fills, damage, capsys):
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
    else:
        truncate(file.with_suffix(".json"))
    np.testing.assert_array_equal(opened(root).planes, whole)
    assert len(fills) == 2
    assert "damaged: built again" in capsys.readouterr().out


def test_a_killed_run_s_half_cache_is_removed_and_a_running_one_s_is_not(tmp_path):
    dead, alive = tmp_path / ".a.npy.4194999.partial", tmp_path / f".a.npy.{os.getppid()}.partial"
    for path in (dead, alive):
        path.touch()
    with writing(tmp_path / "a.npy") as partial:
        partial.write_text("new")
    assert {path.name for path in tmp_path.iterdir()} == {"a.npy", alive.name}
    with pytest.raises(RuntimeError), writing(tmp_path / "a.npy") as partial:
        partial.write_text("half")
        raise RuntimeError
    assert (tmp_path / "a.npy").read_text() == "new" and not partial.exists()


def test_no_room_and_a_cache_inside_the_data_are_one_line(root, monkeypatch):
    with pytest.raises(UserError, match="inside the data folder"):
        open_cache("disk", split(root), SQUASH, root / "cache", faults=Faults(), workers=1)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(9, 9, 9))
    with pytest.raises(UserError, match=r"no room for .* data\.cache_folder"):
        opened(root)


def test_nothing_in_the_data_folder_is_touched(root, tmp_path):
    def state() -> dict[str, tuple[int, int]]:
        return {str(p): (p.stat().st_mtime_ns, p.stat().st_size) for p in root.rglob("*")}

    before = state()
    settings = ("data.cache=disk", "data.normalise=channel", "data.geometry=random_resized_crop", "data.resize=40")
    config = small_config(root, tmp_path / "runs" / "a", *settings)
    for loader in open_loaders(config, read_table(root), 32, on_device=False):
        assert sum(len(label) for _, label in loader) == len(loader.dataset)
    assert state() == before
    assert {path.suffix for path in (tmp_path / "runs" / "cache").iterdir()} == {".npy", ".json", ".npz"}


@pytest.mark.parametrize("cached", [False, True])
def test_an_image_that_turns_unreadable_is_named_counted_and_skipped(root, capsys, cached):
    dataset = split(root)
    dataset.labels = np.arange(len(dataset))
    bad = [dataset.path(4), dataset.path(11)]
    for path in bad:
        truncate(path)
    faults = Faults(2)
    decoded = open_cache("ram", dataset, SQUASH, root, faults=faults, workers=2) if cached else None
    loader = Loader(dataset, SQUASH, batch_size=7, decoded=decoded, faults=faults, workers=3, on_device=cached)
    good = [n for n in range(30) if n not in (4, 11)]
    whole = SQUASH.batch(np.stack([SQUASH(dataset.path(n)) for n in good]))
    for _ in range(2):
        images, labels = zip(*loader)
        assert [int(n) for label in labels for n in label] == good
        np.testing.assert_allclose(np.concatenate([image.numpy() for image in images]), whole, atol=1e-6)
    errors = capsys.readouterr().err
    for path in bad:
        assert errors.count(str(path)) == 1, "named once"
    assert errors.count("2 unreadable train images were skipped in this epoch") == 2
    truncate(dataset.path(20))
    if not cached:
        with pytest.raises(UserError, match=r"labels\.csv, line \d+: .*2 such images were skipped"):
            list(loader)


def test_by_default_the_first_unreadable_image_ends_the_run_with_its_line(root):
    dataset = split(root)
    truncate(dataset.path(4))
    line = dataset.rows[4] + 2
    for read in (
        lambda: list(Loader(dataset, SQUASH, batch_size=8)),
        lambda: opened(root),
        lambda: verify_images(dataset, Faults(), workers=2),
        lambda: dataset[4],
    ):
        with pytest.raises(UserError, match=rf"labels\.csv, line {line}: .*{dataset.path(4).name}") as error:
            read()
        assert "\n" not in str(error.value)
    opened(root, limit=1)
    with pytest.raises(UserError, match=rf"line {line}"):  # the cache remembers what it lacks
        opened(root)


def test_a_batch_of_unreadable_images_is_left_out(root):
    dataset = split(root)
    for index in range(5):
        truncate(dataset.path(index))
    sizes = [len(label) for _, label in Loader(dataset, SQUASH, batch_size=5, faults=Faults(5))]
    assert sizes == [5] * 5


def png(width: int, height: int) -> bytes:
    """A PNG that says it has these sides, with hardly any data."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 99)) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    "content, words",
    [
        (png(100_000, 1), "100000×1 pixels"),
        (png(1, 100_000), "1×100000 pixels"),
        (png(0, 5), "line"),
        (b"GIF89a" + bytes(7) + b"," + bytes(9) + b";", "line"),
        (png(15_000, 10_000), "bomb"),
        (png(60_000, 60_000), "bomb"),
        (b"", "not an image"),
    ],
)
def test_bombs_and_impossible_sides_are_refused_before_they_are_decoded(root, content, words):
    dataset = split(root)
    dataset.path(2).write_bytes(content)
    started = time.monotonic()
    with pytest.raises(UserError, match=words) as error:
        dataset[2]
    assert f"line {dataset.rows[2] + 2}:" in str(error.value)
    assert time.monotonic() - started < 1


def test_no_thread_outlives_the_iteration(root):
    before = threading.active_count()
    loader = Loader(split(root), SQUASH, batch_size=4, workers=6)
    batches = iter(loader)
    next(batches)
    assert threading.active_count() > before
    batches.close()
    list(loader)
    truncate(split(root).path(0))
    with pytest.raises(UserError):
        list(loader)
    assert threading.active_count() == before
    assert "multiprocessing.shared_memory" not in sys.modules


def test_cached_training_pipeline_is_many_times_a_plain_loader(demo_set):
    """The target is 8 times; a third of it is asserted, for machines that do other things too."""
    from paddle.vision import transforms as T

    preprocess = Preprocess(224, SQUASH.mean, SQUASH.std, geometry="crop", resize=256)
    dataset = LabelledImages(read_table(demo_set), "train", preprocess)
    decoded = open_cache("ram", dataset, preprocess, demo_set, faults=Faults(), workers=2)
    changes = DataConfig(geometry="crop", resize=256, mirror=True)
    loader = Loader(dataset, preprocess, batch_size=10, shuffle=True, changes=changes, decoded=decoded, workers=1)
    plain = T.Compose(
        [T.Resize(256), T.RandomCrop(224), T.RandomHorizontalFlip(), T.ToTensor(), T.Normalize(SQUASH.mean, SQUASH.std)]
    )

    def seconds(run) -> float:
        times = []
        for _ in range(3):
            started = time.process_time()
            run()
            times.append(time.process_time() - started)
        return min(times)

    slow = seconds(lambda: [plain(Image.open(dataset.path(n)).convert("RGB")) for n in range(len(dataset))])
    fast = seconds(lambda: list(loader))
    assert slow / fast > 8 / 3
