"""The colours of a training set, measured once: mean image, mean and deviation per channel, principal components."""

import hashlib
import logging
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Optional

import numpy as np

from paddle_alexnet.data.cache import Decoded, in_cache_folder, read_patches
from paddle_alexnet.data.dataset import Faults, LabelledImages
from paddle_alexnet.data.preprocess import Preprocess
from paddle_alexnet.data.threads import in_threads
from paddle_alexnet.errors import UserError
from paddle_alexnet.files import atomic_file
from paddle_alexnet.progress import progress

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Statistics:
    """Of the patches of a train split, in levels of 0..255."""

    mean_image: np.ndarray  # [3, P, P]
    mean: np.ndarray  # [3]
    std: np.ndarray  # [3]
    eigenvalues: np.ndarray  # [3], of the covariance of R, G and B over all pixels, falling
    eigenvectors: np.ndarray  # [3, 3], one a column


def measure(images: Iterable[np.ndarray]) -> Statistics:
    """Statistics of patches, uint8 [3, P, P] each. All sums are of whole numbers, so their order does not matter."""
    count = 0
    total: np.ndarray = np.array(0)
    products: np.ndarray = np.zeros((3, 3))
    for planes in images:
        count += 1
        total = total + planes
        flat = planes.reshape(3, -1).astype(np.float64)
        products = products + flat @ flat.T
    if not count:
        raise UserError("no image of the train split can be read")
    mean_image = total / count
    mean = mean_image.mean(axis=(1, 2))
    covariance = products / (count * mean_image[0].size) - np.outer(mean, mean)
    values, vectors = np.linalg.eigh(covariance)
    vectors *= np.sign(vectors[np.abs(vectors).argmax(axis=0), range(3)])  # either end may be the front: settle it
    return Statistics(mean_image, mean, np.sqrt(covariance.diagonal()), values[::-1].clip(0), vectors[:, ::-1])


def open_statistics(
    dataset: LabelledImages,
    preprocess: Preprocess,
    folder: Path,
    *,
    faults: Faults,
    workers: int,
    decoded: Optional[Decoded] = None,
) -> Statistics:
    """Statistics of a split, from `folder` if they were measured before of the same CSV and geometry.

    Measured of the `decoded` patches where there are some, else of the images. Raises UserError for more unreadable
    images than `faults` allows.
    """
    table = dataset.table
    told = f"{table.root.resolve()}\n{dataset.split}\n{preprocess.geometry}\n{preprocess.patch_size}\n"
    digest = hashlib.sha256(told.encode() + table.csv.read_bytes()).hexdigest()
    place = in_cache_folder(folder, table.root) / f"statistics-{digest[:16]}.npz"
    try:
        with place.open("rb") as stream, np.load(stream) as saved:
            return Statistics(**saved)
    except FileNotFoundError:
        pass
    except Exception:  # a damaged file may raise anything
        _log.info(f"{place}: damaged: measured again")

    def patch(index: int) -> tuple[np.ndarray, dict[int, str]]:
        planes, bad = read_patches(dataset, preprocess, [index], decoded)
        return planes[0], bad

    def readable() -> Iterator[np.ndarray]:
        read = in_threads(patch, range(len(dataset)), workers=workers)
        for planes, bad in progress(read, what=f"measuring {dataset.split}", total=len(dataset)):
            for message in bad.values():
                faults.add(message)
            if not bad:
                yield planes

    statistics = measure(readable())
    with atomic_file(place) as partial, partial.open("wb") as target:
        np.savez(target, **asdict(statistics))
    return statistics
