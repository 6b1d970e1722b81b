"""Convert AlexNet weights from PyTorch, Keras, TensorFlow, Caffe or PaddleClas, or to PyTorch, Keras or Paddle.

INPUT   a run or a checkpoint, or a file, recognized by its content:
        PyTorch .pth .pt .safetensors, Keras .h5 .keras, TensorFlow NAME.index (or NAME),
        Caffe .caffemodel .npz .npy, Paddle and PaddleClas .pdparams
OUTPUT  a new folder: a checkpoint for training with -o model.weights=FOLDER;
        or a file: Paddle .pdparams, PyTorch .pth .safetensors, Keras .h5
"""

import argparse
import os
import shlex

from paddle_alexnet.commands.options import (
    PREPROCESS_OPTIONS,
    add_preprocess_options,
    command_line,
    not_negative,
    note,
    positive,
    preprocess_changes,
    typed_path,
)
from paddle_alexnet.network.presets import PRESETS
from paddle_alexnet.system.errors import MissingFileError
from paddle_alexnet.weights.layout import LAYOUTS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", type=typed_path, metavar="INPUT")
    parser.add_argument("target", type=typed_path, metavar="OUTPUT")
    parser.add_argument("--preset", choices=PRESETS, help="network (default: the one that fits)")
    parser.add_argument("--from", dest="source_format", choices=LAYOUTS, help="format of INPUT (default: detected)")
    parser.add_argument(
        "--to",
        dest="target_format",
        choices=("keras", "paddle", "torch"),
        help="format of OUTPUT (default: by its suffix)",
    )
    parser.add_argument("--key", metavar="NAME", help="weights to read if INPUT holds several, such as model_ema")
    parser.add_argument("--num-classes", type=positive, metavar="N", help="draw a new last layer for N classes")
    parser.add_argument(
        "--seed", type=not_negative, default=0, help="seed of the new last layer (default: %(default)s)"
    )
    parser.add_argument("--classes", type=typed_path, metavar="FILE", help="class names in order, one per line")
    parser.add_argument(
        "--quirks", type=_names, metavar="NAME,…", help="quirks of the network, such as dead_fc2 (default: INPUT's)"
    )
    add_preprocess_options(parser, default="the checkpoint's, else that of the source's framework")


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def run(arguments: argparse.Namespace) -> None:
    source = arguments.source
    if not (os.path.exists(source) or os.path.exists(f"{source}.index")):
        raise MissingFileError(f"{source}: not found; name a file or folder of weights")
    from paddle_alexnet.conversion import ConversionOptions, convert_weights

    converted = convert_weights(
        arguments.source,
        arguments.target,
        preset=arguments.preset,
        num_classes=arguments.num_classes,
        classes=arguments.classes,
        options=ConversionOptions(
            source_format=arguments.source_format,
            target_format=arguments.target_format,
            key=arguments.key,
            seed=arguments.seed,
            quirks=arguments.quirks,
            preprocess=preprocess_changes(arguments),
        ),
    )
    what = f"{converted.file_format} weights of {converted.preset}, {converted.num_classes} classes"
    print(f"{source}: {what}")
    for line in converted.notes:
        print(line)
    print(f"wrote {arguments.target}")
    if arguments.target.is_dir():
        from paddle_alexnet.config.schema import DataConfig

        settings = {"model.preset": converted.preset, "model.weights": arguments.target}
        if converted.quirks:
            settings["model.quirks"] = f"[{', '.join(converted.quirks)}]"
        for name in PREPROCESS_OPTIONS:
            value = getattr(converted.preprocess, name)
            if value != getattr(DataConfig(), name):
                settings[f"data.{name}"] = list(value) if isinstance(value, tuple) else value
        words = [word for key, value in settings.items() for word in ("-o", f"{key}={value}")]
        note(f"next: {command_line('train')} FOLDER {shlex.join(words)}")
        note("FOLDER: your images, a folder per class; with another number of classes the last layer is drawn anew")
