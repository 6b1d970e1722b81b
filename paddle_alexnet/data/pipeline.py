"""The loaders of a run, as its config says: measure, decode, check, then batches."""

from dataclasses import replace
from pathlib import Path
from typing import Optional

from paddle_alexnet.config import Config
from paddle_alexnet.data.cache import Decoded, open_cache
from paddle_alexnet.data.dataset import Faults, LabelledImages, verify_images
from paddle_alexnet.data.loader import Loader
from paddle_alexnet.data.preprocess import Preprocess, encode_mean_image
from paddle_alexnet.data.statistics import Statistics, open_statistics
from paddle_alexnet.data.table import ImageTable
from paddle_alexnet.errors import UserError


def open_loaders(config: Config, table: ImageTable, image_size: int, *, on_device: bool) -> tuple[Loader, Loader]:
    """The loaders of the train and val splits; `train.preprocess` is what the finished model's images go through.

    Raises UserError for a patch smaller than the network's input, and before the first step for more unreadable images
    than `data.fault_limit`, unless neither `data.verify` nor a cache reads them all.
    """
    data = config.data
    if data.resize and data.resize < image_size:
        raise UserError(f"data.resize is {data.resize}, less than the network's input of {image_size}: raise it")
    preprocess = Preprocess(
        image_size, data.mean, data.std, geometry="squash" if data.geometry == "squash" else "crop", resize=data.resize
    )
    folder = Path(config.output).parent / "cache" if data.cache_folder is None else Path(data.cache_folder)
    faults = Faults(data.fault_limit)
    train_set, val_set = (LabelledImages(table, split, preprocess) for split in ("train", "val"))

    decoded: list[Optional[Decoded]] = [None, None]
    if data.cache != "none":
        decoded = [
            open_cache(data.cache, dataset, preprocess, folder, faults=faults, workers=data.workers)
            for dataset in (train_set, val_set)
        ]
    elif data.verify:
        for dataset in (train_set, val_set):
            verify_images(dataset, faults, workers=data.workers)
    statistics = None
    if data.normalise != "given" or data.pca_noise:
        statistics = open_statistics(
            train_set, preprocess, folder, faults=faults, workers=data.workers, decoded=decoded[0]
        )
        preprocess = _normalise(preprocess, data.normalise, statistics)

    train = Loader(
        train_set,
        preprocess,
        batch_size=config.train.batch_size,
        shuffle=True,
        seed=config.train.seed,
        workers=data.workers,
        changes=data,
        statistics=statistics,
        decoded=decoded[0],
        faults=faults,
        on_device=on_device,
    )
    val = Loader(
        val_set,
        preprocess,
        batch_size=config.train.batch_size,
        workers=data.workers,
        decoded=decoded[1],
        faults=faults,
        on_device=on_device,
    )
    return train, val


def _normalise(preprocess: Preprocess, how: str, statistics: Statistics) -> Preprocess:
    """The same geometry with what was measured in place of what was given."""
    if how == "given":
        return preprocess
    red, green, blue = (statistics.mean / 255).tolist()
    if how == "channel":
        std_red, std_green, std_blue = (statistics.std / 255).clip(1e-3).tolist()
        return replace(preprocess, mean=(red, green, blue), std=(std_red, std_green, std_blue))
    edge = (preprocess.patch_size - preprocess.image_size) // 2
    centre = statistics.mean_image[:, edge : edge + preprocess.image_size, edge : edge + preprocess.image_size]
    return replace(preprocess, mean=(red, green, blue), mean_image=encode_mean_image(centre))
