"""The classes of images: one, several, or folders of them.

An image that cannot be read is named with the reason, and the exit code is 1 then.
"""

import argparse
import os
import sys
from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Optional

from paddle_alexnet.commands.options import (
    add_device_option,
    add_preprocess_options,
    changed_preprocess,
    positive,
    typed_path,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", type=typed_path, metavar="MODEL", help="a run, a checkpoint or an exported folder")
    parser.add_argument("images", type=typed_path, nargs="+", metavar="IMAGE_OR_FOLDER")
    parser.add_argument("--top", type=positive, default=5, help="classes per image, default %(default)s")
    parser.add_argument("--csv", type=typed_path, help="also write the table to this file")
    add_device_option(parser)
    add_preprocess_options(parser, default="the model's own")


def run(arguments: argparse.Namespace) -> Optional[int]:
    from paddle_alexnet.data.images import find_images
    from paddle_alexnet.runs.metadata import input_in_words
    from paddle_alexnet.runs.model_folder import read_metadata

    preprocess = changed_preprocess(read_metadata(arguments.model).preprocess, arguments)
    images = find_images(arguments.images)
    from paddle_alexnet.files import write_csv
    from paddle_alexnet.predictor import Predictor, Top
    from paddle_alexnet.progress import progress

    predictor = Predictor(arguments.model, device=arguments.device)
    metadata = predictor.metadata = replace(predictor.metadata, preprocess=preprocess)
    print(f"{metadata.model.preset}, epoch {metadata.origin.epoch}, trained on {metadata.origin.data}")
    print(f"input: {input_in_words(preprocess)}")
    done, unreadable = 0, 0
    ended: list[BaseException] = []

    def rows() -> Iterator[tuple[Any, ...]]:
        """The rows of the CSV, each image's printed before."""
        nonlocal done, unreadable
        answers = predictor.answers(images)
        if not sys.stdout.isatty():  # there the lines themselves show how far it is
            answers = progress(answers, what="predicting", total=len(images))
        try:
            for answer in answers:
                top = predictor.top(answer, arguments.top)
                words = answer.error or "  ".join(f"{each.label} {each.probability:.4f}" for each in top)
                print(f"{_printable(answer.image)}  {words}")
                yield from ((_text(each.image), *each[1:]) for each in top)
                done += 1
                unreadable += bool(answer.error)
        except GeneratorExit:
            raise
        except BaseException as reason:  # such as Ctrl-C: what was predicted until then is kept
            if not done and not isinstance(reason, OSError):
                raise
            ended.append(reason)

    if arguments.csv is None:
        deque(rows(), maxlen=0)
    else:
        write_csv(arguments.csv, Top._fields, rows())
        print(f"wrote {arguments.csv}" + f", of the first {done} of {len(images)} images" * bool(ended))
    if ended:
        raise ended[0]
    if unreadable:
        print(f"{unreadable} of {len(images)} images could not be read")
    return 1 if unreadable else None


def _text(path: Path) -> str:
    """A path as text; bytes in it that are not UTF-8 as \\xNN."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _printable(path: Path) -> str:
    """A path as text for one line of a terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in _text(path))
