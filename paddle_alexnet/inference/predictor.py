"""Prediction of image classes."""

import os
from collections.abc import Iterable, Iterator, Sized
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, Literal, Optional, Union

import numpy as np
import paddle
from PIL import Image

from paddle_alexnet.config.choices import PRECISIONS, one_of
from paddle_alexnet.data.augmentation import ten_crops
from paddle_alexnet.data.image_files import find_images, spread_indices
from paddle_alexnet.data.preprocess import Preprocess, Source
from paddle_alexnet.data.table import read_table
from paddle_alexnet.data.threads import in_threads
from paddle_alexnet.inference.engine import log_softmax, open_engine
from paddle_alexnet.inference.paddle_inference import runs_here
from paddle_alexnet.runs.metadata import Metadata
from paddle_alexnet.runs.model_folder import read_model
from paddle_alexnet.runs.resolve import ResolvedModel, resolve_model
from paddle_alexnet.system.device import use_device
from paddle_alexnet.system.errors import UserError
from paddle_alexnet.system.progress import progress, working

_WORKERS = max(2, min(16, os.cpu_count() or 1))  # threads that decode while the network computes


@dataclass(frozen=True, eq=False)
class Prediction:
    """The most probable classes of one image, the most probable first, or why the image is unreadable."""

    image: Source  # as given; a path as `Path`
    labels: tuple[str, ...]  # K
    wnids: tuple[str, ...]  # K, "" for a class without one
    probabilities: np.ndarray  # [K] float64
    distribution: np.ndarray  # [C] float64, the probabilities of all classes in the order of `Predictor.names`
    error: str = ""  # if set, the fields above hold no class

    def __iter__(self) -> Iterator[Any]:
        """Unpack to (image, distribution): `for image, probabilities in predictor.predict(images)`."""
        yield from (self.image, self.distribution)


class Predictor:
    """A thread-safe predictor for a run, a checkpoint or an exported folder.

    A run predicts with its exported model if that is the same network, because it is faster.

    Args:
        model: Path of a run, a checkpoint or an exported folder.
        device: `auto`, `cpu` or `gpu:N`.
        precision: One of `PRECISIONS`. On a CPU, bfloat16 (if the processor supports it) and int8 are faster;
            `evaluate --precision` measures the loss in accuracy.
        calibration: Folder of images that set the ranges of int8; default: some training images.
        preprocess: Preprocessing of images; default: the model's own.

    Attributes:
        metadata: Description of the model and its training, such as the class names.
        logits: Function from preprocessed images [N, 3, S, S] to logits [N, C].

    Raises:
        UserError: The path holds no complete model, or the precision is not available.
    """

    def __init__(
        self,
        model: Union[str, os.PathLike[str], ResolvedModel],
        *,
        device: str = "auto",
        precision: str = "float32",
        calibration: Optional[Union[str, os.PathLike[str]]] = None,
        preprocess: Optional[Preprocess] = None,
    ) -> None:
        one_of(precision, PRECISIONS, what="precision")
        if calibration is not None and precision != "int8":
            raise UserError(f"calibration: requires precision int8, not {precision}; leave it out")
        self.device = use_device(device)
        model = resolve_model(model)
        folder = answering_folder(model)
        read = read_model(folder, model.metadata if folder == model.folder else model.siblings[folder])
        self.metadata = replace(read.metadata, preprocess=preprocess or read.metadata.preprocess)
        images = None if calibration is None else Path(calibration)
        with working(f"loading {read.path}"):
            self.logits = open_engine(
                read, precision=precision, calibration=lambda: calibration_images(self.metadata, images)
            )

    @property
    def names(self) -> tuple[str, ...]:
        """The class names, in the order of the probabilities."""
        return self.metadata.classes.names

    def log_probabilities(self, image: np.ndarray, *, crops: int = 1) -> np.ndarray:
        """Return log-probabilities, float64 [N / crops, C], of images [N, 3, S, S].

        They are the means over `crops` consecutive images, and reproducible for equal batches; another batch size may
        change the last digits of float32.

        Raises:
            UserError: A logit is not finite.
        """
        logits = self.logits(image)
        if not np.isfinite(logits).all():
            raise UserError("logits: the model computes NaN or infinity; use an earlier checkpoint")
        logarithms = log_softmax(logits)
        if crops == 1:
            return logarithms
        return np.log(np.exp(logarithms).reshape(-1, crops, logits.shape[1]).mean(axis=1))

    def predict(
        self,
        images: Union[Source, Iterable[Source]],
        *,
        top: Optional[int] = 5,
        batch_size: int = 32,
        crops: Literal[1, 10] = 1,
        unreadable: Literal["raise", "keep"] = "raise",
        show_progress: bool = False,
    ) -> Iterator[Prediction]:
        """Predict images, in the order given: `for prediction in predictor.predict(["photo.jpg", "folder"])`.

        Images are decoded by threads while the network computes, at most two batches ahead.

        Args:
            images: One image or an iterable of them. An image is a path, the bytes of a file, a Pillow image or an
                array, uint8 [H, W, 3], RGB; a folder stands for every image below it.
            top: Classes per image; None for all.
            crops: 10 averages the probabilities over the corners, the center and their mirror images (section 4.1 of
                the paper).
            unreadable: "keep" yields a prediction with an `error` for an unreadable image.

        Yields:
            A `Prediction` per image.

        Raises:
            UserError: An image is unreadable, unless it is kept; `top` is below 1, or `crops` does not fit the model.
        """
        self.metadata.check_crops(crops)
        if top is not None and top < 1:
            raise UserError(f"top is {top}: must be at least 1; set 1 or more")
        preprocess = self.metadata.preprocess

        def decode(image: Source) -> tuple[Source, Union[np.ndarray, UserError]]:
            try:
                return image, preprocess.pixels(image) if crops == 1 else preprocess.patch(image)
            except UserError as error:
                return image, error

        def network_input(pixels: list[np.ndarray]) -> np.ndarray:
            if crops == 1:
                return preprocess.batch(np.stack(pixels))
            edge = preprocess.edge(preprocess.patch_size)
            parts = ten_crops(np.stack(pixels).transpose(0, 3, 1, 2), preprocess.image_size, edge)
            return preprocess.normalize(parts.reshape(-1, *parts.shape[2:]).astype(np.float32))

        def predicted(sources: Iterable[Source]) -> Iterator[Prediction]:
            with closing(in_threads(decode, sources, workers=_WORKERS, ahead=2 * batch_size)) as decoded:
                while batch := list(islice(decoded, batch_size)):
                    pixels = [found for _, found in batch if isinstance(found, np.ndarray)]
                    logarithms = self.log_probabilities(network_input(pixels), crops=crops) if pixels else ()
                    distributions = iter(np.exp(logarithms))
                    for image, found in batch:
                        if not isinstance(found, UserError):
                            yield self._prediction(image, next(distributions), top)
                        elif unreadable == "raise":
                            raise found
                        else:
                            error = str(found).removeprefix(f"{_name(image)}: ")
                            yield Prediction(image, (), (), np.empty(0), np.empty(0), error)

        if not show_progress:
            return predicted(_each(images))
        sources = list(_each(images)) if isinstance(images, Sized) else _each(images)
        total = len(sources) if isinstance(sources, list) else None
        return progress(predicted(sources), what="predicting", total=total)

    def _prediction(self, image: Source, distribution: np.ndarray, top: Optional[int]) -> Prediction:
        names, wnids = self.metadata.classes.names, self.metadata.classes.wnids
        best = top_classes(distribution, len(names) if top is None else top)
        labels = tuple(names[index] for index in best)
        return Prediction(image, labels, tuple(wnids[index] or "" for index in best), distribution[best], distribution)


def answering_folder(model: ResolvedModel) -> Path:
    """Return the folder of the model that predicts for a resolved path.

    A run predicts on a CPU with its export, two to three times as fast as the checkpoint, if the export has the same
    weights and runs here. On a GPU it predicts with the checkpoint, because exports are not verified on GPUs.
    """
    export = model.export if model.names_run and paddle.device.get_device() == "cpu" else None
    return export if export and runs_here(model.siblings[export].sha256) else model.folder


def top_classes(probabilities: np.ndarray, top: int) -> np.ndarray:
    """Return the indices of the `top` most probable classes of probabilities [C], most probable first."""
    return np.argsort(-probabilities, kind="stable")[:top]


def _each(images: Union[Source, Iterable[Source]]) -> Iterator[Source]:
    """Yield one image or many; a folder yields all images below it."""
    if isinstance(images, (str, os.PathLike, bytes, Image.Image)) or (
        isinstance(images, np.ndarray) and images.ndim < 4
    ):
        images = [images]
    for image in images:
        if not isinstance(image, (str, os.PathLike)):
            yield image
        elif os.path.isdir(image):
            yield from find_images([Path(image)])
        else:
            yield Path(image)


def _name(image: Source) -> str:
    """Return an image's name as in errors of `Preprocess`."""
    return os.fspath(image) if isinstance(image, (str, os.PathLike)) else "the image"


IMAGES = 64


def calibration_images(metadata: Metadata, folder: Optional[Path] = None) -> np.ndarray:
    """Return up to 64 preprocessed images, float32 [N, 3, S, S], by default of the model's train split.

    Raises:
        UserError: The data set is not found, or no image is readable.
    """
    if folder is not None:
        paths = find_images([folder])
    else:
        try:
            table = read_table(*metadata.origin.dataset(), metadata.classes)
        except UserError as error:
            reason = str(error).partition(";")[0]
            raise UserError(f"int8: requires calibration images ({reason}); name a folder as calibration") from None
        paths = [table.root / name for name in table.filenames[table.rows("train")]]
    chosen = [paths[n] for n in spread_indices(len(paths), IMAGES)]
    readable = []
    for path in chosen:
        with suppress(UserError):
            readable.append(metadata.preprocess.pixels(path))
    if not readable:
        raise UserError(f"{chosen[0].parent}: no calibration image is readable; name another folder as calibration")
    return metadata.preprocess.batch(np.stack(readable))
