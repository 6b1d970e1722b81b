"""Summaries and comparisons of networks: shapes, parameters, FLOPs and receptive fields of the layers.

`HOW_COUNTED` defines the FLOPs of a forward pass in evaluation mode. They follow from the formulas, not from the
backends; the neighbors + 4 of LRN are a square, the sum, a scale, an offset, a power and a division.
"""

import difflib
import math
from collections.abc import Iterable, Mapping
from functools import partial
from itertools import zip_longest
from typing import Any, Optional

import paddle
import pandas as pd
from paddle import nn

from paddle_alexnet.network import presets
from paddle_alexnet.network.alexnet import AlexNet
from paddle_alexnet.network.lrn import LRN
from paddle_alexnet.network.presets import PRESETS, Preset, Stage, walk
from paddle_alexnet.system.errors import UserError

HOW_COUNTED = (
    "FLOPs: 2 per multiply-accumulate (MAC) of a convolution or linear layer, without the bias; 1 per ReLU\n"
    "element; window - 1 per max-pool output; neighbors + 4 per LRN output. Field: side of the receptive field\n"
    "in input pixels, the whole image from the first linear layer on; jump: input pixels between outputs."
)


def describe(network: AlexNet, batch_size: int = 1) -> pd.DataFrame:
    """Summarize the layers by a forward pass of zeros.

    Returns:
        A row per layer. Columns: block, layer (`conv1`), type, output_shape, parameters, share (% of all parameters),
        macs and flops (of the batch), receptive_field and jump (input pixels). A layer that a quirk skips has no shape
        and no FLOPs.

    Raises:
        UserError: The batch size is less than 1.
    """
    if batch_size < 1:
        raise UserError(f"batch size {batch_size}: must be at least 1; choose another")
    shapes = _output_shapes(network, batch_size)
    total = sum(math.prod(parameter.shape) for parameter in network.parameters())
    rows = []
    field, jump = 1, 1
    whole_image = False  # is the receptive field from the first linear layer on
    for (name, block, _, _), layer in network.named_layers():
        shape = shapes.get(name)
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
    """Return the table of `describe` as text, with a subtotal per block and a total."""
    sums = ["parameters", "share", "macs", "flops"]
    lines = []
    for block, rows in table.groupby("block", sort=False):
        lines += [_line(row) for row in rows.to_dict("records")]
        if len(rows) > 1:
            lines.append(_line({"layer": block, "type": "subtotal", "output_shape": (), **rows[sums].sum()}))
    lines.append(_line({"layer": "network", "type": "total", "output_shape": (), **table[sums].sum()}))
    return f"{format_columns(pd.DataFrame(lines), left=3)}\n{HOW_COUNTED}"


def compare(first: str, second: str, *, num_classes: Optional[int] = None) -> pd.DataFrame:
    """Compare two presets: first the whole networks, then their stages, aligned by name.

    Returns:
        A table with the columns mark (`*` for a difference), what, and the names of the two presets.

    Raises:
        UserError: A preset is unknown.
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
        ("parameters", *(f"{frame['parameters'].sum():,}" for frame in described)),
        ("MACs", *(f"{frame['macs'].sum():,}" for frame in described)),
    ]
    ours, theirs = (_named_texts(table, frame["output_shape"]) for table, frame in zip(tables, described))
    names = [[name for name, _ in stages] for stages in (ours, theirs)]
    for _, a, b, c, d in difflib.SequenceMatcher(a=names[0], b=names[1]).get_opcodes():
        for left, right in zip_longest(ours[a:b], theirs[c:d], fillvalue=("", "-")):
            rows.append((" / ".join(dict.fromkeys(filter(None, (left[0], right[0])))), left[1], right[1]))
    marked = [("*" if left != right else "", what, left, right) for what, left, right in rows]
    return pd.DataFrame(marked, columns=["mark", "what", first, second])


def format_comparison(table: pd.DataFrame) -> str:
    """Return the table of `compare` as text."""
    return format_columns(table.rename(columns={"mark": "", "what": ""}), left=4)


def format_columns(table: pd.DataFrame, *, left: int) -> str:
    """Return a table of strings as text, with the first `left` columns left-aligned and the others right-aligned."""
    rows = [list(table.columns), *table.to_numpy().tolist()]
    widths = [max(map(len, column)) for column in zip(*rows)]
    lines = (
        "  ".join(
            cell.ljust(width) if i < left else cell.rjust(width) for i, (cell, width) in enumerate(zip(row, widths))
        )
        for row in rows
    )
    return "\n".join(line.rstrip() for line in lines)


def _output_shapes(network: AlexNet, batch_size: int) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}

    def record(name: str, _layer: nn.Layer, _inputs: Any, output: paddle.Tensor) -> None:
        shapes[name] = tuple(output.shape)

    hooks = [layer.register_forward_post_hook(partial(record, stage.name)) for stage, layer in network.named_layers()]
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
    """Return the side and the stride of a layer's window."""
    if isinstance(layer, nn.Conv2D):
        return layer.weight.shape[2], layer._stride[0]
    if isinstance(layer, nn.MaxPool2D):
        return layer.ksize, layer.stride
    return (layer.size, 1) if isinstance(layer, LRN) and layer.within_channel else (1, 1)


def _arithmetic(layer: nn.Layer, elements: int) -> tuple[int, int]:
    """Return the MACs and FLOPs for a number of output elements."""
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


def _named_texts(table: Preset, shapes: Iterable[tuple[int, ...]]) -> list[tuple[str, str]]:
    return [(name, _stage(stage, table.init, shape)) for (name, *_, stage), shape in zip(walk(table), shapes)]


def _lrn_constants(table: Preset) -> str:
    stages = (stage for *_, stage in walk(table))
    return "; ".join(dict.fromkeys(_lrn(stage) for stage in stages if isinstance(stage, presets.LRN))) or "none"


def _lrn(stage: presets.LRN) -> str:
    kind = "within channel, " if stage.within_channel else f"{stage.groups} columns, " if stage.groups > 1 else ""
    return f"{kind}n {stage.size}, α {stage.alpha:g}{'/n' if stage.average else ''}, β {stage.beta:g}, k {stage.k:g}"


def _stage(stage: Stage, init: str, output_shape: tuple[int, ...]) -> str:
    """Return a stage as text, with its output shape, and with std and bias if the initialization uses them."""
    text = ""
    if isinstance(stage, presets.Conv):
        padding = ",".join(map(str, stage.padding)) if isinstance(stage.padding, tuple) else stage.padding
        text = f"{stage.out_channels}, {stage.kernel_size}/{stage.stride}/{padding}"
        text += f"/g{stage.groups}" if stage.groups > 1 else ""
    elif isinstance(stage, presets.LRN):
        text = _lrn(stage)
    elif isinstance(stage, presets.MaxPool):
        text = f"{stage.kernel_size}/{stage.stride}" + (f"/{stage.padding}" if stage.padding else "")
    elif isinstance(stage, presets.Dropout):
        text = f"{stage.p:g}, {stage.mode}"
    if isinstance(stage, (presets.Conv, presets.Linear)) and init in ("normal", "truncated_normal"):
        text += ", Xavier uniform" if stage.std is None else f", std {stage.std:g}"
        text += f", bias {stage.bias:g}"
    return f"{text} → {'×'.join(map(str, output_shape[1:]))}".removeprefix(", ").strip()


def _line(row: Mapping[Any, Any]) -> dict[str, str]:
    """Return a row of `describe`, or of its sums, as text."""
    shape, field, jump = row["output_shape"], row.get("receptive_field"), row.get("jump")
    return {
        "layer": row["layer"],
        "type": row["type"],
        "output shape": "not run" if shape is None else str(list(shape)) if shape else "",
        "parameters": f"{row['parameters']:,.0f}",
        "%": f"{row['share']:.2f}",
        "MACs": f"{row['macs']:,.0f}",
        "FLOPs": f"{row['flops']:,.0f}",
        "field": "" if field is None else str(field),
        "jump": "" if jump is None or pd.isna(jump) else str(jump),
    }
