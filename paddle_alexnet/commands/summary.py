"""Show a network's layers and parameters, compare two presets, or check a recipe against the AlexNet of 2012."""

import argparse

from paddle_alexnet.commands.options import positive, read_recipe, typed_path
from paddle_alexnet.config.choices import DEFAULT_RECIPE, LRN_BACKENDS, one_of
from paddle_alexnet.network.presets import PRESETS
from paddle_alexnet.system.errors import UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("preset", nargs="?", metavar="PRESET", help="network (default: paddle2)")
    parser.add_argument("--num-classes", type=positive, metavar="N", help="classes (default: the preset's own)")
    parser.add_argument("--batch-size", type=positive, metavar="B", help="images in the forward pass (default: 1)")
    parser.add_argument(
        "--lrn", metavar="BACKEND", help=f"LRN backend: auto, {', '.join(LRN_BACKENDS)} (default: avgpool3d)"
    )
    modes = parser.add_mutually_exclusive_group()
    modes.add_argument("--diff", nargs=2, metavar="PRESET", help="compare two presets; * marks differences")
    modes.add_argument(
        "--fidelity", action="store_true", help="compare a recipe with the paper, cuda-convnet and Caffe"
    )
    parser.add_argument("-c", "--config", type=typed_path, help=f"recipe of --fidelity (default: {DEFAULT_RECIPE})")
    parser.add_argument(
        "-o", "--override", action="append", metavar="KEY=VALUE", help="override a setting of the recipe"
    )


def run(arguments: argparse.Namespace) -> None:
    heeded = {"preset", "num_classes", "batch_size", "lrn"}
    if arguments.diff:
        heeded = {"diff", "num_classes"}
    elif arguments.fidelity:
        heeded = {"fidelity", "config", "override"}
    for name, value in vars(arguments).items():
        if value and name not in heeded:
            raise UserError(f"--{name.replace('_', '-')}: has no effect here; leave it out")
    for name in (arguments.preset, *(arguments.diff or ())):
        if name:
            one_of(name, PRESETS, what="preset")
    config = read_recipe(arguments)
    import paddle

    from paddle_alexnet.network.alexnet import AlexNet
    from paddle_alexnet.network.structure import compare, describe, format_comparison, format_table
    from paddle_alexnet.studies.fidelity import compare_with_2012, format_fidelity
    from paddle_alexnet.system.device import use_device

    use_device("cpu")
    if arguments.diff:
        print(format_comparison(compare(*arguments.diff, num_classes=arguments.num_classes)))
    elif arguments.fidelity:
        print(format_fidelity(compare_with_2012(config)))
    else:
        network = AlexNet(arguments.preset or "paddle2", arguments.num_classes, arguments.lrn or "avgpool3d")
        table = describe(network, batch_size := arguments.batch_size or 1)
        paddle.summary(network, (batch_size, 3, network.image_size, network.image_size))  # prints
        print(format_table(table))
