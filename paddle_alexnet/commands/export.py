"""Export a run or checkpoint to Paddle Inference or ONNX, and verify the export against the network.

If their outputs differ by more than rounding, nothing is written and the exit code is 3.
"""

import argparse
import sys
from typing import TYPE_CHECKING, Optional

from paddle_alexnet.commands.options import positive, print_table, typed_path
from paddle_alexnet.system.errors import UserError

if TYPE_CHECKING:
    from paddle_alexnet.runs.metadata import Proof

DIFFERS = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", type=typed_path, metavar="RUN_OR_CHECKPOINT")
    parser.add_argument(
        "--to", choices=("paddle", "onnx", "all"), default="paddle", help="format (default: %(default)s)"
    )
    parser.add_argument(
        "--output",
        type=typed_path,
        metavar="DIR",
        help="folder to write (default: RUN/inference and RUN/onnx, or CHECKPOINT-inference and CHECKPOINT-onnx); "
        "with --to all, DIR/inference and DIR/onnx",
    )
    parser.add_argument(
        "--image-size", type=positive, metavar="S", help="input size in pixels (default: the network's)"
    )
    parser.add_argument(
        "--batch",
        type=_batch,
        default="dynamic",
        metavar="N",
        help="batch size: a number or dynamic, which is any (default: dynamic)",
    )
    parser.add_argument("--root", type=typed_path, help="data set to verify on, if it has moved")
    parser.add_argument("--opset", type=positive, metavar="N", help="ONNX opset, 9 or more (default: 13)")
    parser.add_argument("--softmax", action="store_true", help="output probabilities, not logits")


def run(arguments: argparse.Namespace) -> Optional[int]:
    from paddle_alexnet.runs.resolve import resolve_model

    model = resolve_model(arguments.model)
    if arguments.opset and arguments.to == "paddle":
        raise UserError("--opset: requires ONNX; add --to onnx")
    from paddle_alexnet.exporting.export_model import ExportOptions, export_model
    from paddle_alexnet.exporting.verification import Unproven

    options = ExportOptions(arguments.image_size, arguments.batch, arguments.softmax, arguments.opset)
    try:
        exported = export_model(model, output=arguments.output, to=arguments.to, root=arguments.root, options=options)
    except Unproven as error:
        _show(error.proof)
        print(f"error: {error}", file=sys.stderr)
        return DIFFERS
    for folder, metadata in exported.items():
        size, batch, proof = metadata.preprocess.image_size, metadata.batch_size or "N", metadata.proof
        assert proof is not None
        what = f"{metadata.model.preset}, epoch {metadata.origin.epoch}, [{batch}, 3, {size}, {size}] to "
        what += f"{metadata.output} [{batch}, {len(metadata.classes)}]"
        print(f"exported {what} to {folder} ({proof.bytes / 1e6:.1f} MB)")
        _show(proof)
    return None


def _show(proof: "Proof") -> None:
    print(f"compared with the network on {proof.images}:")
    sizes = list(proof.checks[0].milliseconds)
    header = ["", "largest difference", "same class", *(f"{n} image{'s' * (n > 1)}, ms" for n in sizes)]
    rows = [
        [
            check.engine,
            f"{check.difference:.1e}",
            f"{check.top1_agreement:.4f}",
            *(f"{check.milliseconds[n]:.1f}" for n in sizes),
        ]
        for check in proof.checks
    ]
    print_table([header, *rows])
    for engine, reason in proof.left_out.items():
        print(f"{engine}: not compared ({reason})")


def _batch(text: str) -> Optional[int]:
    return None if text == "dynamic" else positive(text)
