"""Convert AlexNet weights of PyTorch, Keras, TensorFlow, Caffe or PaddleClas to ours, or ours to theirs.

INPUT   PyTorch .pth .pt .safetensors, Keras .h5, TensorFlow NAME.index (or NAME alone),
        Caffe .npz .npy, Paddle and PaddleClas .pdparams, or a run or checkpoint of ours
OUTPUT  a new folder, a checkpoint for training with -o model.weights=FOLDER;
        or a file: Paddle .pdparams, PyTorch .pth .safetensors, Keras .h5
"""

import argparse

from paddle_alexnet.commands.options import command_line, not_negative, positive, typed_path
from paddle_alexnet.errors import UserError
from paddle_alexnet.network.presets import PRESETS
from paddle_alexnet.weights.layout import LAYOUTS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", type=typed_path, metavar="INPUT")
    parser.add_argument("target", type=typed_path, metavar="OUTPUT")
    parser.add_argument("--preset", choices=PRESETS, help="network, default the one that the weights fit")
    parser.add_argument("--from", dest="source_format", choices=LAYOUTS, help="default by its name")
    parser.add_argument("--to", dest="target_format", choices=("keras", "paddle", "torch"), help="default by its name")
    parser.add_argument("--num-classes", type=positive, metavar="N", help="draw a new last layer for N classes")
    parser.add_argument("--seed", type=not_negative, default=0, help="of that layer, default %(default)s")
    parser.add_argument("--classes", type=typed_path, metavar="FILE", help="the classes in order, one a line")


def run(arguments: argparse.Namespace) -> None:
    source = arguments.source
    if not (source.exists() or source.with_name(f"{source.name}.index").exists()):
        raise UserError(f"{source}: no such file or folder of weights")
    from paddle_alexnet.conversion import convert

    converted = convert(**vars(arguments))
    what = f"{converted.file_format} weights of {converted.preset}, {converted.num_classes} classes"
    print(f"{source}: {what}")
    for note in converted.notes:
        print(note)
    print(f"wrote {arguments.target}")
    if arguments.target.is_dir():
        words = ["-o", f"model.preset={converted.preset}", "-o", f"model.weights={arguments.target}"]
        print(f"next: {command_line('train', *words)}")
