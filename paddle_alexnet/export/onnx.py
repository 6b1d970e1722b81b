"""The network as an ONNX graph, written stage by stage: a dozen operators that every runtime has.

Local response normalization is a 1×1 convolution with a band matrix, as in the backend `band`, and not ONNX's operator
LRN: ONNX Runtime (1.32) computes that as a running sum, which takes four to five times as long and, where activations
reach 1,000, is wrong by 1e-4.
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

OLDEST_OPSET, OPSET, IR_VERSION = 9, 13, 7  # of 2021: read by ONNX Runtime from 1.7 on
INPUT = "image"


def check_onnx() -> None:
    """Raise UserError where the packages that write and try an ONNX file are not installed."""
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
    except ImportError as error:
        raise UserError(f'ONNX needs a package more ({error}): pip install "paddle-alexnet[onnx]"') from None


def check_opset(opset: int) -> None:
    """Raise UserError for an opset whose operators are others than we write, or that the onnx package lacks."""
    check_onnx()
    import onnx

    newest = onnx.defs.onnx_opset_version()
    if not OLDEST_OPSET <= opset <= newest:
        raise UserError(f"opset {opset}: must be {OLDEST_OPSET} to {newest}, the newest of the installed onnx package")


def onnx_file(network: AlexNet, metadata: Metadata, *, opset: int = OPSET) -> bytes:
    """The content of an `.onnx` file: image float32 [N, 3, S, S] to what `metadata` says is the output, [N, C].

    S and N are those of the metadata, N any number where they say none. The file also says, as metadata properties,
    what else a user needs to know: the class names, what an image goes through, the preset.
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
        elif stage.mode == "downscale_in_infer":  # dropout, which else does nothing in evaluation
            x = graph.add("Mul", name, x, np.float32(1 - stage.p))
    if metadata.output == "probabilities":
        x = graph.add("Softmax", "probabilities", x)
    else:  # so that the output is called what it is, whatever the last layer
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
        raise UserError(f"a network of {network.num_classes} classes is too large for an ONNX file ({error})") from None


def properties(metadata: Metadata) -> dict[str, str]:
    """What an ONNX file says of itself: each a text, lists and what has parts as JSON."""
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
    """Operators and weights in the order in which they are added."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def add(self, operator: str, name: str, *inputs: Any, **attributes: Any) -> str:
        """Add an operator that computes `name`; an input is the name of another, or the values of a weight."""
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
    """x / (k + a S) ** beta; S within a channel by AveragePool, across channels by a convolution of the squares."""
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
    """What each square counts in the sum of each channel, [C, C / G, 1, 1]."""
    column = channels // layer.groups
    near = np.abs(np.subtract.outer(np.arange(column), np.arange(column))) <= layer.size // 2
    weight = layer.sum_scale * near
    if layer.exclusive:  # the quirk: at the border the mean is of the neighbors that there are
        weight *= layer.size / near.sum(axis=1, keepdims=True)
    return np.tile(weight.astype(np.float32)[:, :, None, None], (layer.groups, 1, 1, 1))
