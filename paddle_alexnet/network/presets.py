"""Presets: the networks as a table of data.

A preset is a sequence of named blocks, and a block is a sequence of stages, in forward order. To add a network, add an
entry to PRESETS. `walk` names the stages: conv1, relu1, lrn1, pool1, … conv5, … fc6, … fc8.

Shapes are [N, C, H, W]. A Linear's `out_features` of None is the number of classes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Callable, Literal, NamedTuple, Optional, Union

CEIL = (0, 3, 0, 3)  # top, bottom, left, right: 224 gives 55, as with the ceil of the 2012 code
Padding = Union[int, tuple[int, int, int, int], Literal["SAME"]]


@dataclass(frozen=True)
class Conv:
    """A convolution."""

    kind = "conv"
    out_channels: int
    kernel_size: int
    stride: int = 1
    padding: Padding = 0
    groups: int = 1
    std: Optional[float] = 0.01  # of normally distributed initial weights; None: Xavier uniform
    bias: float = 0.0


@dataclass(frozen=True)
class Linear:
    """A linear layer."""

    kind = "fc"
    in_features: int
    out_features: Optional[int]
    std: Optional[float] = 0.01
    bias: float = 0.0


@dataclass(frozen=True)
class ReLU:
    """A ReLU."""

    kind = "relu"


@dataclass(frozen=True)
class LRN:
    """Local response normalization, see `network.lrn.LRN`."""

    size: int = 5
    alpha: float = 1e-4
    beta: float = 0.75
    k: float = 1.0
    average: bool = True
    groups: int = 1
    within_channel: bool = False

    @property
    def kind(self) -> str:
        return "spatial_norm" if self.within_channel else "lrn"


@dataclass(frozen=True)
class MaxPool:
    """A max-pooling."""

    kind = "pool"
    kernel_size: int = 3
    stride: int = 2
    padding: Union[int, Literal["SAME"]] = 0


@dataclass(frozen=True)
class Flatten:
    """A reshape from [N, C, H, W] to [N, C·H·W]."""

    kind = "flatten"


@dataclass(frozen=True)
class Dropout:
    """Dropout with probability p.

    `upscale_in_train` multiplies the remaining inputs by 1 / (1 - p) in training. `downscale_in_infer` multiplies all
    inputs by 1 - p in evaluation (paper section 4.2).
    """

    kind = "dropout"
    p: float = 0.5
    mode: Literal["upscale_in_train", "downscale_in_infer"] = "upscale_in_train"


Stage = Union[Conv, Linear, ReLU, LRN, MaxPool, Flatten, Dropout]


@dataclass(frozen=True)
class Preset:
    """A network; `init` names the rule of `network/initialization.py`."""

    source: str
    image_size: int
    blocks: Mapping[str, tuple[Stage, ...]]
    num_classes: int = 1000
    init: Literal["paddle", "torch", "normal", "truncated_normal"] = "paddle"
    quirks: frozenset[str] = field(default_factory=frozenset)


class NamedStage(NamedTuple):
    """A stage and the place of its layer: `network.block2[0]` has the block `block2` and the position 0."""

    name: str
    block: str
    position: int
    stage: Stage


def walk(preset: Preset, *, lrn: bool = True) -> list[NamedStage]:
    """Return the stages in forward order; `lrn=False` omits the normalization.

    A name is the stage's kind and the number of the latest convolution or linear layer, as in Caffe: pool5 follows
    conv5, and fc6 is the first linear layer.
    """
    named, number = [], 0
    for block, stages in preset.blocks.items():
        for position, stage in enumerate(stage for stage in stages if lrn or not isinstance(stage, LRN)):
            number += isinstance(stage, (Conv, Linear))
            named.append(NamedStage(f"{stage.kind}{number}", block, position, stage))
    return named


_CAFFE_LRN = LRN(5, alpha=1e-4, beta=0.75, k=1.0)
_PAPER_LRN = LRN(5, alpha=1e-4, beta=0.75, k=2.0, average=False)
_TENSORFLOW_LRN = LRN(11, alpha=0.001 / 9, beta=0.75, k=1.0, average=False)
_OWT_LRN = LRN(5, alpha=1e-4, beta=0.75, k=2.0)
_COLUMN_LRN = LRN(5, alpha=1e-4, beta=0.75, k=2.0, groups=2)
_DROPOUT_OF_2012 = Dropout(mode="downscale_in_infer")
# In the layer files of run 145, this norm has no minDiv (k), whose default is 1; the other norms have 2.
_SPATIAL_NORM = LRN(5, alpha=0.001, beta=0.75, k=1.0, within_channel=True)

PRESETS: dict[str, Preset] = {
    "paddle2": Preset(
        source="article on AlexNet in Paddle 2.x, 2021: its code",
        image_size=227,
        blocks={
            "block1": (Conv(96, 11, stride=4), ReLU(), LRN(), MaxPool()),
            "block2": (Conv(256, 5, padding=2, groups=2), ReLU(), LRN(), MaxPool()),
            "block3": (Conv(384, 3, padding=1), ReLU()),
            "block4": (Conv(384, 3, padding=1), ReLU()),
            "block5": (Conv(256, 3, padding=1), ReLU(), MaxPool()),
            "block6": (Flatten(), Linear(9216, 4096), ReLU(), Dropout()),
            "block7": (Linear(4096, 4096), ReLU(), Dropout()),
            "out_fc": (Linear(4096, None),),
        },
        quirks=frozenset({"lrn_exclusive"}),
    ),
    "fluid": Preset(
        source="training script in Paddle fluid, 2020",
        image_size=227,
        num_classes=10,
        blocks={
            "block1": (Conv(96, 11, stride=4), ReLU(), MaxPool()),
            "block2": (Conv(256, 5, padding=2), ReLU(), MaxPool()),
            "block3": (Conv(384, 3, padding=1), ReLU()),
            "block4": (Conv(384, 3, padding=1), ReLU()),
            "block5": (Conv(256, 3, padding=1), ReLU(), MaxPool()),
            "block6": (Flatten(), Linear(9216, 4096), ReLU()),
            "block7": (Linear(4096, 4096), ReLU()),
            "out_fc": (Linear(4096, None),),
        },
        quirks=frozenset({"dead_fc2"}),
    ),
    "single": Preset(
        source="layer table of the article that holds the training script in Paddle fluid, 2020",
        image_size=224,
        blocks={
            "block1": (Conv(96, 11, stride=4, padding=2), ReLU(), LRN(), MaxPool()),
            "block2": (Conv(256, 5, padding=2), ReLU(), LRN(), MaxPool()),
            "block3": (Conv(384, 3, padding=1), ReLU()),
            "block4": (Conv(384, 3, padding=1), ReLU()),
            "block5": (Conv(256, 3, padding=1), ReLU(), MaxPool()),
            "block6": (Flatten(), Linear(9216, 4096), ReLU(), Dropout()),
            "block7": (Linear(4096, 4096), ReLU(), Dropout()),
            "out_fc": (Linear(4096, None),),
        },
        quirks=frozenset({"lrn_exclusive"}),
    ),
    "half": Preset(
        source="article on AlexNet in PyTorch, 2022",
        image_size=224,
        init="torch",
        blocks={
            "features": (
                *(Conv(48, 11, stride=4, padding=2), ReLU(), MaxPool()),
                *(Conv(128, 5, padding=2), ReLU(), MaxPool()),
                *(Conv(192, 3, padding=1), ReLU()),
                *(Conv(192, 3, padding=1), ReLU()),
                *(Conv(128, 3, padding=1), ReLU(), MaxPool()),
            ),
            "classifier": (
                *(Flatten(), Dropout(), Linear(4608, 2048), ReLU()),
                *(Dropout(), Linear(2048, 2048), ReLU()),
                Linear(2048, None),
            ),
        },
    ),
    "small": Preset(
        source="this project, for its demo set: paddle2 on smaller images, with a third of its filters or fewer",
        image_size=131,
        blocks={
            "block1": (Conv(32, 11, stride=4), ReLU(), LRN(), MaxPool()),
            "block2": (Conv(80, 5, padding=2, groups=2), ReLU(), LRN(), MaxPool()),
            "block3": (Conv(128, 3, padding=1), ReLU()),
            "block4": (Conv(128, 3, padding=1), ReLU()),
            "block5": (Conv(80, 3, padding=1), ReLU(), MaxPool()),
            "block6": (Flatten(), Linear(720, 512), ReLU(), Dropout(0.2)),
            "block7": (Linear(512, 512), ReLU(), Dropout(0.2)),
            "out_fc": (Linear(512, None),),
        },
    ),
    "tensorflow": Preset(
        source="TensorFlow's AlexNet benchmark, 2018",
        image_size=224,
        init="truncated_normal",
        blocks={
            "block1": (Conv(64, 11, stride=4, padding="SAME", std=0.1), ReLU(), _TENSORFLOW_LRN, MaxPool()),
            "block2": (Conv(192, 5, padding="SAME", std=0.1), ReLU(), _TENSORFLOW_LRN, MaxPool()),
            "block3": (Conv(384, 3, padding="SAME", std=0.1), ReLU()),
            "block4": (Conv(256, 3, padding="SAME", std=0.1), ReLU()),
            "block5": (Conv(256, 3, padding="SAME", std=0.1), ReLU(), MaxPool(padding="SAME")),
            "block6": (Flatten(), Linear(12544, 4096, std=0.1, bias=0.01), ReLU()),
            "block7": (Linear(4096, 4096, std=0.1, bias=0.01), ReLU()),
            "out_fc": (Linear(4096, None, std=0.1, bias=0.01), ReLU()),
        },
    ),
    "paper": Preset(
        source="Krizhevsky, Sutskever, Hinton 2012, sections 3 and 5",
        image_size=224,
        init="normal",
        blocks={
            "block1": (Conv(96, 11, stride=4, padding=CEIL), ReLU(), _PAPER_LRN, MaxPool()),
            "block2": (Conv(256, 5, padding=2, groups=2, bias=1), ReLU(), _PAPER_LRN, MaxPool()),
            "block3": (Conv(384, 3, padding=1), ReLU()),
            "block4": (Conv(384, 3, padding=1, groups=2, bias=1), ReLU()),
            "block5": (Conv(256, 3, padding=1, groups=2, bias=1), ReLU(), MaxPool()),
            "block6": (Flatten(), Linear(9216, 4096, bias=1), ReLU(), _DROPOUT_OF_2012),
            "block7": (Linear(4096, 4096, bias=1), ReLU(), _DROPOUT_OF_2012),
            "out_fc": (Linear(4096, None),),
        },
    ),
    "source145": Preset(
        source="run 145 of the code of 2012, released by the Computer History Museum",
        image_size=224,
        init="normal",
        blocks={
            "block1": (Conv(96, 11, stride=4, padding=CEIL), _COLUMN_LRN, MaxPool(), ReLU()),
            "block2": (
                Conv(256, 5, padding=2, groups=2, bias=1),
                ReLU(),
                _COLUMN_LRN,
                _SPATIAL_NORM,
                MaxPool(),
            ),
            "block3": (Conv(384, 3, padding=1, std=0.03), ReLU()),
            "block4": (Conv(384, 3, padding=1, groups=2, std=0.03, bias=1), ReLU()),
            "block5": (Conv(256, 3, padding=1, groups=2, std=0.03, bias=1), MaxPool(), ReLU()),
            "block6": (Flatten(), Linear(9216, 4096, bias=1), ReLU(), _DROPOUT_OF_2012),
            "block7": (Linear(4096, 4096, bias=1), ReLU(), _DROPOUT_OF_2012),
            "out_fc": (Linear(4096, None),),
        },
    ),
    "caffe": Preset(
        source="BVLC bvlc_alexnet",
        image_size=227,
        init="normal",
        blocks={
            "block1": (Conv(96, 11, stride=4), ReLU(), _CAFFE_LRN, MaxPool()),
            "block2": (Conv(256, 5, padding=2, groups=2, bias=0.1), ReLU(), _CAFFE_LRN, MaxPool()),
            "block3": (Conv(384, 3, padding=1), ReLU()),
            "block4": (Conv(384, 3, padding=1, groups=2, bias=0.1), ReLU()),
            "block5": (Conv(256, 3, padding=1, groups=2, bias=0.1), ReLU(), MaxPool()),
            "block6": (Flatten(), Linear(9216, 4096, std=0.005, bias=0.1), ReLU(), Dropout()),
            "block7": (Linear(4096, 4096, std=0.005, bias=0.1), ReLU(), Dropout()),
            "out_fc": (Linear(4096, None),),
        },
    ),
    "caffenet": Preset(
        source="BVLC bvlc_reference_caffenet",
        image_size=227,
        init="normal",
        blocks={
            "block1": (Conv(96, 11, stride=4), ReLU(), MaxPool(), _CAFFE_LRN),
            "block2": (Conv(256, 5, padding=2, groups=2, bias=1), ReLU(), MaxPool(), _CAFFE_LRN),
            "block3": (Conv(384, 3, padding=1), ReLU()),
            "block4": (Conv(384, 3, padding=1, groups=2, bias=1), ReLU()),
            "block5": (Conv(256, 3, padding=1, groups=2, bias=1), ReLU(), MaxPool()),
            "block6": (Flatten(), Linear(9216, 4096, std=0.005, bias=1), ReLU(), Dropout()),
            "block7": (Linear(4096, 4096, std=0.005, bias=1), ReLU(), Dropout()),
            "out_fc": (Linear(4096, None),),
        },
    ),
    "owt": Preset(
        source="Krizhevsky 2014, One weird trick, arXiv:1404.5997, as torchvision has it",
        image_size=224,
        init="torch",
        blocks={
            "features": (
                *(Conv(64, 11, stride=4, padding=2), ReLU(), MaxPool()),
                *(Conv(192, 5, padding=2), ReLU(), MaxPool()),
                *(Conv(384, 3, padding=1), ReLU()),
                *(Conv(256, 3, padding=1), ReLU()),
                *(Conv(256, 3, padding=1), ReLU(), MaxPool()),
            ),
            "classifier": (
                *(Flatten(), Dropout(), Linear(9216, 4096), ReLU()),
                *(Dropout(), Linear(4096, 4096), ReLU()),
                Linear(4096, None),
            ),
        },
    ),
    "owt2014": Preset(
        source="Krizhevsky 2014, One weird trick: cuda-convnet2, layers-imagenet-1gpu.cfg",
        image_size=224,
        init="normal",
        blocks={
            "block1": (Conv(64, 11, stride=4, padding=CEIL), _OWT_LRN, MaxPool(), ReLU()),
            "block2": (Conv(192, 5, padding=2, bias=1), ReLU(), _OWT_LRN, MaxPool()),
            "block3": (Conv(384, 3, padding=1, std=0.03), ReLU()),
            "block4": (Conv(256, 3, padding=1, std=0.03, bias=1), ReLU()),
            "block5": (Conv(256, 3, padding=1, std=0.03, bias=1), MaxPool(), ReLU()),
            "block6": (Flatten(), Linear(9216, 4096, bias=1), ReLU(), _DROPOUT_OF_2012),
            "block7": (Linear(4096, 4096, bias=1), ReLU(), _DROPOUT_OF_2012),
            # For 1000 logistic outputs, as in the paper: -7 is a probability of 1 / 1,097. Softmax ignores the bias.
            "out_fc": (Linear(4096, None, bias=-7),),
        },
    ),
    "slim": Preset(
        source="TF-slim, alexnet_v2; its fc6, a 5x5 convolution there, is a linear layer here",
        image_size=224,
        init="truncated_normal",
        blocks={
            "block1": (Conv(64, 11, stride=4, std=None, bias=0.1), ReLU(), MaxPool()),
            "block2": (Conv(192, 5, padding=2, std=None, bias=0.1), ReLU(), MaxPool()),
            "block3": (Conv(384, 3, padding=1, std=None, bias=0.1), ReLU()),
            "block4": (Conv(384, 3, padding=1, std=None, bias=0.1), ReLU()),
            "block5": (Conv(256, 3, padding=1, std=None, bias=0.1), ReLU(), MaxPool()),
            "block6": (Flatten(), Linear(6400, 4096, std=0.005, bias=0.1), ReLU(), Dropout()),
            "block7": (Linear(4096, 4096, std=0.005, bias=0.1), ReLU(), Dropout()),
            "out_fc": (Linear(4096, None, std=0.005),),
        },
    ),
    "d2l": Preset(
        source="Dive into Deep Learning, AlexNet: its PyTorch and JAX code (the other two pad conv1 by 0), for color",
        image_size=224,
        init="torch",  # the code's Xavier initialization does not reach its lazy layers
        blocks={
            "block1": (Conv(96, 11, stride=4, padding=1), ReLU(), MaxPool()),
            "block2": (Conv(256, 5, padding=2), ReLU(), MaxPool()),
            "block3": (Conv(384, 3, padding=1), ReLU()),
            "block4": (Conv(384, 3, padding=1), ReLU()),
            "block5": (Conv(256, 3, padding=1), ReLU(), MaxPool()),
            "block6": (Flatten(), Linear(6400, 4096), ReLU(), Dropout()),
            "block7": (Linear(4096, 4096), ReLU(), Dropout()),
            "out_fc": (Linear(4096, None),),
        },
    ),
}


@dataclass(frozen=True)
class ModelSpec:
    """The arguments of an `AlexNet`; `num_classes` of None is the preset's."""

    preset: str = "paddle2"
    num_classes: Optional[int] = None
    lrn: str = "avgpool3d"
    quirks: tuple[str, ...] = ()


def _no_overlap(stage: Stage) -> Stage:
    """Replace overlapping pooling, 3×3 with stride 2, by 2×2."""
    return replace(stage, kernel_size=stage.stride) if isinstance(stage, MaxPool) else stage


def _no_dropout(stage: Stage) -> Stage:
    return replace(stage, p=0.0) if isinstance(stage, Dropout) else stage


def _one_column(stage: Stage) -> Stage:
    return replace(stage, groups=1) if isinstance(stage, (Conv, LRN)) else stage


ABLATIONS: dict[str, Callable[[Stage], Stage]] = {
    "no_overlap": _no_overlap,
    "no_dropout": _no_dropout,
    "one_column": _one_column,
}


def ablated(preset: Preset, quirks: Sequence[str]) -> Preset:
    """Return `preset` with the ablations in `quirks` applied."""
    for quirk in quirks:
        if change := ABLATIONS.get(quirk):
            preset = replace(preset, blocks={name: tuple(map(change, part)) for name, part in preset.blocks.items()})
    return preset


def padding_of(stage: Union[Conv, MaxPool], size: int) -> list[int]:
    """Return the padding of S×S planes: left, right, top, bottom."""
    padding: Padding = stage.padding
    if isinstance(padding, int):
        return [padding] * 4
    if isinstance(padding, tuple):
        top, bottom, left, right = padding
        return [left, right, top, bottom]
    outputs = -(-size // stage.stride)  # SAME: an odd pixel is added at the right and the bottom
    total = max(0, (outputs - 1) * stage.stride + stage.kernel_size - size)
    return [total // 2, total - total // 2] * 2


def side_after(stage: Union[Conv, MaxPool], size: int) -> int:
    """Return the side of the output planes for S×S input planes."""
    left, right, _, _ = padding_of(stage, size)
    return (size + left + right - stage.kernel_size) // stage.stride + 1


def list_presets() -> list[str]:
    """Return the names of the presets."""
    return list(PRESETS)
