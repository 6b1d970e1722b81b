"""Decoded patches, kept in memory or in a memory-mapped file, so that images are decoded once and not every epoch.

A file of patches is valid for the names, sizes and times of its images and for one geometry; when one of them changes,
or a byte of the file, it is built again. Threads fill it, so no shared memory (`/dev/shm`) is needed.
"""

import hashlib
import json
import logging
import shutil
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Optional, Union

import numpy as np

from paddle_alexnet.data.dataset import Faults, LabelledImages
from paddle_alexnet.data.preprocess import Preprocess
from paddle_alexnet.data.threads import in_threads
from paddle_alexnet.errors import UserError
from paddle_alexnet.files import atomic_file, write_text
from paddle_alexnet.progress import progress

_CHUNK = 16  # images

Indices = Union[np.ndarray, range, list[int]]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Decoded:
    """The patches of a split: uint8 [N, 3, P, P], and a message for each that could not be read."""

    planes: np.ndarray
    bad: dict[int, str]


def read_patches(
    dataset: LabelledImages, preprocess: Preprocess, indices: Indices, decoded: Optional[Decoded] = None
) -> tuple[np.ndarray, dict[int, str]]:
    """Patches, uint8 [n, 3, P, P], and a message for each position that is unreadable, where it is black."""
    if decoded:
        return decoded.planes[indices], {i: decoded.bad[n] for i, n in enumerate(indices) if n in decoded.bad}
    planes = np.zeros((len(indices), 3, preprocess.patch_size, preprocess.patch_size), np.uint8)
    bad = {}
    for i, index in enumerate(indices):
        try:
            planes[i] = dataset.read(index, preprocess.patch).transpose(2, 0, 1)
        except UserError as error:
            bad[i] = str(error)
    return planes, bad


def open_cache(
    kind: Literal["ram", "disk"],
    dataset: LabelledImages,
    preprocess: Preprocess,
    folder: Path,
    *,
    faults: Faults,
    workers: int,
) -> Decoded:
    """Every patch of a split, decoded now or, from `folder`, by an earlier run.

    Raises UserError for more unreadable images than `faults` allows and where there is no room.
    """
    shape = (len(dataset), 3, preprocess.patch_size, preprocess.patch_size)
    size = int(np.prod(shape))
    if kind == "ram":
        try:
            planes = np.zeros(shape, np.uint8)
        except MemoryError:
            raise UserError(f"data.cache=ram: no room for {size / 1e9:.1f} GB: use data.cache=disk") from None
        return Decoded(planes, _fill(planes, dataset, preprocess, faults=faults, workers=workers))

    table = dataset.table
    origin = hashlib.sha256(f"{table.root.resolve()}\n{table.csv.resolve()}".encode()).hexdigest()[:8]
    geometry = f"{preprocess.geometry}{preprocess.patch_size}"
    place = in_cache_folder(folder, table.root) / f"{table.root.resolve().name}-{origin}-{dataset.split}-{geometry}.npy"
    key = _key(dataset, geometry)
    decoded = _read_file(place, key, shape, workers=workers)
    if decoded is None:
        free = shutil.disk_usage(place.parent).free
        if free < size:
            raise UserError(
                f"{place.parent}: no room for {size / 1e9:.1f} GB of patches, {free / 1e9:.1f} GB are free: "
                "name another folder with data.cache_folder, or use data.cache=none"
            )
        _log.info(f"decoding {len(dataset)} {dataset.split} images into {place} ({size / 1e6:.0f} MB)")
        with atomic_file(place) as partial:
            planes = np.lib.format.open_memmap(partial, mode="w+", dtype=np.uint8, shape=shape)
            bad = _fill(planes, dataset, preprocess, faults=faults, workers=workers)
            planes.flush()
        header = {
            "key": key,
            "checksum": _checksum(planes, workers=workers),
            "bad": {str(n): m for n, m in bad.items()},
        }
        write_text(place.with_suffix(".json"), json.dumps(header, indent=1))
        decoded = Decoded(np.load(place, mmap_mode="r"), bad)
    for message in decoded.bad.values():
        faults.add(message)
    return decoded


def in_cache_folder(folder: Path, root: Path) -> Path:
    """Make the folder for what is measured and decoded. Raises UserError within the data, which is never changed."""
    if root.resolve() in [folder.resolve(), *folder.resolve().parents]:
        raise UserError(f"{folder}: is inside the data folder {root}: name another one with data.cache_folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder}: cannot write there ({error}): name another with data.cache_folder") from None
    return folder


def _chunks(count: int) -> list[range]:
    return [range(start, min(start + _CHUNK, count)) for start in range(0, count, _CHUNK)]


def _fill(
    planes: np.ndarray, dataset: LabelledImages, preprocess: Preprocess, *, faults: Faults, workers: int
) -> dict[int, str]:
    """Decode every image of a split into `planes`; a message for each that is unreadable."""

    def fill(chunk: range) -> dict[int, str]:
        planes[chunk.start : chunk.stop], bad = read_patches(dataset, preprocess, chunk)
        return {chunk[i]: message for i, message in bad.items()}

    def images() -> Iterator[dict[int, str]]:
        for chunk, bad in zip(chunks, in_threads(fill, chunks, workers=workers)):
            yield from ({n: bad[n]} if n in bad else {} for n in chunk)

    chunks = _chunks(len(dataset))
    found: dict[int, str] = {}
    for bad in progress(images(), what=f"decoding {dataset.split}", total=len(dataset)):
        for message in bad.values():
            faults.add(message)
        found.update(bad)
    return found


def _key(dataset: LabelledImages, geometry: str) -> str:
    """A hash of every image's name, size and time of change, and of the geometry."""
    digest = hashlib.sha256(geometry.encode())
    for index in range(len(dataset)):
        path = dataset.path(index)
        try:
            stat = path.stat()
        except OSError as error:
            raise UserError(f"{path}: cannot read it ({error})") from None
        digest.update(f"{path}\n{stat.st_size}\n{stat.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def _checksum(planes: np.ndarray, *, workers: int) -> str:
    sums = in_threads(
        lambda chunk: zlib.crc32(planes[chunk.start : chunk.stop].data), _chunks(len(planes)), workers=workers
    )
    return hashlib.sha256(np.fromiter(sums, np.uint32).tobytes()).hexdigest()


def _read_file(place: Path, key: str, shape: tuple[int, ...], *, workers: int) -> Optional[Decoded]:
    """The patches of an earlier run, or None where there are none, of other images, or damaged ones."""
    try:
        header = json.loads(place.with_suffix(".json").read_text(encoding="utf-8"))
        if header["key"] != key:
            _log.info(f"{place}: its images changed: built again")
            return None
        planes = np.load(place, mmap_mode="r")
        if planes.shape == shape and header["checksum"] == _checksum(planes, workers=workers):
            return Decoded(planes, {int(n): message for n, message in header["bad"].items()})
    except FileNotFoundError:
        return None
    except Exception:  # a damaged file may raise anything
        pass
    _log.info(f"{place}: damaged: built again")
    return None
