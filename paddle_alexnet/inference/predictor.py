"""What people do with a trained network: images in, probabilities out."""

import os
from collections.abc import Iterable, Iterator, Sized
from contextlib import closing
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Literal, NamedTuple, Optional, Union

import numpy as np
import paddle
from PIL import Image

from paddle_alexnet.config.choices import PRECISIONS, one_of
from paddle_alexnet.data.augmentation import ten_crops
from paddle_alexnet.data.image_files import find_images
from paddle_alexnet.data.preprocess import Preprocess, Source
from paddle_alexnet.data.threads import in_threads
from paddle_alexnet.inference.calibration import calibration_images
from paddle_alexnet.inference.engine import log_softmax, open_engine
from paddle_alexnet.inference.paddle_inference import runs_here
from paddle_alexnet.runs.model_folder import read_model
from paddle_alexnet.runs.resolve import ResolvedModel, resolve_model
from paddle_alexnet.system.device import use_device
from paddle_alexnet.system.errors import UserError
from paddle_alexnet.system.progress import progress, working

_WORKERS = max(2, min(16, os.cpu_count() or 1))  # threads that decode while the network computes


class Answer(NamedTuple):
    """What a network says of one image: its probabilities [C], or why it could not be read."""

    image: Source  # a path, or what was given in its place
    probabilities: Optional[np.ndarray]
    error: str = ""


class Top(NamedTuple):
    """One of the most probable classes of an image; of one that could not be read only the `error`."""

    image: Source
    rank: Optional[int]
    label: str
    wnid: str
    probability: Optional[float]
    error: str = ""


class Predictor:
    """A trained network by path: a run, a checkpoint or an exported folder. Several threads may use it.

    `metadata` says what it is and what it was trained on, such as the names of its classes; `logits` computes images
    [N, 3, S, S] to logits [N, C]. A run answers by its exported model where that is the same network, and faster.

    `precision` is one of `PRECISIONS`: a processor is faster with `bfloat16`, where it has that, and with `int8`, whose
    ranges are set by images below the folder `calibration`, by default by some that the model was trained on. What
    they cost in accuracy, `evaluate --precision` says. With `preprocess` an image goes through that, and not through
    what the model was trained with. Raises UserError if there is no whole model there, and where the
    precision is not to be had.
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
            raise UserError(f"calibration is for int8, not for {precision}: leave it out")
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
        """The names of the classes, in the order of the probabilities."""
        return self.metadata.classes.names

    def log_probabilities(self, image: np.ndarray, *, crops: int = 1) -> np.ndarray:
        """Logarithms of the probabilities [N, C], float64, of images [N, 3, S, S].

        With `crops`, of each so many images in a row the mean of their probabilities. They are the same for the same
        images in the same order; of a batch of another size they may differ in the last digits of float32. Raises
        UserError where the network's answer is no number.
        """
        logits = self.logits(image)
        if not np.isfinite(logits).all():
            raise UserError("the model's logits are not all finite: its weights are spoilt, take an earlier checkpoint")
        logarithms = log_softmax(logits)
        if crops == 1:
            return logarithms
        return np.log(np.exp(logarithms).reshape(-1, crops, logits.shape[1]).mean(axis=1))

    def answers(
        self,
        images: Union[Source, Iterable[Source]],
        *,
        batch_size: int = 32,
        crops: Literal[1, 10] = 1,
        show_progress: bool = False,
    ) -> Iterator[Answer]:
        """Yield the answer for each image, also for one that cannot be read, in the order given.

        An image is a path, the bytes of a file, a Pillow image or an array, uint8 [H, W, 3]; a folder is every image
        below it. Decoded by threads while the network computes, no more than two batches ahead. With `crops=10` the
        probabilities are the means over corners, center and their mirror images, as `evaluate` has it.
        """
        self.metadata.check_crops(crops)
        preprocess = self.metadata.preprocess

        def decode(image: Source) -> tuple[Source, Union[np.ndarray, UserError]]:
            try:
                return image, preprocess(image) if crops == 1 else preprocess.patch(image)
            except UserError as error:
                return image, error

        def network_input(pixels: list[np.ndarray]) -> np.ndarray:
            if crops == 1:
                return preprocess.batch(np.stack(pixels))
            edge = preprocess.edge(preprocess.patch_size)
            parts = ten_crops(np.stack(pixels).transpose(0, 3, 1, 2), preprocess.image_size, edge)
            return preprocess.normalize(parts.reshape(-1, *parts.shape[2:]).astype(np.float32))

        def answered(sources: Iterable[Source]) -> Iterator[Answer]:
            with closing(in_threads(decode, sources, workers=_WORKERS, ahead=2 * batch_size)) as decoded:
                while batch := list(islice(decoded, batch_size)):
                    pixels = [found for _, found in batch if isinstance(found, np.ndarray)]
                    logarithms = self.log_probabilities(network_input(pixels), crops=crops) if pixels else ()
                    probabilities = iter(np.exp(logarithms))
                    for image, found in batch:
                        if isinstance(found, UserError):
                            yield Answer(image, None, str(found).removeprefix(f"{_name(image)}: "))
                        else:
                            yield Answer(image, next(probabilities))

        if not show_progress:
            return answered(_each(images))
        sources = list(_each(images)) if isinstance(images, Sized) else _each(images)
        total = len(sources) if isinstance(sources, list) else None
        return progress(answered(sources), what="predicting", total=total)

    def predict(
        self,
        images: Union[Source, Iterable[Source]],
        *,
        batch_size: int = 32,
        crops: Literal[1, 10] = 1,
        show_progress: bool = False,
    ) -> Iterator[tuple[Source, np.ndarray]]:
        """Yield each image with its class probabilities [C], in the order given, see `answers`.

        Raises UserError for the first image that cannot be read.
        """
        for image, probabilities, error in self.answers(
            images, batch_size=batch_size, crops=crops, show_progress=show_progress
        ):
            if probabilities is None:
                raise UserError(f"{_name(image)}: {error}")
            yield image, probabilities

    def top(self, answer: Answer, count: int) -> list[Top]:
        """The `count` most probable classes of an answer, or its error. Raises UserError if `count` is less than 1."""
        image, probabilities, error = answer
        if probabilities is None:
            return [Top(image, None, "", "", None, error)]
        names, wnids = self.metadata.classes.names, self.metadata.classes.wnids
        return [
            Top(image, rank, names[index], wnids[index] or "", float(probabilities[index]))
            for rank, index in enumerate(top_classes(probabilities, count), start=1)
        ]


def answering_folder(model: ResolvedModel) -> Path:
    """Return the folder of the model that answers for a resolved path.

    For a run it is the exported model, two to three times as fast on a processor, if that is the best checkpoint's
    network in the same terms and runs here. On a GPU it is the checkpoint: the GPU's kernels were not compared with
    the network's.
    """
    export = model.export if model.names_run and paddle.device.get_device() == "cpu" else None
    return export if export and runs_here(model.siblings[export].sha256) else model.folder


def top_classes(probabilities: np.ndarray, top: int) -> np.ndarray:
    """The indices of the `top` most probable classes of [C], most probable first; all where there are fewer."""
    if top < 1:
        raise UserError(f"top is {top}: ask for at least 1 class")
    return np.argsort(-probabilities, kind="stable")[:top]


def _each(images: Union[Source, Iterable[Source]]) -> Iterator[Source]:
    """One image or many, each path as a Path, a folder as the images below it."""
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
    """What an image is called in an error of `Preprocess`."""
    return os.fspath(image) if isinstance(image, (str, os.PathLike)) else "the image"
