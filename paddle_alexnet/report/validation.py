"""The folder `validation/` of a run: predictions of its best model, as tables and images.

figures.json      epoch, and mean loss and accuracies
predictions.csv   one row per image
classes.csv       count, precision, recall, F1 and number of each class; images show the number of an undrawable name
confusion.csv     one row per class, one column per predicted class; confusion.png is its drawing
mistakes.csv      wrong predictions with the highest probabilities; mistakes.png shows their images
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from csv import Error, reader
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Optional

import numpy as np
from pydantic import Field

from paddle_alexnet.data.classes import ClassList
from paddle_alexnet.data.preprocess import Preprocess
from paddle_alexnet.evaluation.classification import (
    SplitPredictions,
    class_figures,
    confident_mistakes,
    confusion_matrix,
)
from paddle_alexnet.plots.drawings import draw_confusion, draw_mistakes
from paddle_alexnet.plots.fonts import drawable_names
from paddle_alexnet.system.errors import UserError
from paddle_alexnet.system.files import atomic_folder, read_small, write_csv
from paddle_alexnet.system.typed_values import check_types

MISTAKES = 24  # shown
CONFUSION_SUFFIXES = (".csv", ".png")
_FILES = (
    *("figures.json", "predictions.csv", "classes.csv", "mistakes.csv", "mistakes.png"),
    *(f"confusion{suffix}" for suffix in CONFUSION_SUFFIXES),
)


@dataclass(frozen=True)
class _Figures:
    """The content of `figures.json`."""

    split: str
    epoch: int
    images: int
    loss: float
    top1: Annotated[float, Field(ge=0, le=1)]
    top5: Annotated[float, Field(ge=0, le=1)]


@dataclass(frozen=True)
class Validation:
    """The content of `validation/`."""

    split: str
    epoch: int
    loss: float
    top1: float
    top5: float
    classes: tuple[str, ...]
    confusion: np.ndarray  # [C, C] int64
    mistakes: tuple[dict[str, str], ...]  # the rows of mistakes.csv
    folder: Path

    @property
    def images(self) -> int:
        """The number of images."""
        return int(self.confusion.sum())


def write_validation(
    place: Path,
    predictions: SplitPredictions,
    filenames: Sequence[str],
    *,
    root: Path,
    split: str,
    epoch: int,
    classes: ClassList,
    preprocess: Preprocess,
) -> None:
    """Write `validation/` as a whole; `filenames` are the images of the predictions, relative to `root`."""
    confusion = confusion_matrix(predictions.truth, predictions.predicted, len(classes))
    chosen = confident_mistakes(predictions, MISTAKES)
    figures = {
        "split": split,
        "epoch": epoch,
        "images": len(predictions.truth),
        "loss": float(predictions.loss.mean()),
        "top1": predictions.top(1),
        "top5": predictions.top(5),
    }
    with atomic_folder(place, replace=lambda _: _FILES, aside=True) as folder:
        (folder / "figures.json").write_text(json.dumps(figures, indent=2) + "\n")
        write_predictions(folder / "predictions.csv", predictions, filenames, classes)
        write_csv(folder / "classes.csv", *class_table(confusion, classes.names))
        for suffix in CONFUSION_SUFFIXES:
            write_confusion(folder / f"confusion{suffix}", confusion, classes.names)
        rows = list(_prediction_rows(predictions, filenames, classes.names, chosen, top=1))
        write_csv(folder / "mistakes.csv", _prediction_header(1), rows)
        shown = dict(zip(classes.names, drawable_names(classes.names)))
        captions = [(shown[row[1]], f"{shown[row[2]]} {float(row[3]):.0%}") for row in rows]
        draw_mistakes(folder / "mistakes.png", [root / filenames[n] for n in chosen], captions, preprocess)


def read_validation(place: Path) -> Optional[Validation]:
    """Return the content of `validation/`, or None if not found. Raise UserError if a file is missing or damaged."""
    if not place.exists():
        return None
    try:
        figures = check_types(_Figures, json.loads(read_small(place / "figures.json", at_most=10_000)))
        (_, *names), *rows = _rows(place / "confusion.csv")
        header, *mistakes = _rows(place / "mistakes.csv")
        if header != _prediction_header(1):
            raise ValueError(f"mistakes.csv has the columns {header}")
        for number, row in enumerate(mistakes, start=2):
            if len(row) != len(header) or not 0 <= float(row[3]) <= 1:
                raise ValueError(f"mistakes.csv, line {number} is not a mistake")
        confusion = np.array([list(map(int, row[1:])) for row in rows], np.int64).reshape(len(names), len(names))
        if confusion.min(initial=0) < 0 or not 0 < confusion.sum() == figures.images:
            raise ValueError(f"the counts in confusion.csv do not match {figures.images} images")
        return Validation(
            split=figures.split,
            epoch=figures.epoch,
            loss=figures.loss,
            top1=figures.top1,
            top5=figures.top5,
            classes=tuple(names),
            confusion=confusion,
            mistakes=tuple(dict(zip(header, row)) for row in mistakes),
            folder=place,
        )
    except UserError:
        raise
    except (OSError, ValueError, OverflowError, RecursionError, Error) as error:
        raise UserError(f"{place}: is damaged ({error}); remove it and make the report again") from None


def images_of(validation: Validation) -> str:
    """Return a digest of the validation images' relative paths and labels."""
    place = validation.folder / "predictions.csv"
    try:
        rows = sorted(row[:2] for row in _rows(place)[1:])
    except (OSError, ValueError, Error) as error:
        raise UserError(f"{place}: is damaged ({error}); remove {place.parent} and make the report again") from None
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()


def check_confusion(place: Path) -> None:
    """Raise UserError unless the suffix is one of CONFUSION_SUFFIXES."""
    if place.suffix not in CONFUSION_SUFFIXES:
        raise UserError(f"{place}: must have the suffix {' or '.join(CONFUSION_SUFFIXES)}; rename it")


def write_predictions(
    place: Path, predictions: SplitPredictions, filenames: Sequence[str], classes: ClassList, *, excel: bool = False
) -> None:
    """Write predictions as CSV, one row per image."""
    top = predictions.classes.shape[1]
    everything = np.arange(len(predictions.truth))
    rows = _prediction_rows(predictions, filenames, classes.names, everything, top=top)
    write_csv(place, _prediction_header(top), rows, excel=excel)


def write_confusion(place: Path, confusion: np.ndarray, names: Sequence[str], *, excel: bool = False) -> None:
    """Write a confusion matrix [C, C] as CSV or PNG. Raise UserError for another suffix."""
    check_confusion(place)
    if place.suffix == ".png":
        draw_confusion(place, confusion, names)
    else:
        rows = ([name, *row] for name, row in zip(names, confusion.tolist()))
        write_csv(place, ["label", *names], rows, excel=excel)


def class_table(confusion: np.ndarray, names: Sequence[str]) -> tuple[list[str], list[list[Any]]]:
    """Return the header and rows of the metrics by class, with empty cells instead of divisions by 0."""
    figures = class_figures(confusion)
    shares = np.stack([figures.precision, figures.recall, figures.f1], axis=1)
    rows = [
        [name, count, *("" if np.isnan(share) else f"{share:.4f}" for share in row), number]
        for number, (name, count, row) in enumerate(zip(names, figures.count.tolist(), shares))
    ]
    return ["label", "count", "precision", "recall", "f1", "class"], rows


def _prediction_header(top: int) -> list[str]:
    more = [f"{what}_{rank}" for rank in range(2, top + 1) for what in ("predicted", "probability")]
    return ["filename", "label", "predicted", "probability", "label_rank", "loss", *more]


def _prediction_rows(
    predictions: SplitPredictions, filenames: Sequence[str], names: Sequence[str], chosen: np.ndarray, *, top: int
) -> Iterator[list[Any]]:
    for n in chosen:
        best = [
            value
            for index, probability in zip(predictions.classes[n, :top], predictions.probabilities[n, :top])
            for value in (names[index], f"{probability:.6g}")
        ]
        truth = [predictions.rank[n], f"{predictions.loss[n]:.6g}"]
        yield [filenames[n], names[predictions.truth[n]], *best[:2], *truth, *best[2:]]


def _rows(place: Path) -> list[list[str]]:
    with place.open(encoding="utf-8", newline="") as stream:
        return list(reader(stream))
