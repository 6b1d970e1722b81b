"""Export a run or checkpoint to Paddle Inference or ONNX, and verify the export against the network.

If their outputs differ by more than rounding, nothing is written and the exit code is 3.
"""

import argparse
import sys
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Optional

from paddle_alexnet.commands.options import positive, print_table, typed_path
from paddle_alexnet.system.errors import UserError

if TYPE_CHECKING:
    from paddle_alexnet.runs.metadata import Proof

DIFFERS = 3
KINDS: dict[str, Literal["inference", "onnx"]] = {"paddle": "inference", "onnx": "onnx"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", type=typed_path, metavar="RUN_OR_CHECKPOINT")
    parser.add_argument("--to", choices=(*KINDS, "all"), default="paddle", help="format (default: %(default)s)")
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
    from paddle_alexnet.runs.model_folder import check_replaceable
    from paddle_alexnet.runs.resolve import resolve_model

    model = resolve_model(arguments.model)
    place, run = model.folder, model.run
    outputs: dict[Literal["inference", "onnx"], Path] = {}
    for kind in KINDS.values() if arguments.to == "all" else [KINDS[arguments.to]]:
        if arguments.output:
            outputs[kind] = arguments.output / kind if arguments.to == "all" else arguments.output
        else:
            outputs[kind] = run.path / kind if run and model.names_run else place.with_name(f"{place.name}-{kind}")
        check_replaceable(outputs[kind], kind)
    from paddle_alexnet.export.exporter import exporting, with_image_size
    from paddle_alexnet.export.onnx import OPSET, check_opset
    from paddle_alexnet.export.verification import Unproven, pictures
    from paddle_alexnet.runs.checkpoint import load_checkpoint
    from paddle_alexnet.system.device import use_device

    opset = arguments.opset or OPSET
    if "onnx" in outputs:
        check_opset(opset)
    elif arguments.opset:
        raise UserError("--opset: requires an ONNX export; add --to onnx")
    use_device("cpu")  # the engines are compared on the CPU
    network, metadata = load_checkpoint(place, model.metadata)
    metadata = with_image_size(network, metadata, arguments.image_size or network.image_size)
    output: Literal["logits", "probabilities"] = "probabilities" if arguments.softmax else "logits"
    metadata = replace(metadata, output=output, batch_size=arguments.batch)
    shown, proofs = pictures(metadata, arguments.root), {}
    try:
        with ExitStack() as together:  # all formats are put in place, or none
            for kind, folder in outputs.items():
                proof = together.enter_context(exporting(network, metadata, folder, to=kind, shown=shown, opset=opset))
                proofs[folder] = proof
    except Unproven as error:
        _show(error.proof)
        print(f"error: {error}", file=sys.stderr)
        return DIFFERS
    size, batch = metadata.preprocess.image_size, metadata.batch_size or "N"
    what = f"{metadata.model.preset}, epoch {metadata.origin.epoch}, [{batch}, 3, {size}, {size}] to {output} "
    what += f"[{batch}, {len(metadata.classes)}]"
    for folder, proof in proofs.items():
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
