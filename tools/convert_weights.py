"""Convert AlexNet weights of PyTorch, Keras, TensorFlow, Caffe or PaddleClas to ours, or ours to theirs."""

import argparse
import shlex
from pathlib import Path

from paddle_alexnet import PRESETS, cli
from paddle_alexnet.weights.convert import convert
from paddle_alexnet.weights.files import WRITERS
from paddle_alexnet.weights.layout import LAYOUTS

_FILES = """\
INPUT   PyTorch .pth .pt .safetensors, Keras .h5, TensorFlow NAME.index (or NAME alone),
        Caffe .npz .npy, Paddle and PaddleClas .pdparams, or a run or checkpoint of ours
OUTPUT  a new folder, a checkpoint for tools/train.py -o model.weights=FOLDER;
        or a file: Paddle .pdparams, PyTorch .pth .safetensors, Keras .h5
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=_FILES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", type=Path, metavar="INPUT")
    parser.add_argument("target", type=Path, metavar="OUTPUT")
    parser.add_argument("--preset", choices=PRESETS, help="network, default the one that the weights fit")
    parser.add_argument("--from", dest="source_format", choices=LAYOUTS, help="default by its name")
    written = sorted({name for name, _ in WRITERS.values()})
    parser.add_argument("--to", dest="target_format", choices=written, help="default by its name")
    parser.add_argument("--num-classes", type=int, metavar="N", help="draw a new last layer for N classes")
    parser.add_argument("--seed", type=int, default=0, help="of that layer, default %(default)s")
    parser.add_argument("--classes", type=Path, metavar="FILE", help="the classes in order, one a line")
    arguments = parser.parse_args()

    converted = convert(**vars(arguments))
    what = f"{converted.file_format} weights of {converted.preset}, {converted.num_classes} classes"
    print(f"{arguments.source}: {what}")
    for note in converted.notes:
        print(note)
    print(f"wrote {arguments.target}")
    if arguments.target.is_dir():
        weights = shlex.quote(f"model.weights={arguments.target}")
        print(f"next: python tools/train.py -o model.preset={converted.preset} -o {weights}")


if __name__ == "__main__":
    cli.run(main)
