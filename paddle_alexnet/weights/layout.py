"""Weight layouts of the frameworks, and their conversion.

The ordered list `layers(preset)` and a framework's `Layout` define a conversion; a file's names only give the order.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Optional

import numpy as np

from paddle_alexnet.config.choices import one_of
from paddle_alexnet.network.presets import PRESETS, Conv, Dropout, Flatten, Linear, walk
from paddle_alexnet.system.errors import UserError

Shape = tuple[Optional[int], ...]  # None stands for the number of classes


@dataclass(frozen=True)
class Layout:
    """A framework's differences from Paddle's layout, the default."""

    channels_last: bool = False  # kernels are [k, k, in, out], not [out, in, k, k]; fc6 reads (H, W, C)
    out_first: bool = False  # matrices are [out, in], not [in, out]
    bgr: bool = False  # conv1 reads blue, green, red
    halves_after_dropout: Optional[bool] = False  # dropout scales at inference, not in training; None: by the preset
    preset: Optional[str] = None  # usual network of its files


LAYOUTS = {
    "paddle": Layout(halves_after_dropout=None),  # this package
    "paddleclas": Layout(halves_after_dropout=True, preset="owt"),  # and paddle.vision.models.alexnet
    "torch": Layout(out_first=True),
    "keras": Layout(channels_last=True),
    "tensorflow": Layout(channels_last=True),
    "caffe": Layout(out_first=True, bgr=True),
    "caffe-tensorflow": Layout(channels_last=True, bgr=True),  # bvlc_alexnet.npy
}


@dataclass(frozen=True)
class Layer:
    """A layer with weights: conv1 … conv5, fc6 … fc8."""

    name: str
    key: str  # in our network
    torch_key: str  # in PyTorch's
    shape: Shape  # of the weight in Paddle, [out, in / groups, k, k] or [in, out]
    flattened: Optional[tuple[int, int, int]] = None  # (C, H, W) of a flattened input
    after_dropout: bool = False
    halved: bool = False  # by this dropout at inference


@dataclass(frozen=True)
class Weights:
    """A layer of a file."""

    name: str
    weight: np.ndarray  # with Paddle's axes
    bias: np.ndarray  # [out]


def layers(preset: str) -> list[Layer]:
    """Return the layers of a preset that have weights, in forward order."""
    found: list[Layer] = []
    channels, flattened, after_dropout, halved, unnumbered = 3, False, False, False, 0
    for name, block, position, stage in walk(PRESETS[preset]):
        image = None
        # PyTorch's `classifier` has no Flatten; `forward` flattens.
        unnumbered = 0 if position == 0 else unnumbered
        unnumbered += isinstance(stage, Flatten) and block == "classifier"
        flattened |= isinstance(stage, Flatten)
        if isinstance(stage, Dropout):
            after_dropout, halved = True, stage.mode == "downscale_in_infer"
        if isinstance(stage, Conv):
            shape: Shape = (stage.out_channels, channels // stage.groups, stage.kernel_size, stage.kernel_size)
            channels = stage.out_channels
        elif isinstance(stage, Linear):
            shape = (stage.in_features, stage.out_features)
            if flattened:
                side = math.isqrt(stage.in_features // channels)
                image = (channels, side, side)
        else:
            continue
        key, torch_key = f"{block}.{position}", f"{block}.{position - unnumbered}"
        found.append(Layer(name, key, torch_key, shape, image, after_dropout, halved))
        flattened = after_dropout = halved = False
    return found


def pair(arrays: Mapping[str, np.ndarray], layout: Layout, *, source: str) -> list[Weights]:
    """Pair the weights and biases of a file in the natural order of their names (conv2 before conv10).

    Raises:
        UserError: The numbers of weights and biases differ.
    """
    names = sorted(arrays, key=lambda name: [int(s) if s.isdigit() else s for s in re.split(r"(\d+)", name)])
    weights = [name for name in names if arrays[name].ndim in (2, 4)]
    biases = [name for name in names if arrays[name].ndim == 1]
    if not weights or len(weights) != len(biases):
        raise UserError(
            f"{source}: has {len(weights)} weights and {len(biases)} biases, an AlexNet 8 and 8; "
            "save only the network's weights"
        )
    return [Weights(w, _axes_to_paddle(arrays[w], layout), arrays[b]) for w, b in zip(weights, biases)]


def fitting_presets(weights: Sequence[Weights]) -> list[str]:
    """Return the presets whose shapes match for any number of classes."""
    return [preset for preset in PRESETS if _arrange(weights, preset) is not None]


def choose_preset(
    weights: Sequence[Weights], preset: Optional[str] = None, *, source: str, usual: Optional[str] = None
) -> str:
    """Return the requested preset, or the only match.

    Among several matches, the `usual` preset wins, or the one whose layers have the file's names.

    Raises:
        UserError: The preset does not match (the message lists every layer that differs), or several match equally.
    """
    if preset is not None:
        one_of(preset, PRESETS, what="preset")
    fitting = fitting_presets(weights)
    if preset in fitting:
        return preset
    if preset is None and fitting:
        likely = (
            fitting if len(fitting) == 1 else [name for name in fitting if name == usual or _is_named(weights, name)]
        )
        if len(likely) == 1:
            return likely[0]
        raise UserError(f"{source}: matches the presets {', '.join(fitting)} equally; choose one as preset")
    faults = {name: _faults(weights, name) for name in PRESETS}
    nearest = preset or min(faults, key=lambda name: len(faults[name]))
    advice = f"choose {', '.join(fitting)} as preset" if fitting else "no preset matches, choose another file"
    raise UserError(
        f"{source}: does not match preset {nearest}: {'; '.join(faults[nearest])} (Paddle's shapes); {advice}"
    )


def _is_named(weights: Sequence[Weights], preset: str) -> bool:
    """Return whether the names are the preset's, in our network or in PyTorch's."""
    names, expected = {item.name for item in weights}, layers(preset)
    return names in ({f"{layer.key}.weight" for layer in expected}, {f"{layer.torch_key}.weight" for layer in expected})


def to_state(weights: Sequence[Weights], preset: str, layout: Layout) -> dict[str, np.ndarray]:
    """Return the weights, which must match the preset, as our network's state dict, float32."""
    arranged = _arrange(weights, preset)
    assert arranged is not None, "choose_preset comes first"
    state = {}
    for layer, item in arranged:
        weight = item.weight
        if weight.ndim > len(layer.shape):  # a convolution over its whole input: TF-slim's fc6, fc7, fc8
            weight = weight.reshape(len(weight), -1).T
        elif layer.flattened and layout.channels_last:
            channels, height, width = layer.flattened
            rows = weight.reshape(height, width, channels, -1)
            weight = rows.transpose(2, 0, 1, 3).reshape(weight.shape)  # (H, W, C) to (C, H, W)
        if layer.name == "conv1" and layout.bgr:
            weight = weight[:, ::-1]
        weight = weight * dropout_factor(layer, layout)
        with np.errstate(over="ignore"):  # `check_finite` refuses infinity
            state[f"{layer.key}.weight"] = np.ascontiguousarray(weight, np.float32)
            state[f"{layer.key}.bias"] = np.ascontiguousarray(item.bias, np.float32)
    return state


def check_finite(state: Mapping[str, np.ndarray], preset: str, *, source: str) -> None:
    """Raise UserError that names every layer with NaN or infinity."""
    faults = [
        f"{layer.name} has {count} of {array.size} in its {part}"
        for layer in layers(preset)
        for part in ("weight", "bias")
        if (count := int((~np.isfinite(array := state[f"{layer.key}.{part}"])).sum()))
    ]
    if faults:
        raise UserError(
            f"{source}: has NaN or infinity, as after diverged training: {', '.join(faults)}; choose earlier weights"
        )


def from_state(
    state: Mapping[str, np.ndarray], preset: str, layout: Layout
) -> dict[Layer, tuple[np.ndarray, np.ndarray]]:
    """Return weight and bias by layer in a framework's layout; the inverse of `to_state`."""
    out = {}
    for layer in layers(preset):
        weight = state[f"{layer.key}.weight"]
        if layer.flattened and layout.channels_last:
            image = weight.reshape(*layer.flattened, -1)
            weight = image.transpose(1, 2, 0, 3).reshape(weight.shape)  # (C, H, W) to (H, W, C)
        weight = weight / np.float32(dropout_factor(layer, layout))
        out[layer] = np.ascontiguousarray(_axes_from_paddle(weight, layout)), state[f"{layer.key}.bias"]
    return out


def dropout_factor(layer: Layer, layout: Layout) -> float:
    """Return the factor from a framework's weights to ours, which differ if dropout scales at another time."""
    if not layer.after_dropout or layout.halves_after_dropout in (None, layer.halved):
        return 1
    return 2 if layer.halved else 0.5


def _axes_to_paddle(weight: np.ndarray, layout: Layout) -> np.ndarray:
    if weight.ndim == 4:
        return weight.transpose(3, 2, 0, 1) if layout.channels_last else weight
    return weight.T if layout.out_first else weight


def _axes_from_paddle(weight: np.ndarray, layout: Layout) -> np.ndarray:
    if weight.ndim == 4:
        return weight.transpose(2, 3, 1, 0) if layout.channels_last else weight
    return weight.T if layout.out_first else weight


def _arrange(weights: Sequence[Weights], preset: str) -> Optional[list[tuple[Layer, Weights]]]:
    """Return each layer of the preset with the file's layer of the same shape, or None without a match.

    Only fc7 and fc8 can have equal shapes, if the classes are as many as the neurons; then the file's order decides.
    """
    left, arranged = list(weights), []
    for layer in layers(preset):
        match = next((i for i, item in enumerate(left) if not _fault(layer, item)), None)
        if match is None:
            return None
        arranged.append((layer, left.pop(match)))
    return None if left else arranged


def _faults(weights: Sequence[Weights], preset: str) -> list[str]:
    """Return the differences layer by layer, separately for convolutions and linear layers."""
    faults = []
    for ndim in (4, 2):
        expected = [layer for layer in layers(preset) if len(layer.shape) == ndim]
        found = [item for item in weights if item.weight.ndim == ndim]
        faults += [_fault(layer, item) for layer, item in zip_longest(expected, found)]
    return [fault for fault in faults if fault]


def _fault(layer: Optional[Layer], item: Optional[Weights]) -> str:
    if layer is None:
        assert item is not None
        return f"{item.name} is {_text(item.weight.shape)}, must be absent"
    if item is None:
        return f"{layer.name} is missing, must be {_text(layer.shape)}"
    shape = item.weight.shape
    if len(shape) == 4 and len(layer.shape) == 2:  # a convolution over its whole input
        shape = (math.prod(shape[1:]), shape[0])
    if len(shape) != len(layer.shape) or any(e not in (None, s) for e, s in zip(layer.shape, shape)):
        return f"{layer.name} ({item.name}) is {_text(shape)}, must be {_text(layer.shape)}"
    out = shape[0] if len(shape) == 4 else shape[1]
    if len(item.bias) != out:
        return f"{layer.name} ({item.name}) has a bias of {len(item.bias)}, must be {out}"
    return ""


def _text(shape: Shape) -> str:
    return "×".join("classes" if size is None else str(size) for size in shape)
