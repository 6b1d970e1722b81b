"""Classify images, or all images below folders.

The exit code is 1 if an image is unreadable; its line gives the reason.
"""

import argparse
import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Optional

from paddle_alexnet.commands.options import (
    add_crops_option,
    add_device_option,
    add_excel_option,
    add_precision_options,
    add_preprocess_options,
    changed_preprocess,
    note,
    positive,
    typed_path,
)
from paddle_alexnet.system.errors import UserError

if TYPE_CHECKING:
    from paddle_alexnet.inference.predictor import Prediction

_COLUMNS = ("image", "rank", "label", "wnid", "probability", "error")  # of the CSV


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", type=typed_path, metavar="MODEL", help="a run, a checkpoint or an exported folder")
    parser.add_argument("images", type=typed_path, nargs="+", metavar="IMAGE_OR_FOLDER")
    parser.add_argument("--top", type=positive, default=5, metavar="K", help="classes per image (default: %(default)s)")
    add_crops_option(parser)
    parser.add_argument("--csv", type=typed_path, metavar="FILE", help="write a table with one line per class")
    add_excel_option(parser)
    parser.add_argument(
        "--json", type=typed_path, metavar="FILE", help="write one JSON object per image and line; - prints them"
    )
    parser.add_argument(
        "--sort-into",
        type=typed_path,
        metavar="DIR",
        help="copy each image to the folder DIR/CLASS of its most probable class; existing files are kept",
    )
    add_device_option(parser)
    add_precision_options(parser)
    add_preprocess_options(parser, default="the model's own")


def run(arguments: argparse.Namespace) -> Optional[int]:
    from paddle_alexnet.data.image_files import find_images
    from paddle_alexnet.runs.metadata import input_in_words
    from paddle_alexnet.runs.model_folder import files_of
    from paddle_alexnet.runs.resolve import resolve_model
    from paddle_alexnet.system.output_files import check_output

    model = resolve_model(arguments.model)
    metadata = replace(model.metadata, preprocess=changed_preprocess(model.metadata.preprocess, arguments))
    metadata.check_crops(arguments.crops)
    images = find_images(arguments.images)
    only_json = arguments.json == Path("-")
    inputs = [*images, *files_of(arguments.model)]
    check_output(arguments.csv, "CSV", inputs=inputs)
    check_output(None if only_json else arguments.json, "JSON", inputs=inputs)
    if arguments.csv and arguments.csv == arguments.json:
        raise UserError(f"{arguments.csv}: is named for two outputs; name another file for one")
    from paddle_alexnet.inference.predictor import Predictor
    from paddle_alexnet.system.progress import progress

    predictor = Predictor(
        model,
        device=arguments.device,
        precision=arguments.precision,
        calibration=arguments.calibration,
        preprocess=metadata.preprocess,
    )
    metadata = predictor.metadata
    if not only_json:
        note(f"{metadata.model.preset}, epoch {metadata.origin.epoch}, trained on {metadata.origin.data}")
        note(f"input: {input_in_words(metadata.preprocess)}")

    done, unreadable, ended = 0, 0, None
    with ExitStack() as stack:
        outputs = list(_outputs(arguments, predictor.names, stack))
        predictions = predictor.predict(images, top=arguments.top, crops=arguments.crops, unreadable="keep")
        if not sys.stdout.isatty():  # on a terminal the printed lines show the progress
            predictions = progress(predictions, what="predicting", total=len(images))
        try:
            for image, prediction in zip(images, predictions):
                for output in outputs:
                    output(image, prediction)
                done += 1
                unreadable += bool(prediction.error)
        except BaseException as reason:  # such as Ctrl-C: what was predicted until then is kept
            if not done and not isinstance(reason, OSError):
                raise
            ended = reason

    for path in filter(None, (arguments.csv, None if only_json else arguments.json)):
        print(f"wrote {path}" + f", of the first {done} of {len(images)} images" * bool(ended))
    if ended:
        raise ended
    if unreadable:
        print(f"{unreadable} of {len(images)} images are unreadable", file=sys.stderr if only_json else sys.stdout)
    return 1 if unreadable else None


def _outputs(
    arguments: argparse.Namespace, names: Sequence[str], stack: ExitStack
) -> "Iterator[Callable[[Path, Prediction], object]]":
    """Yield a function for each output, called with an image and its prediction; `stack` closes the files."""
    from paddle_alexnet.system.files import copy_into, growing_csv, growing_text

    if arguments.json == Path("-"):
        yield lambda image, found: print(_json(image, found))
    else:
        yield lambda image, found: print(f"{_printable(image)}  {_words(found)}")
        if arguments.json:
            stream = stack.enter_context(growing_text(arguments.json))
            yield lambda image, found: print(_json(image, found), file=stream)
    if arguments.csv:
        add = stack.enter_context(growing_csv(arguments.csv, _COLUMNS, excel=arguments.excel))
        yield lambda image, found: [add(row) for row in _rows(image, found)]
    if arguments.sort_into:
        folders = dict(zip(names, folder_names(names)))
        yield lambda image, found: found.error or copy_into(image, arguments.sort_into / folders[found.labels[0]])


def folder_names(names: Sequence[str]) -> Iterator[str]:
    """Yield a unique folder name for each class, without characters that a file system forbids."""
    taken = set()
    for name in names:
        plain = "".join("_" if c in '/\\:*?"<>|' else c for c in name).encode()[:200].decode(errors="ignore")
        plain = plain.strip(" .") or "_"  # neither hidden nor the folder above
        number = 1
        while (unlike := plain if number == 1 else f"{plain} ({number})").lower() in taken:
            number += 1
        taken.add(unlike.lower())
        yield unlike


def _words(prediction: "Prediction") -> str:
    top = zip(prediction.labels, prediction.probabilities)
    return prediction.error or "  ".join(f"{label} {probability:.4f}" for label, probability in top)


def _rows(image: Path, prediction: "Prediction") -> Iterator[tuple[Any, ...]]:
    if prediction.error:
        yield _text(image), None, "", "", None, prediction.error
    for rank, (label, wnid, probability) in enumerate(_classes(prediction), start=1):
        yield _text(image), rank, label, wnid, f"{probability:.6g}", ""


def _json(image: Path, prediction: "Prediction") -> str:
    """Return a line of JSON: the image with its classes, or with the reason why it is unreadable."""
    classes = [
        {"rank": rank, "label": label, "wnid": wnid or None, "probability": float(probability)}
        for rank, (label, wnid, probability) in enumerate(_classes(prediction), start=1)
    ]
    return json.dumps({"image": _text(image), "top": classes, "error": prediction.error or None}, ensure_ascii=False)


def _classes(prediction: "Prediction") -> "Iterator[tuple[str, str, float]]":
    return zip(prediction.labels, prediction.wnids, prediction.probabilities)


def _text(path: Path) -> str:
    r"""Return a path as text, with bytes that are not UTF-8 as \xNN."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _printable(path: Path) -> str:
    """Return a path as one line of printable text."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in _text(path))
