"""Time a network's forward pass, forward-backward pass and training step on this machine."""

import argparse
from pathlib import Path

from paddle_alexnet import UserError, cli, load_config
from paddle_alexnet.benchmark import benchmark, write_json
from paddle_alexnet.data.benchmark import benchmark_data


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "preset",
        nargs="?",
        default="paddle2",
        metavar="PRESET",
        help="network, or data: the stages of loading images; default %(default)s",
    )
    parser.add_argument(
        "root", nargs="?", type=Path, metavar="ROOT", help="with data: a data set, default the demo set"
    )
    parser.add_argument("--num-classes", type=cli.positive, metavar="N", help="default the preset's own")
    parser.add_argument("--batch-size", type=cli.positive, default=32, metavar="B", help="default %(default)s")
    parser.add_argument("--burn-in", type=int, default=10, metavar="N", help="steps not timed, default %(default)s")
    parser.add_argument("--steps", type=cli.positive, default=100, metavar="N", help="steps timed, default %(default)s")
    parser.add_argument(
        "--lrn",
        default="auto",
        metavar="BACKEND[,BACKEND…]",
        help="LRN backend; several are timed in turns and compared; default %(default)s",
    )
    parser.add_argument("--against", choices=["torch"], help="time the same network in PyTorch in turns with it")
    cli.add_recipe_options(parser, recipe="recipe whose optimiser takes the training step")
    parser.add_argument("--device", help="auto, cpu or gpu:N, default the recipe's")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every number there too")
    arguments = parser.parse_args()
    path = arguments.json
    if path and not path.parent.is_dir():
        raise UserError(f"{path}: there is no folder {path.parent}: make it, or name another file")
    if arguments.preset == "data":
        table = benchmark_data(arguments.root, batch_size=arguments.batch_size, device=arguments.device or "auto")
        if path:
            write_json({"stages": table.to_dict("records")}, path)
        return
    device = [f"device={arguments.device}"] if arguments.device else []

    report = benchmark(
        arguments.preset,
        config=load_config(arguments.config, [*arguments.override, *device]),
        num_classes=arguments.num_classes,
        lrn=arguments.lrn.split(","),
        against=arguments.against,
        batch_size=arguments.batch_size,
        burn_in=arguments.burn_in,
        steps=arguments.steps,
    )
    if path:
        write_json(report, path)


if __name__ == "__main__":
    cli.run(main)
