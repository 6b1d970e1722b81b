"""What a network is made of: shapes, parameters, arithmetic and receptive fields of its layers.

Arithmetic is counted per forward pass in evaluation mode, by the formula and not by the backend:
2 FLOPs for each multiply-accumulate of a convolution or linear layer (the bias not counted), one for
each element of a ReLU, window - 1 comparisons for each output of a max-pool, neighbours + 4 for each
output of an LRN (a square, the sum, a scale, an offset, a power and a division), none for dropout.
"""

import difflib
import math
from collections.abc import Iterator
from itertools import zip_longest
from typing import Optional

import paddle
import pandas as pd
from paddle import nn

from paddle_alexnet import presets
from paddle_alexnet.errors import UserError
from paddle_alexnet.lrn import LRN
from paddle_alexnet.network import AlexNet
from paddle_alexnet.presets import PRESETS, Preset, Stage

HOW_COUNTED = (
    "FLOPs: 2 per multiply-accumulate (MAC) of a convolution or linear layer without its bias, 1 per ReLU element,\n"
    "window - 1 per max-pool output, neighbours + 4 per LRN output. Field: side of the square of input pixels that one\n"
    "output sees; jump: pixels between neighbouring outputs. After a linear layer every output sees the whole image."
)


def layers(network: AlexNet) -> Iterator[tuple[str, str, nn.Layer]]:
    """The layers of the blocks in order: block, index within it, layer."""
    for block, sequence in network.named_children():
        for index, layer in sequence.named_children():
            yield block, index, layer


def describe(network: AlexNet, batch_size: int = 1) -> pd.DataFrame:
    """A row per layer, measured on a forward pass of `batch_size` zero images.

    Columns: block, layer (`block1.0`), type, output_shape, parameters, share (% of all parameters),
    macs and flops (of the batch), receptive_field and jump (input pixels). A layer that a quirk leaves
    out of the pass has no shape and no arithmetic.

    Raises UserError for a batch without images.
    """
    if batch_size < 1:
        raise UserError(f"the batch size is {batch_size}: it must be 1 or more")
    shapes = _output_shapes(network, batch_size)
    total = sum(math.prod(parameter.shape) for parameter in network.parameters())
    rows = []
    field, jump = 1, 1
    whole_image = False  # seen by each output, from the first linear layer on
    for block, index, layer in layers(network):
        name, shape = f"{block}.{index}", shapes.get(f"{block}.{index}")
        parameters = sum(math.prod(parameter.shape) for parameter in layer.parameters())
        macs, flops = _arithmetic(layer, math.prod(shape)) if shape else (0, 0)
        kernel, stride = _window(layer)
        field, jump = field + (kernel - 1) * jump, jump * stride
        whole_image = whole_image or isinstance(layer, nn.Linear)
        rows.append(
            {
                "block": block,
                "layer": name,
                "type": type(layer).__name__,
                "output_shape": shape,
                "parameters": parameters,
                "share": 100 * parameters / total,
                "macs": macs,
                "flops": flops,
                "receptive_field": network.image_size if whole_image else field,
                "jump": None if whole_image else jump,
            }
        )
    return pd.DataFrame(rows).astype({"receptive_field": "Int64", "jump": "Int64"})


def format_table(table: pd.DataFrame) -> str:
    """The table of `describe` as text, with a subtotal per block and a total."""
    sums = ["parameters", "share", "macs", "flops"]
    parts = []
    for block, rows in table.groupby("block", sort=False):
        parts.append(rows)
        if len(rows) > 1:
            parts.append(pd.DataFrame([{"layer": f"{block}", "type": "subtotal", **rows[sums].sum()}]))
    parts.append(pd.DataFrame([{"layer": "network", "type": "total", **table[sums].sum()}]))
    lines = []
    for part in parts:
        for row in part.to_dict("records"):
            shape, field, jump = (row.get(key) for key in ("output_shape", "receptive_field", "jump"))
            lines.append(
                {
                    "layer": row["layer"],
                    "type": row["type"],
                    "output shape": list(shape) if shape else "" if row["type"].endswith("total") else "not run",
                    "parameters": f"{row['parameters']:,.0f}",
                    "%": f"{row['share']:.2f}",
                    "MACs": f"{row['macs']:,.0f}",
                    "FLOPs": f"{row['flops']:,.0f}",
                    "field": "" if field is None else str(field),
                    "jump": "" if jump is None or jump is pd.NA else str(jump),
                }
            )
    return f"{pd.DataFrame(lines).to_string(index=False)}\n{HOW_COUNTED}"


def compare(first: str, second: str, *, num_classes: Optional[int] = None) -> pd.DataFrame:
    """Two presets side by side: facts of the whole network, then the stages, aligned by their kind.

    Columns: mark (`*` where they differ), what, and one for each preset (`first` and `second`; a name
    given twice makes one of them `NAME (2)`).

    Raises UserError for an unknown preset.
    """
    networks = [AlexNet(name, num_classes) for name in (first, second)]
    tables = [PRESETS[name] for name in (first, second)]
    described = [describe(network) for network in networks]
    rows = [
        ("input", *(f"{network.image_size}×{network.image_size}" for network in networks)),
        ("classes", *(str(network.num_classes) for network in networks)),
        ("init", *(table.init for table in tables)),
        ("LRN", *(_lrn_constants(table) for table in tables)),
        ("quirks", *(", ".join(sorted(table.quirks)) or "none" for table in tables)),
        ("parameters", *(f"{table['parameters'].sum():,}" for table in described)),
        ("MACs", *(f"{table['macs'].sum():,}" for table in described)),
    ]
    stages = [[stage for stages in table.blocks.values() for stage in stages] for table in tables]
    texts = [
        [_stage(stage, table.init, row) for stage, row in zip(of_one, frame.to_dict("records"))]
        for of_one, table, frame in zip(stages, tables, described)
    ]
    kinds = [[type(stage).__name__ for stage in of_one] for of_one in stages]
    for _, a, b, c, d in difflib.SequenceMatcher(None, *kinds, autojunk=False).get_opcodes():
        for left, right in zip_longest(range(a, b), range(c, d)):
            kind = kinds[0][left] if left is not None else kinds[1][right]
            pair = (texts[0][left] if left is not None else "", texts[1][right] if right is not None else "")
            rows.append((kind, *pair))
    names = (first, second if second != first else f"{second} (2)")
    table = pd.DataFrame(rows, columns=["what", *names])
    table.insert(0, "mark", ["*" if a != b else "" for _, a, b in rows])
    return table


def _output_shapes(network: AlexNet, batch_size: int) -> dict[str, tuple[int, ...]]:
    shapes = {}

    def record(name: str):  # a hook of its own for each name
        return lambda _layer, _inputs, output: shapes.__setitem__(name, tuple(output.shape))

    hooks = [
        layer.register_forward_post_hook(record(f"{block}.{index}")) for block, index, layer in layers(network)
    ]
    training = network.training
    network.eval()
    try:
        with paddle.no_grad():
            network(paddle.zeros([batch_size, 3, network.image_size, network.image_size]))
    finally:
        for hook in hooks:
            hook.remove()
        if training:
            network.train()
    return shapes


def _window(layer: nn.Layer) -> tuple[int, int]:
    """Side and stride of the square of pixels that a layer looks at."""
    if isinstance(layer, nn.Conv2D):
        return layer.weight.shape[2], layer._stride[0]
    if isinstance(layer, nn.MaxPool2D):
        return layer.ksize, layer.stride
    return (layer.size, 1) if isinstance(layer, LRN) and layer.within_channel else (1, 1)


def _arithmetic(layer: nn.Layer, elements: int) -> tuple[int, int]:
    """MACs and FLOPs that a number of output elements takes."""
    if isinstance(layer, nn.Conv2D):
        macs = elements * math.prod(layer.weight.shape[1:])  # [out, in / groups, k, k]
        return macs, 2 * macs
    if isinstance(layer, nn.Linear):
        macs = elements * layer.weight.shape[0]  # [in, out]
        return macs, 2 * macs
    if isinstance(layer, nn.MaxPool2D):
        return 0, elements * (layer.ksize**2 - 1)
    if isinstance(layer, LRN):
        return 0, elements * ((layer.size**2 if layer.within_channel else layer.size) + 4)
    return 0, elements if isinstance(layer, nn.ReLU) else 0


def _lrn_constants(table: Preset) -> str:
    stages = (stage for stages in table.blocks.values() for stage in stages)
    return "; ".join(dict.fromkeys(_lrn(stage) for stage in stages if isinstance(stage, presets.LRN))) or "none"


def _lrn(stage: presets.LRN) -> str:
    kind = "within channel, " if stage.within_channel else f"{stage.groups} columns, " if stage.groups > 1 else ""
    return f"{kind}n {stage.size}, α {stage.alpha:g}{'/n' if stage.average else ''}, β {stage.beta:g}, k {stage.k:g}"


def _stage(stage: Stage, init: str, row: dict) -> str:
    """A stage in words, with its output shape; std and bias only where the rule for weights heeds them."""
    text = type(stage).__name__
    if isinstance(stage, presets.Conv):
        padding = "/".join(map(str, stage.padding)) if isinstance(stage.padding, tuple) else stage.padding
        text = f"{stage.out_channels}, {stage.kernel_size}/{stage.stride}/{padding} g{stage.groups}"
    elif isinstance(stage, presets.Linear):
        text = f"{stage.in_features} → {row['output_shape'][-1]}"
    elif isinstance(stage, presets.LRN):
        text = _lrn(stage)
    elif isinstance(stage, presets.MaxPool):
        text = f"{stage.kernel_size}/{stage.stride}/{stage.padding}"
    elif isinstance(stage, presets.Dropout):
        text = f"p {stage.p:g}"
    if isinstance(stage, (presets.Conv, presets.Linear)) and init in ("normal", "truncated_normal"):
        text += f", std {stage.std:g}, bias {stage.bias:g}"
    return f"{text} → {'×'.join(map(str, row['output_shape'][1:]))}"
