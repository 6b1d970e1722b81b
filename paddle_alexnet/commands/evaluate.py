"""Mean loss and accuracy of a trained network on a split, every image once."""

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
    parser.add_argument("--split", default="val", choices=("train", "val", "test"))
    parser.add_argument("--root", type=typed_path, help="folder of images, default the one it was trained on")
    parser.add_argument("--csv", type=typed_path, help="its table, default labels.csv in --root")
    parser.add_argument(
        "--crops",
        type=int,
        default=1,
        choices=(1, 10),
        help="1: the centre; 10: the paper's mean over corners, centre and their mirror images; default %(default)s",
    )
    parser.add_argument("--top-k", type=positive, metavar="K", help="also the share within the K most probable classes")
    add_device_option(parser)
    add_preprocess_options(parser, default="the model's own")


def run(arguments: argparse.Namespace) -> None:
    from paddle_alexnet.runs.metadata import input_in_words
    from paddle_alexnet.runs.model_folder import read_metadata

    metadata = read_metadata(arguments.model)
    preprocess = changed_preprocess(metadata.preprocess, arguments)
    metadata.origin.dataset(arguments.root, arguments.csv)
    metadata.check_top_k(arguments.top_k)
    from paddle_alexnet.evaluation import evaluate
    from paddle_alexnet.predictor import Predictor

    predictor = Predictor(arguments.model, device=arguments.device)
    metadata = predictor.metadata = replace(predictor.metadata, preprocess=preprocess)
    result = evaluate(
        predictor,
        split=arguments.split,
        root=arguments.root,
        csv=arguments.csv,
        crops=arguments.crops,
        top_k=arguments.top_k,
    )
    origin = metadata.origin
    print(f"{metadata.model.preset}, {metadata.kind} of epoch {origin.epoch}, trained on {origin.data}")
    print(f"input: {input_in_words(preprocess)}")
    top_k = "" if result.top_k is None else f"  top{arguments.top_k} {result.top_k:.4f}"
    print(f"{arguments.split}: {result.images} images  loss {result.loss:.6f}  top1 {result.top1:.4f}{top_k}")
