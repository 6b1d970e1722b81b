"""Measure the mean loss and accuracy of a model on a split, counting every image once."""

import argparse
import json
from typing import TYPE_CHECKING

from paddle_alexnet.commands.options import (
    add_crops_option,
    add_device_option,
    add_excel_option,
    add_precision_options,
    add_preprocess_options,
    changed_preprocess,
    note,
    positive,
    print_table,
    typed_path,
)
from paddle_alexnet.system.errors import UserError

if TYPE_CHECKING:
    from paddle_alexnet.evaluation.evaluate import Evaluation


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", type=typed_path, metavar="MODEL", help="a run, a checkpoint or an exported folder")
    parser.add_argument("--split", default="val", choices=("train", "val", "test"))
    parser.add_argument("--root", type=typed_path, help="folder of images (default: the training set's)")
    parser.add_argument("--table", type=typed_path, metavar="CSV", help="table of labels (default: ROOT/labels.csv)")
    add_crops_option(parser)
    parser.add_argument("--top-k", type=positive, metavar="K", help="print top-K accuracy too")
    parser.add_argument("--per-class", action="store_true", help="print count, precision, recall and F1 of each class")
    parser.add_argument("--confusion", type=typed_path, metavar="FILE", help="write the confusion matrix: .png or .csv")
    parser.add_argument(
        "--csv",
        type=typed_path,
        metavar="FILE",
        help="write the label and the K (default: 5) most probable classes of each image",
    )
    add_excel_option(parser)
    parser.add_argument("--json", type=typed_path, metavar="FILE", help="write all metrics, also those of each class")
    add_device_option(parser)
    add_precision_options(parser)
    add_preprocess_options(parser, default="the model's own")


def run(arguments: argparse.Namespace) -> None:
    from paddle_alexnet.report.validation import check_confusion
    from paddle_alexnet.runs.metadata import input_in_words
    from paddle_alexnet.runs.model_folder import files_of
    from paddle_alexnet.runs.resolve import resolve_model
    from paddle_alexnet.system.output_files import check_output

    model = resolve_model(arguments.model)
    metadata = model.metadata
    preprocess = changed_preprocess(metadata.preprocess, arguments)
    root, table_csv = metadata.origin.dataset(arguments.root, arguments.table)
    metadata.check_top_k(arguments.top_k)
    inputs = [table_csv, root / "classes.txt", table_csv.with_name("classes.txt"), *files_of(arguments.model)]
    check_output(arguments.csv, "CSV", inputs=inputs)
    check_output(arguments.json, "JSON", inputs=inputs)
    if arguments.confusion:
        check_confusion(arguments.confusion)
        check_output(arguments.confusion, "PNG" if arguments.confusion.suffix == ".png" else "CSV", inputs=inputs)
        if arguments.confusion == arguments.csv:
            raise UserError(f"{arguments.csv}: is named for two outputs; name another file for one")
    from paddle_alexnet.evaluation.classification import confusion_matrix, interval_text
    from paddle_alexnet.evaluation.evaluate import evaluate
    from paddle_alexnet.inference.predictor import Predictor
    from paddle_alexnet.plots.fonts import legend
    from paddle_alexnet.report.validation import class_table, write_confusion, write_predictions
    from paddle_alexnet.system.files import write_text

    def evaluate_with(predictor: Predictor) -> "Evaluation":
        return evaluate(
            predictor,
            split=arguments.split,
            root=arguments.root,
            csv=arguments.table,
            crops=arguments.crops,
            top_k=arguments.top_k,
        )

    def shown(share: float) -> str:
        return f"{share:.4f} ({interval_text(share, result.images)})"

    calibration = arguments.calibration
    if arguments.precision == "int8":  # the calibration images may have moved with the others
        calibration = calibration or arguments.root
    predictor = Predictor(
        model,
        device=arguments.device,
        precision=arguments.precision,
        calibration=calibration,
        preprocess=preprocess,
    )
    metadata, result = predictor.metadata, evaluate_with(predictor)
    predictions, table, origin, names = result.predictions, result.table, metadata.origin, metadata.classes.names
    assert predictions is not None and table is not None
    note(f"{metadata.model.preset}, {metadata.kind} of epoch {origin.epoch}, trained on {origin.data}")
    note(f"input: {input_in_words(preprocess)}")
    top_k = "" if result.top_k is None else f"  top{arguments.top_k} {shown(result.top_k)}"
    print(f"{arguments.split}: {result.images} images  loss {result.loss:.6f}  top1 {shown(result.top1)}{top_k}")
    if arguments.precision != "float32":
        exact = evaluate_with(Predictor(model, device=arguments.device, preprocess=preprocess))
        assert exact.predictions is not None
        cost, same = 100 * (exact.top1 - result.top1), (exact.predictions.predicted == predictions.predicted).mean()
        print(
            f"in float32: loss {exact.loss:.6f}  top1 {shown(exact.top1)}; {arguments.precision} costs "
            f"{cost:.1f} points of top1, {same:.1%} of the images get the same class"
        )
    confusion = confusion_matrix(predictions.truth, predictions.predicted, len(names))
    header, rows = class_table(confusion, names)
    if arguments.per_class:
        print_table([header, *rows])
    if arguments.json:
        figures = {
            "preset": metadata.model.preset,
            "epoch": origin.epoch,
            "trained_on": origin.data,
            "table": str(table.csv),
            "split": arguments.split,
            "crops": arguments.crops,
            "precision": arguments.precision,
            **{name: getattr(result, name) for name in ("loss", "top1", "images", "top_k")},
            "k": arguments.top_k,
            "classes": {name: dict(zip(header[1:], row[1:])) for name, row in zip(names, rows)},
        }
        write_text(arguments.json, json.dumps(figures, indent=2, ensure_ascii=False) + "\n")
        print(f"wrote {arguments.json}")
    if arguments.confusion:
        write_confusion(arguments.confusion, confusion, names, excel=arguments.excel)
        print(f"wrote {arguments.confusion}")
        if arguments.confusion.suffix == ".png" and (meaning := legend(names)):
            print(f"no installed font can draw all class names; {meaning}")
    if arguments.csv:
        filenames = table.filenames[table.rows(arguments.split)]
        write_predictions(arguments.csv, predictions, filenames, metadata.classes, excel=arguments.excel)
        print(f"wrote {arguments.csv}")
