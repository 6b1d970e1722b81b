"""The data of a config: its table, and the loaders, which cache or verify the images and measure statistics."""

import logging
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from paddle_alexnet.config.schema import Config, DataConfig
from paddle_alexnet.data.dataset import PatchDataset, UnreadableImages, verify_images
from paddle_alexnet.data.loader import Loader
from paddle_alexnet.data.preprocess import Preprocess, encode_mean_image
from paddle_alexnet.data.table import ImageTable, find_root, read_table
from paddle_alexnet.data.tree import say_notes
from paddle_alexnet.system.errors import UserError
from paddle_alexnet.system.user_path import UserPath

if TYPE_CHECKING:
    from paddle_alexnet.data.statistics import Statistics

_log = logging.getLogger(__name__)


def open_table(data: DataConfig, *, beside: Path) -> ImageTable:
    """Read the table of the configured data set, else of `data/` if it exists, else of the demo set.

    Args:
        beside: If necessary, the demo set is drawn into `demo-data` beside this path.
    """
    csv, classes = (UserPath(text) if text else None for text in (data.csv, data.classes))
    root = find_root(UserPath(data.root) if data.root else None, csv)
    if root is None:
        from paddle_alexnet.data.demo import DEMO_NAME, draw_demo

        root = beside.parent / "demo-data"
        _log.info(f"data.root is not set and data/labels.csv not found; training on the {DEMO_NAME} in {root}")
        if not root.exists():
            try:
                draw_demo(root)
            except UserError:
                if not root.exists():  # otherwise another run has just drawn the same images
                    raise
    table = read_table(root, csv, classes)
    say_notes(table.root, table.notes)
    return table


def open_loaders(
    config: Config, table: ImageTable, image_size: int, *, on_device: bool, rank: int = 0, ranks: int = 1
) -> tuple[Loader, Loader]:
    """Return the loaders of the train and val splits; the trained model uses `preprocess` of the first.

    Each rank gets its share of every batch; only rank 0 verifies the images.

    Raises:
        UserError: Settings contradict each other, or `data.verify` or a cache finds more unreadable images than
            `data.fault_limit`.
    """
    data = config.data
    if data.resize and data.resize < image_size:
        raise UserError(f"data.resize: {data.resize} is less than the network's input of {image_size}; raise it")
    if data.cache != "none" and data.geometry == "random_resized_crop":
        raise UserError(
            f"data.cache={data.cache}: stores only patches, data.geometry=random_resized_crop requires whole images; "
            "use data.cache=none or data.geometry=crop"
        )
    if data.cache == "disk" and table.given is not None:
        raise UserError("data.cache=disk: requires image files, train_set has none; use data.cache=ram")
    if data.normalize == "pixel_at_crop" and data.geometry == "random_resized_crop":
        raise UserError(
            "data.normalize=pixel_at_crop: requires crops of a patch, data.geometry=random_resized_crop crops whole "
            "images; use data.normalize=pixel or data.geometry=crop"
        )
    preprocess = Preprocess(
        image_size,
        data.mean,
        data.std,
        geometry="crop" if data.geometry == "random_resized_crop" else data.geometry,
        resize=data.resize,
        orientation=data.orientation,
        resample=data.resample,
        draft=data.draft,
        decode_limit=data.decode_limit,
        truncated=data.truncated,
        background=data.background,
    )
    folder = UserPath(data.cache_folder) if data.cache_folder else UserPath(config.output).parent / "cache"
    decoding = preprocess.decoded_by(data.decoder)  # for this run only, not for the trained model
    unreadable, workers = UnreadableImages(data.fault_limit), data.workers
    train_set, val_set = (PatchDataset(table, split, decoding) for split in ("train", "val"))
    for dataset in (train_set, val_set):
        dataset.hashing = True  # the cache or the check reads the files anyway
        if data.cache != "none":
            from paddle_alexnet.data.cache import open_cache

            dataset.decoded = open_cache(data.cache, dataset, folder, unreadable=unreadable, workers=workers)
        elif data.verify and rank == 0:
            verify_images(dataset, unreadable, workers=workers)
    statistics = None
    if data.normalize != "given" or data.pca_noise:
        from paddle_alexnet.data.statistics import open_statistics

        statistics = open_statistics(train_set, folder, unreadable=unreadable, workers=workers)
        if data.normalize != "given":
            preprocess = _normalized(preprocess, statistics, by_pixel=data.normalize != "channel")

    for dataset in (train_set, val_set):
        dataset.hashing = False
    loader = partial(
        Loader,
        preprocess=preprocess,
        batch_size=config.train.batch_size,
        workers=workers,
        unreadable=unreadable,
        on_device=on_device,
        rank=rank,
        ranks=ranks,
    )
    train = loader(train_set, shuffle=True, seed=config.train.seed, augmentation=data, statistics=statistics)
    return train, loader(val_set)


def _normalized(preprocess: Preprocess, statistics: "Statistics", *, by_pixel: bool) -> Preprocess:
    """Return `preprocess` with the measured mean image, or with the mean and deviation of each channel."""
    red, green, blue = (statistics.mean / 255).tolist()
    if by_pixel:
        mean_image = encode_mean_image(preprocess.center(statistics.mean_image))
        return replace(preprocess, mean=(red, green, blue), mean_image=mean_image)
    std_red, std_green, std_blue = (statistics.std / 255).clip(1e-3).tolist()
    return replace(preprocess, mean=(red, green, blue), std=(std_red, std_green, std_blue))
