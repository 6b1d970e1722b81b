"""Export of a network to a folder, verified against the network before it is put in place."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Literal, Optional

from paddle_alexnet.exporting.jit import save_program
from paddle_alexnet.exporting.onnx import OPSET, onnx_file
from paddle_alexnet.exporting.verification import Pictures, Unproven, noise, prove
from paddle_alexnet.inference.onnx_runtime import MODEL
from paddle_alexnet.network.alexnet import AlexNet
from paddle_alexnet.network.lrn import choose_backend
from paddle_alexnet.network.presets import Conv, Linear, MaxPool, side_after
from paddle_alexnet.runs.metadata import MAX_IMAGE_SIZE, Metadata, Proof
from paddle_alexnet.runs.model_folder import writing_model
from paddle_alexnet.system.errors import UserError
from paddle_alexnet.system.progress import working

Kind = Literal["inference", "onnx"]

_log = logging.getLogger(__name__)


def export_network(network: AlexNet, metadata: Metadata, place: Path) -> Proof:
    """Export a network to Paddle Inference (`model.*`, `metadata.json`), and verify it on two images of noise.

    Raises:
        Unproven: The outputs differ from the network's; nothing is written.
    """
    with exporting_network(network, metadata, place) as proof:
        return proof


@contextmanager
def exporting_network(
    network: AlexNet,
    metadata: Metadata,
    place: Path,
    *,
    to: Kind = "inference",
    shown: Optional[Pictures] = None,
    opset: int = OPSET,
    aside: bool = False,
) -> Iterator[Proof]:
    """Export a network to a folder that is put in place at the end of the `with` block, and yield the verification.

    Args:
        metadata: Description of the model, with its image size, batch size and output.
        shown: Images to verify every available engine on; default: two images of noise, and one engine.
        aside: See `writing_model`.

    Raises:
        Unproven: The outputs differ from the network's; nothing is written.
    """
    quick = shown is None
    shown = shown or noise(metadata)

    written, training = metadata, network.training

    def write(folder: Path, lrn: str) -> Metadata:
        made = network if lrn == network.lrn or to == "onnx" else with_lrn(network, lrn)
        described = replace(metadata, kind=to, model=replace(metadata.model, lrn=lrn))
        with nullcontext() if quick else working(f"writing the {'ONNX file' if to == 'onnx' else 'inference model'}"):
            if to == "onnx":
                (folder / MODEL).write_bytes(onnx_file(network, described, opset=opset))
            else:
                save_program(made, described, folder)
        files = {path.name: path.read_bytes() for path in folder.iterdir()}
        return replace(described, proof=prove(network, described, files, shown, source=place, quick=quick))

    def fill(folder: Path) -> Metadata:
        nonlocal written
        lrn = choose_backend(network.lrn, job="jit" if to == "inference" else "onnx")
        if lrn != network.lrn and to == "inference":
            _log.info(f"LRN backend {network.lrn} cannot be exported here; using the equivalent {lrn}")
        try:
            written = write(folder, lrn)
        except Unproven as error:
            if lrn != "native":
                raise
            # Paddle without oneDNN keeps a running sum, in which a large activation rounds off the ones after it.
            _log.info(f"with LRN backend native {str(error).partition(': ')[2]}; using band")
            for path in folder.iterdir():
                path.unlink()
            written = write(folder, "band")
        return written

    network.eval()
    try:
        with writing_model(place, replace(metadata, kind=to), fill, aside=aside):
            assert written.proof is not None
            yield written.proof
    finally:
        if training:
            network.train()


def with_lrn(network: AlexNet, lrn: str) -> AlexNet:
    """Return a copy of the network in evaluation mode, with another LRN backend."""
    twin = AlexNet.build(replace(network.spec, lrn=lrn))
    twin.set_state_dict(network.state_dict())
    twin.eval()
    return twin


def with_image_size(network: AlexNet, metadata: Metadata, size: int) -> Metadata:
    """Return the metadata for another input size in pixels. Raise UserError if the model does not fit the size."""

    def reaches(side: int) -> int:
        """Return the side of the feature maps that the first linear layer reads."""
        for _, _, _, stage in network.stages:
            if isinstance(stage, (Conv, MaxPool)):
                side = side_after(stage, side) if side > 0 else 0
            elif isinstance(stage, Linear):
                break
        return side

    fits = reaches(network.image_size)
    sizes = [each for each in range(1, MAX_IMAGE_SIZE + 1) if reaches(each) == fits]
    if size not in sizes:
        raise UserError(
            f"image size {size}: the linear layers of {network.preset} require feature maps of {fits}×{fits}; "
            f"choose {sizes[0]} to {sizes[-1]}"
        )
    preprocess = replace(metadata.preprocess, image_size=size)
    if preprocess.mean_image is not None and size != metadata.preprocess.image_size:
        size_of_mean = metadata.preprocess.image_size
        raise UserError(f"image size {size}: does not match the model's mean image; choose {size_of_mean}")
    if preprocess.patch_size < size:
        raise UserError(f"image size {size}: exceeds the resized image; choose {preprocess.patch_size} or less")
    return replace(metadata, preprocess=preprocess)
