"""Export of a trained model: resolved, exported, compared with the network, and put in place."""

import os
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Optional, Union

from paddle_alexnet.config.choices import one_of
from paddle_alexnet.exporting.exporter import Kind, exporting_network, with_image_size
from paddle_alexnet.exporting.onnx import OPSET, check_opset
from paddle_alexnet.exporting.verification import pictures
from paddle_alexnet.runs.checkpoint import load_checkpoint
from paddle_alexnet.runs.metadata import Metadata
from paddle_alexnet.runs.model_folder import check_replaceable, read_metadata
from paddle_alexnet.runs.resolve import ResolvedModel, resolve_model
from paddle_alexnet.system.device import use_device
from paddle_alexnet.system.errors import UserError
from paddle_alexnet.system.user_path import user_path

KINDS: dict[str, Kind] = {"paddle": "inference", "onnx": "onnx"}


@dataclass(frozen=True)
class ExportOptions:
    """The interface of an exported model."""

    image_size: Optional[int] = None  # side of the input in pixels; None: the network's own
    batch_size: Optional[int] = None  # images at once; None: any number
    softmax: bool = False  # whether the output is probabilities, not logits
    opset: Optional[int] = None  # of the ONNX file, 9 or more; None: 13


def export_model(
    model: Union[str, os.PathLike[str], ResolvedModel],
    *,
    output: Optional[Union[str, os.PathLike[str]]] = None,
    to: Literal["paddle", "onnx", "all"] = "paddle",
    root: Optional[Union[str, os.PathLike[str]]] = None,
    options: ExportOptions = ExportOptions(),
) -> dict[Path, Metadata]:
    """Export a run or a checkpoint, and compare every export with the network, on the CPU.

    Args:
        model: A run or a checkpoint.
        output: The folder to write; by default `inference` or `onnx` in the run, or beside the checkpoint.
            `to="all"` writes both forms below it.
        to: "paddle" for Paddle Inference, "onnx" (requires the extra `onnx`), or "all".
        root: The folder of the images to compare on; by default the data set that the model was trained on.

    Returns:
        The metadata of each folder written, which hold the results of the comparison.

    Raises:
        Unproven: An export differs from the network by more than rounding. Nothing is written.
        UserError: There is no checkpoint, the output already exists and is not a model, or an option is impossible.
    """
    resolved = resolve_model(model)
    outputs: dict[Kind, Path] = {}
    for kind in KINDS.values() if to == "all" else [KINDS[one_of(to, (*KINDS, "all"), what="format")]]:
        if output is not None:
            outputs[kind] = user_path(output) / kind if to == "all" else user_path(output)
        elif resolved.run and resolved.names_run:
            outputs[kind] = resolved.run.path / kind
        else:
            outputs[kind] = resolved.folder.with_name(f"{resolved.folder.name}-{kind}")
        check_replaceable(outputs[kind], kind)
    opset = options.opset or OPSET
    if "onnx" in outputs:
        check_opset(opset)
    elif options.opset:
        raise UserError("opset: requires an export to ONNX; add to=onnx")
    use_device("cpu")
    network, metadata = load_checkpoint(resolved.folder, resolved.metadata)
    metadata = with_image_size(network, metadata, options.image_size or network.image_size)
    metadata = replace(metadata, output="probabilities" if options.softmax else "logits", batch_size=options.batch_size)
    shown = pictures(metadata, None if root is None else user_path(root))
    with ExitStack() as together:  # all are put in place, or none
        for kind, folder in outputs.items():
            together.enter_context(exporting_network(network, metadata, folder, to=kind, shown=shown, opset=opset))
    return {folder: read_metadata(folder) for folder in outputs.values()}
