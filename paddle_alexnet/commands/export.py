"""Export the inference model of a run or checkpoint."""

import argparse

from paddle_alexnet.commands.options import typed_path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", type=typed_path, metavar="RUN_OR_CHECKPOINT")
    parser.add_argument(
        "--output", type=typed_path, metavar="DIR", help="default RUN/inference or CHECKPOINT-inference"
    )


def run(arguments: argparse.Namespace) -> None:
    from paddle_alexnet.runs.model_folder import find_model

    find_model(arguments.model)
    from paddle_alexnet.export.jit import export
    from paddle_alexnet.runs.checkpoint import load_checkpoint

    model = arguments.model
    network, metadata = load_checkpoint(model)
    is_run = (model / "checkpoints").is_dir()
    output = arguments.output or (model / "inference" if is_run else model.with_name(f"{model.name}-inference"))
    difference = export(network, metadata, output)
    print(
        f"exported {metadata.model.preset}, {len(metadata.classes)} classes, epoch {metadata.origin.epoch}, to {output}"
    )
    print(f"largest difference to the network: {difference:.1e} of the largest logit")
