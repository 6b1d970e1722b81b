"""Mean loss and top-1 accuracy of a trained network on a split, every image once."""

import argparse
from dataclasses import replace

from paddle_alexnet.commands.options import add_device_option, add_preprocess_options, changed_preprocess, typed_path


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
    add_device_option(parser)
    add_preprocess_options(parser, default="the model's own")


def run(arguments: argparse.Namespace) -> None:
    from paddle_alexnet.runs.model_folder import find_model

    find_model(arguments.model)
    if arguments.root:
        from paddle_alexnet.data.table import check_there

        check_there(arguments.root, arguments.csv)
    from paddle_alexnet.evaluation import evaluate
    from paddle_alexnet.predictor import Predictor

    predictor = Predictor(arguments.model, device=arguments.device)
    preprocess = changed_preprocess(predictor.metadata.preprocess, arguments)
    predictor.metadata = replace(predictor.metadata, preprocess=preprocess)
    result = evaluate(predictor, split=arguments.split, root=arguments.root, csv=arguments.csv, crops=arguments.crops)
    metadata, origin = predictor.metadata, predictor.metadata.origin
    print(f"{metadata.model.preset}, {metadata.kind} of epoch {origin.epoch}, trained on {origin.data}")
    print(f"{arguments.split}: {result.images} images  loss {result.loss:.6f}  top1 {result.top1:.4f}")
