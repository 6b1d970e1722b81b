"""Time a network's passes, its predictions once exported, or the stages of loading images, on this machine."""

import argparse
import json

from paddle_alexnet.commands.options import (
    add_device_option,
    add_recipe_options,
    not_negative,
    positive,
    read_recipe,
    typed_path,
)
from paddle_alexnet.errors import UserError
from paddle_alexnet.files import write_text
from paddle_alexnet.names import KERNELS, LRN_BACKENDS, one_of
from paddle_alexnet.network.presets import PRESETS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    subjects = parser.add_subparsers(dest="subject", required=True, metavar="SUBJECT")
    network = subjects.add_parser("network", help="forward pass, forward-backward pass and training step")
    network.add_argument("preset", nargs="?", default="paddle2", metavar="PRESET", help="default %(default)s")
    network.add_argument("--num-classes", type=positive, metavar="N", help="default the preset's own")
    network.add_argument(
        "--burn-in", type=not_negative, default=10, metavar="N", help="steps not timed, default %(default)s"
    )
    network.add_argument("--steps", type=positive, default=100, metavar="N", help="steps timed, default %(default)s")
    network.add_argument(
        "--lrn",
        metavar="BACKEND[,BACKEND…]",
        help=f"LRN backend of Paddle's kernels: auto, {', '.join(LRN_BACKENDS)}; several take turns and are compared; "
        "default auto",
    )
    network.add_argument(
        "--kernels",
        metavar="KERNELS[,KERNELS…]",
        help=f"auto, {', '.join(KERNELS)}; several take turns and are compared; default auto, with --lrn paddle",
    )
    network.add_argument("--against", choices=["torch"], help="time the same network in PyTorch in turns with it")
    add_recipe_options(network, recipe="whose optimiser takes the training step")
    loader = subjects.add_parser("loader", help="the stages of loading images, beside a plain loader")
    loader.add_argument("root", nargs="?", type=typed_path, metavar="ROOT", help="a data set, default the demo set")
    for subject in (network, loader):
        subject.add_argument("--batch-size", type=positive, default=32, metavar="B", help="default %(default)s")
        add_device_option(subject)
    predict = subjects.add_parser("predict", help="exported networks on the CPU, in every way to run them here")
    predict.add_argument("presets", nargs="*", metavar="PRESET", help="default all")
    predict.add_argument(
        "--batch-size", type=positive, nargs="+", default=[1, 32], metavar="B", help="several are timed; default 1 32"
    )
    predict.add_argument("--steps", type=positive, default=5, metavar="N", help="batches timed, default %(default)s")
    for subject in (network, loader, predict):
        subject.add_argument("--json", type=typed_path, metavar="FILE", help="write every number there too")


def run(arguments: argparse.Namespace) -> None:
    path = arguments.json
    if path and not path.parent.is_dir():
        raise UserError(f"{path}: there is no folder {path.parent}: make it, or name another file")
    if arguments.subject == "loader":
        if arguments.root:
            from paddle_alexnet.data.table import check_there

            check_there(arguments.root)
        from paddle_alexnet.benchmark.loader import benchmark_loader, format_loading

        table = benchmark_loader(arguments.root, batch_size=arguments.batch_size, device=arguments.device)
        print(format_loading(table))
        report = {"stages": table.to_dict("records")}
    elif arguments.subject == "predict":
        for preset in arguments.presets:
            one_of(preset, PRESETS, what="preset")
        from paddle_alexnet.benchmark.prediction import benchmark_prediction, format_predictions

        report = benchmark_prediction(arguments.presets, batch_sizes=arguments.batch_size, steps=arguments.steps)
        print(format_predictions(report))
    else:
        one_of(arguments.preset, PRESETS, what="preset")
        device = [] if arguments.device == "auto" else [f"device={arguments.device}"]
        config = read_recipe(arguments, *device)
        from paddle_alexnet.benchmark.network import benchmark_network, format_report

        report = benchmark_network(
            arguments.preset,
            config=config,
            num_classes=arguments.num_classes,
            lrn=arguments.lrn and arguments.lrn.split(","),
            kernels=arguments.kernels and arguments.kernels.split(","),
            against=arguments.against,
            batch_size=arguments.batch_size,
            burn_in=arguments.burn_in,
            steps=arguments.steps,
        )
        print(format_report(report))
    if path:
        write_text(path, json.dumps(report, indent=2) + "\n")
        print(f"wrote {path}")
