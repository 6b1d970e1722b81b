"""HTML pages of one run or of several, self-contained and without JavaScript."""

import base64
import io
import shlex
import sys
from pathlib import Path
from statistics import median
from typing import Any, Optional

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from PIL import Image

from paddle_alexnet.config.recipe import config_as_text
from paddle_alexnet.config.schema import Config
from paddle_alexnet.evaluation.classification import class_figures, confused_pairs, wilson_interval
from paddle_alexnet.plots.drawings import MOST_NAMED, encoded, filter_grid, read_mistakes
from paddle_alexnet.plots.fonts import legend
from paddle_alexnet.plots.svg_chart import Chart, line_chart
from paddle_alexnet.report.comparison import Comparison
from paddle_alexnet.report.run_summary import Run
from paddle_alexnet.report.validation import Validation
from paddle_alexnet.runs.model_folder import Model, read_model
from paddle_alexnet.system.errors import UserError
from paddle_alexnet.system.files import write_text


def write_report(run: Run) -> Path:
    """Write `report.html` into a run's folder, with notes on missing parts, and return its path.

    Raises:
        UserError: A file of the run is damaged.
    """
    validation = run.validation
    notes: list[str] = []
    model = _best_model(run, notes)
    if validation is None:
        notes.append("The run has no predictions of the validation images.")
    elif model is not None and validation.epoch != model.metadata.origin.epoch:
        notes.append(f"The predictions are from epoch {validation.epoch}, not from the best model.")
    defaults = config_as_text(Config())
    page = (
        _templates()
        .get_template("report.html")
        .render(
            run=run,
            best=run.best,
            speed=median(epoch.images_per_second for epoch in run.epochs) if run.epochs else None,
            charts=_charts(run),
            validation=validation,
            classes=_class_rows(validation) if validation else [],
            legend=legend(validation.classes) if validation else "",
            pairs=_pairs(validation) if validation else [],
            shares=_shares(validation) if validation and len(validation.classes) <= MOST_NAMED else None,
            confusion=_png(validation.folder / "confusion.png") if validation else "",
            mistakes=_mistakes(validation) if validation else [],
            model=model.metadata if model else None,
            filters=_filters(model) if model else None,
            settings=[(key, value, value != defaults[key]) for key, value in run.settings.items()],
            repeat=shlex.join(
                [sys.executable, "-m", "paddle_alexnet", "train", "-c", str(run.folder.config.absolute())]
            ),
            notes=notes,
        )
    )
    write_text(run.folder.report, page)
    return run.folder.report


def write_comparison(comparison: Comparison, place: Path) -> None:
    """Write the page of a comparison."""
    titles = {
        "validation loss": "val_loss",
        "validation top-1": "val_top1",
        "training loss": "train_loss",
        "training top-1": "train_top1",
    }
    charts = {
        number: [
            line_chart(
                title,
                [  # a run keeps its position, which determines its color
                    (name, _points(run, figure) if n in chosen else [])
                    for n, (name, run) in enumerate(zip(comparison.names, comparison.runs))
                ],
            )
            for title, figure in titles.items()
        ]
        for number, chosen in comparison.of_data_set.items()
    }
    write_text(place, _templates().get_template("compare.html").render(comparison=comparison, charts=charts))


def _templates() -> Environment:
    templates = Environment(
        loader=FileSystemLoader(Path(__file__).with_name("templates")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters["percent"] = lambda share: "–" if np.isnan(share) else f"{100 * share:.1f}\N{NO-BREAK SPACE}%"
    templates.filters["interval"] = _interval
    return templates


def _interval(share: float, count: int) -> str:
    """Return the 95 % confidence interval of a share of `count` images, in percent."""
    if np.isnan(share):
        return "–"
    return "{:.1f} to {:.1f}\N{NO-BREAK SPACE}%".format(*(100 * end for end in wilson_interval(share, count)))


def _charts(run: Run) -> list[Chart]:
    """Return charts of loss and top-1 over epochs, and of the learning rate if it changes."""
    shown = {
        "loss": {"train": "train_loss", "validation": "val_loss"},
        "top-1": {"train": "train_top1", "validation": "val_top1"},
    }
    if len({epoch.learning_rate for epoch in run.epochs}) > 1:
        shown["learning rate"] = {"learning rate": "learning_rate"}
    if not run.epochs:
        return []
    marked = run.best.epoch if run.best else None
    return [
        line_chart(title, [(name, _points(run, figure)) for name, figure in lines.items()], marked=marked)
        for title, lines in shown.items()
    ]


def _points(run: Run, figure: str) -> list[tuple[int, float]]:
    return [(epoch.epoch, getattr(epoch, figure)) for epoch in run.epochs]


def _best_model(run: Run, notes: list[str]) -> Optional[Model]:
    if not run.folder.best.is_dir():
        notes.append("No epoch had a finite validation loss; there is no model.")
        return None
    try:
        return read_model(run.folder.best)
    except UserError as error:
        notes.append(f"The best model is unreadable: {error}.")
        return None


def _class_rows(validation: Validation) -> list[tuple[Any, ...]]:
    figures = class_figures(validation.confusion)
    return list(zip(validation.classes, figures.count, figures.precision, figures.recall, figures.f1))


def _pairs(validation: Validation) -> list[tuple[str, str, int, int]]:
    names, counts = validation.classes, validation.confusion.sum(axis=1)
    pairs = confused_pairs(validation.confusion, 10)
    return [(names[row], names[column], count, int(counts[row])) for row, column, count in pairs]


def _shares(validation: Validation) -> Any:
    """Return the confusion matrix with each row divided by its sum."""
    return validation.confusion / np.maximum(1, validation.confusion.sum(axis=1, keepdims=True))


def _mistakes(validation: Validation) -> list[dict[str, str]]:
    try:
        images = read_mistakes(validation.folder / "mistakes.png", len(validation.mistakes))
    except OSError as error:
        raise _unreadable(validation.folder / "mistakes.png", error) from None
    return [{**row, "image": _uri(image, "jpeg")} for row, image in zip(validation.mistakes, images)]


def _filters(model: Model) -> Optional[dict[str, Any]]:
    """Return an image of the first convolution's filters, their shape and the number of parameters."""
    from paddle_alexnet.runs.checkpoint import WEIGHTS, read_pdparams  # imports Paddle

    weights = read_pdparams(io.BytesIO(model.files[WEIGHTS]), source=model.path / WEIGHTS)
    first = next((value for value in weights.values() if value.ndim == 4), None)
    parameters = sum(value.size for value in weights.values())
    if first is None:
        return None
    return {
        "image": _uri(encoded(Image.fromarray(filter_grid(first)), "PNG"), "png"),
        "shape": first.shape,
        "parameters": parameters,
    }


def _png(place: Path) -> str:
    try:
        return _uri(place.read_bytes(), "png")
    except OSError as error:
        raise _unreadable(place, error) from None


def _unreadable(place: Path, error: OSError) -> UserError:
    return UserError(f"{place}: is unreadable ({error}); remove {place.parent} and make the report again")


def _uri(content: bytes, form: str) -> str:
    return f"data:image/{form};base64,{base64.b64encode(content).decode()}"
