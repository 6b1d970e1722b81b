"""Time a network's passes, an exported model's predictions or the stages of loading images; or simulate many GPUs."""

import argparse
import json

from paddle_alexnet.commands.options import (
    above_zero,
    add_device_option,
    add_recipe_options,
    not_negative,
    positive,
    read_recipe,
    typed_path,
)
from paddle_alexnet.config.choices import KERNELS, LRN_BACKENDS, one_of
from paddle_alexnet.network.presets import PRESETS
from paddle_alexnet.system.errors import MissingFileError, UserError
from paddle_alexnet.system.files import write_text

GPUS = (1, 2, 4, 8, 16, 32, 64)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    subjects = parser.add_subparsers(dest="subject", required=True, metavar="SUBJECT")
    network = subjects.add_parser("network", help="forward pass, forward-backward pass and training step")
    network.add_argument("preset", nargs="?", default="paddle2", metavar="PRESET", help="default: %(default)s")
    network.add_argument("--num-classes", type=positive, metavar="N", help="classes (default: the preset's own)")
    network.add_argument(
        "--burn-in", type=not_negative, default=10, metavar="N", help="warm-up steps, not timed (default: %(default)s)"
    )
    network.add_argument("--steps", type=positive, default=100, metavar="N", help="timed steps (default: %(default)s)")
    network.add_argument(
        "--lrn",
        metavar="BACKEND[,BACKEND…]",
        help=f"LRN backends to compare, for Paddle's own kernels: auto, {', '.join(LRN_BACKENDS)} (default: auto)",
    )
    network.add_argument(
        "--kernels",
        metavar="KERNELS[,KERNELS…]",
        help=f"kernels to compare: auto, {', '.join(KERNELS)} (default: auto, with --lrn paddle)",
    )
    network.add_argument("--against", choices=["torch"], help="compare with the same network in PyTorch")
    add_recipe_options(network, recipe="recipe of the optimizer", default="paddle2")
    loader = subjects.add_parser("loader", help="stages of loading images, compared with a plain loader")
    loader.add_argument("root", nargs="?", type=typed_path, metavar="ROOT", help="data set (default: the demo set)")
    predict = subjects.add_parser(
        "predict", help="predictions of exported presets on the CPU, by each engine installed"
    )
    predict.add_argument("presets", nargs="*", metavar="PRESET", help="default: all")
    predict.add_argument(
        "--batch-size", type=positive, nargs="+", metavar="B", help="batch sizes (default: 1 32; with --folder 32)"
    )
    predict.add_argument("--steps", type=positive, metavar="N", help="timed batches (default: 5)")
    predict.add_argument(
        "--folder",
        type=typed_path,
        metavar="DIR",
        help="time one preset on the images below DIR instead, from files to probabilities",
    )
    scaling = subjects.add_parser(
        "scaling", help="simulated training on 1 to 64 GPUs, from one GPU's rate and the links"
    )
    scaling.add_argument("preset", nargs="?", default="paper", metavar="PRESET", help="default: %(default)s")
    scaling.add_argument(
        "--rate", type=above_zero, required=True, metavar="X", help="training images/s of one GPU, from `network`"
    )
    scaling.add_argument(
        "--link", type=above_zero, required=True, metavar="GB/s", help="bandwidth between a machine's GPUs"
    )
    scaling.add_argument(
        "--network", type=above_zero, metavar="GB/s", help="bandwidth between machines (default: --link)"
    )
    scaling.add_argument(
        "--latency", type=above_zero, default=10.0, metavar="µs", help="latency of a message (default: %(default)s)"
    )
    scaling.add_argument(
        "--per-machine", type=positive, default=8, metavar="N", help="GPUs in a machine (default: %(default)s)"
    )
    scaling.add_argument(
        "--no-overlap", action="store_true", help="send gradients after, not during, the backward pass"
    )
    for subject in (network, loader, scaling):
        default = 128 if subject is scaling else 32
        subject.add_argument(
            "--batch-size", type=positive, default=default, metavar="B", help="images (default: %(default)s)"
        )
        if subject is not scaling:
            add_device_option(subject)
    for subject in (network, loader, predict, scaling):
        subject.add_argument("--json", type=typed_path, metavar="FILE", help="write all measurements")


def run(arguments: argparse.Namespace) -> None:
    from paddle_alexnet.system.output_files import check_output

    path = arguments.json
    if path and not path.parent.is_dir():
        raise MissingFileError(f"{path}: folder {path.parent} not found; make it or name another file")
    check_output(path, "JSON")
    if arguments.subject == "loader":
        if arguments.root:
            from paddle_alexnet.data.table import check_there

            check_there(arguments.root)
        from paddle_alexnet.benchmark.data_loading import benchmark_loader, format_loading

        table = benchmark_loader(arguments.root, batch_size=arguments.batch_size, device=arguments.device)
        print(format_loading(table))
        report = {"stages": table.to_dict("records")}
    elif arguments.subject == "predict":
        for preset in arguments.presets:
            one_of(preset, PRESETS, what="preset")
        if arguments.folder:
            if len(arguments.presets) != 1 or len(arguments.batch_size or [32]) != 1:
                raise UserError("--folder: requires one preset and at most one batch size; leave out the others")
            if arguments.steps:
                raise UserError("--steps: has no effect with --folder; leave it out")
            from paddle_alexnet.benchmark.predict_folder import benchmark_folder, format_folder

            [batch_size] = arguments.batch_size or [32]
            report = benchmark_folder(arguments.presets[0], arguments.folder, batch_size=batch_size)
            print(format_folder(report))
        else:
            from paddle_alexnet.benchmark.prediction import benchmark_prediction, format_predictions

            report = benchmark_prediction(
                arguments.presets, batch_sizes=arguments.batch_size or (1, 32), steps=arguments.steps or 5
            )
            print(format_predictions(report))
    elif arguments.subject == "scaling":
        one_of(arguments.preset, PRESETS, what="preset")
        from paddle_alexnet.benchmark.scaling import Cluster, format_scaling, simulate

        network = arguments.link if arguments.network is None else arguments.network
        links = Cluster(arguments.link * 1e9, network * 1e9, arguments.per_machine, arguments.latency / 1e6)
        table = simulate(
            arguments.preset,
            gpus=GPUS,
            batch_size=arguments.batch_size,
            images_per_second=arguments.rate,
            cluster=links,
            overlap=not arguments.no_overlap,
        )
        print(format_scaling(table))
        report = {"simulated": table.to_dict("records")}
    else:
        one_of(arguments.preset, PRESETS, what="preset")
        device = [] if arguments.device == "auto" else [f"device={arguments.device}"]
        config = read_recipe(arguments, *device)
        from paddle_alexnet.benchmark.network_passes import benchmark_network, format_report

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
