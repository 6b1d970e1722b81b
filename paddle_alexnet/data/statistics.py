"""Color statistics of a training set: mean image, mean and deviation per channel, principal components."""

import hashlib
import logging
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from paddle_alexnet.data.cache import image_key, in_cache_folder
from paddle_alexnet.data.dataset import PatchDataset, UnreadableImages
from paddle_alexnet.data.threads import in_threads
from paddle_alexnet.system.errors import UserError
from paddle_alexnet.system.files import atomic_file
from paddle_alexnet.system.progress import progress

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Statistics:
    """The color statistics of the patches of a split, in levels of 0..255."""

    mean_image: np.ndarray  # [3, P, P]
    mean: np.ndarray  # [3]
    std: np.ndarray  # [3]
    eigenvalues: np.ndarray  # [3], of the covariance of R, G and B over all pixels, descending
    eigenvectors: np.ndarray  # [3, 3], one per column


def measure(patches: Iterable[np.ndarray]) -> Statistics:
    """Measure patches, uint8 [3, P, P] each. Sums of integers are exact, so the order does not matter."""
    count = 0
    total: np.ndarray = np.array(0)
    products: np.ndarray = np.zeros((3, 3))
    for patch in patches:
        count += 1
        total = total + patch
        flat = patch.reshape(3, -1).astype(np.float64)
        products = products + flat @ flat.T
    if not count:
        raise UserError("train split: every image is unreadable; check the files")
    mean_image = total / count
    mean = mean_image.mean(axis=(1, 2))
    covariance = products / (count * mean_image[0].size) - np.outer(mean, mean)
    values, vectors = np.linalg.eigh(covariance)
    # Eigenvectors have no sign: make the largest component positive.
    vectors *= np.sign(vectors[np.abs(vectors).argmax(axis=0), range(3)])
    return Statistics(mean_image, mean, np.sqrt(covariance.diagonal()), values[::-1].clip(0), vectors[:, ::-1])


def open_statistics(dataset: PatchDataset, folder: Path, *, unreadable: UnreadableImages, workers: int) -> Statistics:
    """Return the statistics of a split, cached in `folder` by its files and geometry, if it has files.

    Raises:
        UserError: More images are unreadable than `unreadable` allows.
    """
    if dataset.table.given is not None:
        return measure_split(dataset, unreadable, workers=workers)
    root = dataset.table.root
    digest = hashlib.sha256(f"{root.resolve()}\n{dataset.split}\n{image_key(dataset)}".encode()).hexdigest()
    file = in_cache_folder(folder, root) / f"statistics-{digest[:16]}.npz"
    try:
        with file.open("rb") as stream, np.load(stream) as saved:
            found = Statistics(**saved)
        side = dataset.preprocess.patch_size
        shapes = {"mean_image": (3, side, side), "mean": (3,), "std": (3,), "eigenvalues": (3,), "eigenvectors": (3, 3)}
        for name, values in vars(found).items():
            if values.shape != shapes[name] or values.dtype != np.float64 or not np.isfinite(values).all():
                raise ValueError(f"{name} is {values.dtype} {values.shape}")
        return found
    except FileNotFoundError:
        pass
    except Exception:  # a damaged file may raise anything
        _log.info(f"{file}: is damaged; measuring again")

    statistics = measure_split(dataset, unreadable, workers=workers)
    with atomic_file(file) as partial, partial.open("wb") as target:
        np.savez(target, **asdict(statistics))
    return statistics


def measure_split(dataset: PatchDataset, unreadable: UnreadableImages, *, workers: int) -> Statistics:
    """Return the statistics of the readable images of a split."""

    def readable() -> Iterator[np.ndarray]:
        with closing(in_threads(lambda n: dataset.patches([n]), range(len(dataset)), workers=workers)) as read:
            for patches, messages in progress(read, what=f"measuring {dataset.split}", total=len(dataset)):
                for message in messages.values():
                    unreadable.add(message)
                yield from patches

    return measure(readable())
