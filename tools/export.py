"""Export the inference model of a run or checkpoint."""

import argparse
from pathlib import Path

from paddle_alexnet import cli
from paddle_alexnet.checkpoint import load_checkpoint
from paddle_alexnet.export import export


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path, metavar="RUN_OR_CHECKPOINT")
    parser.add_argument("--output", type=Path, metavar="DIR", help="default RUN/inference or CHECKPOINT-inference")
    arguments = parser.parse_args()

    model = arguments.model
    network, metadata = load_checkpoint(model)
    is_run = (model / "checkpoints").is_dir()
    output = arguments.output or (model / "inference" if is_run else model.with_name(f"{model.name}-inference"))
    difference = export(network, metadata, output)
    print(f"exported {metadata.preset}, {len(metadata.classes)} classes, epoch {metadata.epoch}, to {output}")
    print(f"largest difference to the network: {difference:.1e} of the largest logit")


if __name__ == "__main__":
    cli.run(main)
