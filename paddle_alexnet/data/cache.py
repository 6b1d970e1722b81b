"""A cache of decoded patches, in memory or in a memory-mapped file: images are decoded once, not every epoch.

A cache file is rebuilt if an image's name, size or modification time, the geometry or a byte of the file changes.
Threads fill the cache, so it requires no shared memory (`/dev/shm`).
"""

import hashlib
import json
import logging
import os
import shutil
import zlib
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, Optional

import numpy as np

from paddle_alexnet.data.dataset import Decoded, PatchDataset, UnreadableImages
from paddle_alexnet.data.threads import in_threads
from paddle_alexnet.system.errors import UserError
from paddle_alexnet.system.files import atomic_file, write_text
from paddle_alexnet.system.limits import available_memory
from paddle_alexnet.system.progress import progress
from paddle_alexnet.system.typed_values import check_types

_CHUNK = 16  # images

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Header:
    """The JSON file beside a file of patches."""

    key: str  # from `image_key`
    checksum: str  # of the patches
    unreadable: dict[int, str]  # a message for each image that could not be read


def open_cache(
    kind: Literal["ram", "disk"], dataset: PatchDataset, folder: Path, *, unreadable: UnreadableImages, workers: int
) -> Decoded:
    """Return every patch of a split, decoded now or read from `folder`.

    Raises:
        UserError: Memory or disk space is too small, or more images are unreadable than `unreadable` allows.
    """
    side = dataset.preprocess.patch_size
    shape = (len(dataset), 3, side, side)
    size = f"{np.prod(shape) / 1e9:.1f} GB"
    if kind == "ram":
        available = available_memory()
        if available is not None and available < np.prod(shape):
            raise UserError(
                f"data.cache=ram: requires {size} of memory for {dataset.split} patches, {available / 1e9:.1f} GB are "
                "free; use data.cache=disk"
            )
        planes = np.zeros(shape, np.uint8)
        return Decoded(planes, _fill(planes, dataset, unreadable, workers=workers))

    table = dataset.table
    origin = hashlib.sha256(f"{table.root.resolve()}\n{table.csv.resolve()}".encode()).hexdigest()[:8]
    name = f"{table.root.resolve().name}-{origin}-{dataset.split}-{dataset.preprocess.geometry}{side}.npy"
    file = in_cache_folder(folder, table.root) / name
    key = image_key(dataset)
    decoded = _read(file, key, shape, workers=workers)
    if decoded is None:
        free = shutil.disk_usage(file.parent).free
        if free < np.prod(shape):
            raise UserError(
                f"{file.parent}: the cache requires {size}, {free / 1e9:.1f} GB are free; "
                "choose another disk with data.cache_folder, or use data.cache=none"
            )
        _log.info(f"decoding {len(dataset)} {dataset.split} images into {file} ({size})")
        with atomic_file(file) as partial:
            planes = np.lib.format.open_memmap(partial, mode="w+", dtype=np.uint8, shape=shape)
            _allocate(partial)
            decoded = Decoded(planes, _fill(planes, dataset, unreadable, workers=workers))
            planes.flush()
        header = _Header(key, _checksum(planes, workers=workers), decoded.unreadable)
        write_text(file.with_suffix(".json"), json.dumps(asdict(header), indent=1))
    for message in decoded.unreadable.values():
        unreadable.add(message)
    return decoded


def _allocate(file: Path) -> None:
    """Reserve a file's disk space. Raises OSError if the disk is full; a later write to the map would crash instead."""
    if hasattr(os, "posix_fallocate"):
        with file.open("r+b") as stream:
            os.posix_fallocate(stream.fileno(), 0, file.stat().st_size)


def in_cache_folder(folder: Path, root: Path) -> Path:
    """Create and return the cache folder. Raises UserError if `folder` is inside the data, which is never changed."""
    if root.resolve() in [folder.resolve(), *folder.resolve().parents]:
        raise UserError(f"{folder}: is inside the data folder {root}; choose another folder with data.cache_folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except UserError:
        raise
    except OSError as error:
        raise UserError(f"{folder}: cannot write there ({error}); choose another with data.cache_folder") from None
    return folder


def image_key(dataset: PatchDataset) -> str:
    """Return a hash of every image's name, size and modification time, and of the preprocessing up to the patch."""
    p = dataset.preprocess
    # The patch depends on the size of its center only for geometries that cut whole pixels.
    without = {"mean", "std", "mean_image"} | (set() if p.rounds else {"image_size"})
    settings = {name: value for name, value in asdict(p).items() if name not in without}
    digest = hashlib.sha256(repr({**settings, "resize": p.patch_size}).encode())
    for index in range(len(dataset)):
        path = dataset.path(index)
        try:
            stat = path.stat()
        except UserError:
            raise
        except OSError as error:
            raise UserError(f"{path}: is unreadable ({error}); check the file") from None
        digest.update(f"{path}\n{stat.st_size}\n{stat.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def _chunks(count: int) -> list[range]:
    return [range(start, min(start + _CHUNK, count)) for start in range(0, count, _CHUNK)]


def _fill(planes: np.ndarray, dataset: PatchDataset, skipped: UnreadableImages, *, workers: int) -> dict[int, str]:
    """Decode every image of a split into `planes`; return a message for each unreadable one, which stays black."""

    def fill(chunk: range) -> tuple[range, dict[int, str]]:
        patches, unreadable = dataset.patches(chunk)
        planes[[i for i in chunk if i not in unreadable]] = patches
        return chunk, unreadable

    def filled() -> Iterator[None]:
        with closing(in_threads(fill, _chunks(len(dataset)), workers=workers)) as done:
            for chunk, unreadable in done:
                for message in unreadable.values():
                    skipped.add(message)
                found.update(unreadable)
                yield from [None] * len(chunk)

    found: dict[int, str] = {}
    for _ in progress(filled(), what=f"decoding {dataset.split}", total=len(dataset)):
        pass
    return found


def _checksum(planes: np.ndarray, *, workers: int) -> str:
    sums = in_threads(
        lambda chunk: zlib.crc32(planes[chunk.start : chunk.stop].data), _chunks(len(planes)), workers=workers
    )
    return hashlib.sha256(np.fromiter(sums, np.uint32).tobytes()).hexdigest()


def _read(file: Path, key: str, shape: tuple[int, ...], *, workers: int) -> Optional[Decoded]:
    """Return the patches of an earlier run, or None if they are missing, damaged or of other images."""
    try:
        header = check_types(_Header, json.loads(file.with_suffix(".json").read_text(encoding="utf-8")))
        if header.key != key:
            _log.info(f"{file}: the images have changed; rebuilding the cache")
            return None
        planes = np.load(file, mmap_mode="r")
        right = planes.shape == shape and planes.dtype == np.uint8 and set(header.unreadable) <= set(range(len(planes)))
        if right and header.checksum == _checksum(planes, workers=workers):
            return Decoded(planes, header.unreadable)
    except FileNotFoundError:
        return None
    except Exception:  # a damaged file may raise anything
        pass
    _log.info(f"{file}: is damaged; rebuilding the cache")
    return None
