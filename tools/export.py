"""Export the inference model of a run or checkpoint."""

import argparse
from pathlib import Path

from paddle_alexnet import cli
from paddle_alexnet.checkpoint import load_checkpoint
from paddle_alexnet.export import export


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path, metavar="RUN_OR_CHECKPOINT")
    parser.add_argument("--output", type=Path, help="folder to write, default RUN_OR_CHECKPOINT/inference")
    arguments = parser.parse_args()

    network, metadata = load_checkpoint(arguments.model)
    output = arguments.output or arguments.model / "inference"
    difference = export(network, metadata, output)
    print(f"exported {metadata.preset}, {len(metadata.classes)} classes, epoch {metadata.epoch}, to {output}")
    print(f"largest difference to the network: {difference:.1e} of the largest logit")


if __name__ == "__main__":
    cli.run(main)
