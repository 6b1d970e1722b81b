"""Export to ONNX, stage by stage, with a dozen operators that every runtime supports.

LRN is a 1×1 convolution with a band matrix, as in the backend `band`, not ONNX's operator LRN. ONNX Runtime (1.32)
computes that operator as a running sum: it takes four to five times as long, and is wrong by 1e-4 for activations
near 1,000.
"""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from paddle_alexnet.network import presets
from paddle_alexnet.network.alexnet import AlexNet
from paddle_alexnet.network.lrn import LRN
from paddle_alexnet.network.presets import padding_of, side_after
from paddle_alexnet.runs.metadata import Metadata
from paddle_alexnet.system.errors import UserError

if TYPE_CHECKING:
    import onnx

OLDEST_OPSET, OPSET, IR_VERSION = 9, 13, 7  # defaults readable by ONNX Runtime 1.7 (2021) and later
INPUT = "image"


def check_onnx() -> None:
    """Raise UserError unless onnx and onnxruntime are installed."""
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
    except ImportError as error:
        raise UserError(f'ONNX: requires more packages ({error}); run pip install "paddle-alexnet[onnx]"') from None


def check_opset(opset: int) -> None:
    """Raise UserError for an opset with other operators than the export uses, or that the onnx package lacks."""
    check_onnx()
    import onnx

    newest = onnx.defs.onnx_opset_version()
    if not OLDEST_OPSET <= opset <= newest:
        raise UserError(f"opset {opset}: the installed onnx package supports others; choose {OLDEST_OPSET} to {newest}")


def onnx_file(network: AlexNet, metadata: Metadata, *, opset: int = OPSET) -> bytes:
    """Return the content of an `.onnx` file: images float32 [N, 3, S, S] to the output [N, C] of `metadata`.

    The class names, the preprocessing and the preset are properties of the file.
    """
    check_opset(opset)
    import onnx
    from onnx import TensorProto, helper

    size, batch = metadata.preprocess.image_size, metadata.batch_size or "N"
    graph = _Graph()
    x, channels, side = INPUT, 3, size
    for (name, _, _, stage), layer in network.computing_layers():
        if isinstance(stage, (presets.Conv, presets.MaxPool)):
            left, right, top, bottom = padding_of(stage, side)
            window = {
                "kernel_shape": [stage.kernel_size] * 2,
                "strides": [stage.stride] * 2,
                "pads": [top, left, bottom, right],
            }
            if isinstance(stage, presets.Conv):
                x = graph.add("Conv", name, x, layer.weight, layer.bias, **window, group=stage.groups)
                channels = stage.out_channels
            else:
                x = graph.add("MaxPool", name, x, **window)
            side = side_after(stage, side)
        elif isinstance(stage, presets.LRN):
            x = _lrn(graph, name, layer, x, channels)
        elif isinstance(stage, presets.Linear):
            x = graph.add("Gemm", name, x, layer.weight, layer.bias)
        elif isinstance(stage, presets.Flatten):
            x = graph.add("Flatten", name, x)
        elif isinstance(stage, presets.ReLU):
            x = graph.add("Relu", name, x)
        elif stage.mode == "downscale_in_infer":  # other dropout does nothing in evaluation
            x = graph.add("Mul", name, x, np.float32(1 - stage.p))
    if metadata.output == "probabilities":
        x = graph.add("Softmax", "probabilities", x)
    else:  # names the output
        x = graph.add("Identity", "logits", x)

    image = helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, [batch, 3, size, size])
    output = helper.make_tensor_value_info(x, TensorProto.FLOAT, [batch, network.num_classes])
    model = helper.make_model(
        helper.make_graph(graph.nodes, network.preset, [image], [output], graph.weights),
        opset_imports=[helper.make_opsetid("", opset)],
        ir_version=max(IR_VERSION, helper.find_min_ir_version_for([helper.make_opsetid("", opset)])),
        producer_name="paddle-alexnet",
    )
    helper.set_model_props(model, properties(metadata))
    try:
        onnx.checker.check_model(model, full_check=True)
        return model.SerializeToString()
    except ValueError as error:  # protobuf's own limit of 2 GB
        raise UserError(f"{network.num_classes} classes: exceed an ONNX file ({error}); export to paddle") from None


def properties(metadata: Metadata) -> dict[str, str]:
    """Return the properties of an ONNX file, with lists and nested values as JSON."""
    return {
        "labels": json.dumps(metadata.classes.names, ensure_ascii=False),
        "wnids": json.dumps(metadata.classes.wnids),
        "preprocess": json.dumps(asdict(metadata.preprocess)),
        "preset": metadata.model.preset,
        "quirks": json.dumps(metadata.model.quirks),
        "output": metadata.output,
        "trained_on": metadata.origin.data,
        "epoch": str(metadata.origin.epoch),
    }


class _Graph:
    """The operators and weights of a graph, in the order of their addition."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def add(self, operator: str, name: str, *inputs: Any, **attributes: Any) -> str:
        """Add an operator with the output `name`; inputs are outputs' names or weights' values."""
        from onnx import helper, numpy_helper

        names = []
        for position, value in enumerate(inputs):
            if not isinstance(value, str):
                names.append(f"{name}.{('x', 'weight', 'bias')[position]}")
                self.weights.append(numpy_helper.from_array(np.asarray(value), names[-1]))
            else:
                names.append(value)
        self.nodes.append(helper.make_node(operator, names, [name], name, **attributes))
        return name


def _lrn(graph: _Graph, name: str, layer: LRN, x: str, channels: int) -> str:
    """Add LRN as x / (k + a S) ** beta; AveragePool sums squares within a channel, a convolution across channels."""
    squares = graph.add("Mul", f"{name}.squares", x, x)
    if layer.within_channel:
        n = layer.size
        window = {"kernel_shape": [n, n], "strides": [1, 1], "pads": [n // 2] * 4, "count_include_pad": 1}
        mean = graph.add("AveragePool", f"{name}.mean", squares, **window)
        scaled = graph.add("Mul", f"{name}.scaled", mean, np.float32(layer.mean_scale))
        denominator = graph.add("Add", f"{name}.denominator", scaled, np.float32(layer.k))
    else:
        k = np.full(channels, layer.k, np.float32)
        denominator = graph.add("Conv", f"{name}.denominator", squares, _band(layer, channels), k, group=layer.groups)
    if layer.beta == 0.75:  # two roots take less time than a power
        root = graph.add("Sqrt", f"{name}.root", denominator)
        power = graph.add("Mul", f"{name}.power", root, graph.add("Sqrt", f"{name}.fourth_root", root))
    else:
        power = graph.add("Pow", f"{name}.power", denominator, np.float32(layer.beta))
    return graph.add("Div", name, x, power)


def _band(layer: LRN, channels: int) -> np.ndarray:
    """Return the weights of the squares in each channel's sum, [C, C / G, 1, 1]."""
    column = channels // layer.groups
    near = np.abs(np.subtract.outer(np.arange(column), np.arange(column))) <= layer.size // 2
    weight = layer.sum_scale * near
    if layer.exclusive:  # quirk: at the border, the mean is over the existing neighbors
        weight *= layer.size / near.sum(axis=1, keepdims=True)
    return np.tile(weight.astype(np.float32)[:, :, None, None], (layer.groups, 1, 1, 1))
