"""Export the inference model of a run or checkpoint."""

import argparse

from paddle_alexnet.commands.options import typed_path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", type=typed_path, metavar="RUN_OR_CHECKPOINT")
    parser.add_argument(
        "--output", type=typed_path, metavar="DIR", help="default RUN/inference or CHECKPOINT-inference"
    )


def run(arguments: argparse.Namespace) -> None:
    from paddle_alexnet.runs.folder import RunFolder
    from paddle_alexnet.runs.model_folder import check_replaceable, find_model

    place = find_model(arguments.model)
    run = RunFolder(arguments.model.resolve())
    default = run.inference if place == run.best else place.with_name(f"{place.name}-inference")
    output = arguments.output or default
    check_replaceable(output, "inference")
    from paddle_alexnet.export.jit import export
    from paddle_alexnet.runs.checkpoint import load_checkpoint

    network, metadata = load_checkpoint(place)
    difference = export(network, metadata, output)
    print(
        f"exported {metadata.model.preset}, {len(metadata.classes)} classes, epoch {metadata.origin.epoch}, to {output}"
    )
    print(f"largest difference to the network: {difference:.1e} of the largest logit")
