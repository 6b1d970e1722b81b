"""Mean loss and top-1 accuracy of a trained network on a split, every image once."""

import argparse
from dataclasses import replace

from paddle_alexnet.commands.options import (
    add_device_option,
    add_preprocess_options,
    changed_preprocess,
    print_table,
    typed_path,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", type=typed_path, metavar="MODEL", help="a run, a checkpoint or an exported folder")
    parser.add_argument("--split", default="val", choices=("train", "val", "test"))
    parser.add_argument("--root", type=typed_path, help="folder of images, default the one it was trained on")
    parser.add_argument("--table", type=typed_path, metavar="CSV", help="its table, default labels.csv in --root")
    parser.add_argument(
        "--crops",
        type=int,
        default=1,
        choices=(1, 10),
        help="1: the centre; 10: the paper's mean over corners, centre and their mirror images; default %(default)s",
    )
    parser.add_argument("--per-class", action="store_true", help="show count, precision, recall and F1 of each class")
    parser.add_argument("--confusion", type=typed_path, metavar="FILE", help="write the confusion matrix: .png or .csv")
    parser.add_argument("--csv", type=typed_path, metavar="FILE", help="write what each image is and was taken for")
    add_device_option(parser)
    add_preprocess_options(parser, default="the model's own")


def run(arguments: argparse.Namespace) -> None:
    from paddle_alexnet.runs.model_folder import find_model

    find_model(arguments.model)
    if arguments.root:
        from paddle_alexnet.data.table import check_there

        check_there(arguments.root, arguments.table)
    from paddle_alexnet.report.validation import check_outputs

    check_outputs(predictions=arguments.csv, confusion=arguments.confusion)
    from paddle_alexnet.evaluation import collect, means, open_table, predict_split
    from paddle_alexnet.figures import confusion_matrix
    from paddle_alexnet.predictor import Predictor
    from paddle_alexnet.report.validation import class_table, write_confusion, write_predictions

    predictor = Predictor(arguments.model, device=arguments.device)
    preprocess = changed_preprocess(predictor.metadata.preprocess, arguments)
    predictor.metadata = replace(predictor.metadata, preprocess=preprocess)
    table = open_table(predictor, arguments.root, arguments.table)
    answers = collect(predict_split(predictor, table, arguments.split, crops=arguments.crops))
    result, metadata, origin = means(answers), predictor.metadata, predictor.metadata.origin
    print(f"{metadata.model.preset}, {metadata.kind} of epoch {origin.epoch}, trained on {origin.data}")
    print(f"{arguments.split}: {result.images} images  loss {result.loss:.6f}  top1 {result.top1:.4f}")
    names = metadata.classes.names
    confusion = confusion_matrix(answers.truth, answers.predicted, len(names))
    if arguments.per_class:
        header, rows = class_table(confusion, names)
        print_table([header, *rows])
    if arguments.confusion:
        write_confusion(arguments.confusion, confusion, names)
        print(f"wrote {arguments.confusion}")
    if arguments.csv:
        write_predictions(arguments.csv, answers, table.filenames[table.rows(arguments.split)], metadata.classes)
        print(f"wrote {arguments.csv}")
