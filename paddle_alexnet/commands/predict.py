"""The classes of images: one, several, or folders of them."""

import argparse
from dataclasses import replace

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


def run(arguments: argparse.Namespace) -> None:
    from paddle_alexnet.data.images import find_images
    from paddle_alexnet.runs.model_folder import find_model

    find_model(arguments.model)
    images = find_images(arguments.images)
    from paddle_alexnet.files import write_csv
    from paddle_alexnet.predictor import Predictor, predict_table

    predictor = Predictor(arguments.model, device=arguments.device)
    preprocess = changed_preprocess(predictor.metadata.preprocess, arguments)
    predictor.metadata = replace(predictor.metadata, preprocess=preprocess)
    table = predict_table(predictor, images, top=arguments.top)
    metadata = predictor.metadata
    print(f"{metadata.model.preset}, epoch {metadata.origin.epoch}, trained on {metadata.origin.data}")
    for path, rows in table.groupby("image", sort=False):
        print(f"{path}  " + "  ".join(f"{row.label} {row.probability:.4f}" for row in rows.itertuples()))
    if arguments.csv:
        write_csv(arguments.csv, list(table.columns), table.itertuples(index=False))
        print(f"wrote {arguments.csv}")
