"""AlexNet: one Layer that builds any preset as numbered blocks."""

from collections.abc import Sequence
from math import sqrt
from typing import Any, Optional

import paddle
from paddle import nn
from paddle.nn import initializer

from paddle_alexnet.errors import UserError
from paddle_alexnet.names import one_of
from paddle_alexnet.network import presets
from paddle_alexnet.network.lrn import LRN, choose_backend
from paddle_alexnet.network.presets import PRESETS, Stage
from paddle_alexnet.network.spec import ModelSpec


class AlexNet(nn.Layer):
    """AlexNet by name of preset: image [N, 3, S, S] float32 to logits [N, num_classes].

    S is `image_size`, 227 for the default preset. `num_classes` of None is the preset's own number.
    Every ReLU and pool is a layer of its own in a numbered block, so that `paddle.summary` shows
    the structure. `quirks` are the named departures of the articles' code, see `Preset.quirks`.

    Raises UserError for an unknown preset, LRN backend or quirk.
    """

    def __init__(
        self,
        preset: str = "paddle2",
        num_classes: Optional[int] = None,
        lrn: str = "avgpool3d",
        *,
        quirks: Sequence[str] = (),
    ) -> None:
        super().__init__()
        table = PRESETS[one_of(preset, PRESETS, what="preset")]
        for quirk in quirks:
            if quirk not in table.quirks:
                known = ", ".join(sorted(table.quirks)) or "none"
                raise UserError(f"preset {preset} has no quirk {quirk!r}; it has: {known}")
        self.preset = preset
        self.image_size = table.image_size
        self.num_classes = table.num_classes if num_classes is None else num_classes
        self.lrn = choose_backend(lrn)
        if not any(isinstance(stage, presets.LRN) for stages in table.blocks.values() for stage in stages):
            self.lrn = "none"
        elif "lrn_exclusive" in quirks and lrn == "auto":
            self.lrn = "avgpool3d"  # the only one that has the quirk
        self.quirks = tuple(quirks)
        self.spec = ModelSpec(preset, self.num_classes, self.lrn, self.quirks)

        channels = 3
        for name, stages in table.blocks.items():
            layers = []
            for stage in stages:
                if isinstance(stage, presets.LRN) and self.lrn == "none":
                    continue
                layers.append(self._build(stage, channels, table.init))
                channels = getattr(stage, "out_channels", channels)
            self.add_sublayer(name, nn.Sequential(*layers))
        self._path = [name for name in table.blocks if not (name == "block7" and "dead_fc2" in quirks)]

    @classmethod
    def build(cls, spec: ModelSpec) -> "AlexNet":
        """The network that a spec describes."""
        return cls(spec.preset, spec.num_classes, spec.lrn, quirks=spec.quirks)

    def forward(self, image: paddle.Tensor) -> paddle.Tensor:
        x = image
        for name in self._path:
            x = self._sub_layers[name](x)
        return x

    def _build(self, stage: Stage, channels: int, init: str) -> nn.Layer:
        if isinstance(stage, presets.Conv):
            fan_in = channels // stage.groups * stage.kernel_size**2
            return nn.Conv2D(
                channels,
                stage.out_channels,
                stage.kernel_size,
                stride=stage.stride,
                padding=list(stage.padding) if isinstance(stage.padding, tuple) else stage.padding,
                groups=stage.groups,
                **_initializers(init, stage, fan_in),
            )
        if isinstance(stage, presets.Linear):
            out_features = self.num_classes if stage.out_features is None else stage.out_features
            return nn.Linear(stage.in_features, out_features, **_initializers(init, stage, stage.in_features))
        if isinstance(stage, presets.LRN):
            exclusive = "lrn_exclusive" in self.quirks
            return LRN(**vars(stage), exclusive=exclusive, channels=channels, backend=self.lrn)
        if isinstance(stage, presets.MaxPool):
            return nn.MaxPool2D(stage.kernel_size, stride=stage.stride, padding=stage.padding)
        if isinstance(stage, presets.Dropout):
            return nn.Dropout(stage.p)
        return nn.Flatten() if isinstance(stage, presets.Flatten) else nn.ReLU()


def _initializers(init: str, stage: Any, fan_in: int) -> dict[str, Any]:
    """Attributes for the weight and the bias of a layer.

    `paddle` leaves both to Paddle (convolution: normal with variance 2 / fan_in; linear: Xavier
    uniform; bias 0). `torch` is PyTorch's default, uniform within 1 / sqrt(fan_in), biases included.
    `normal` and `truncated_normal` take the table's std and bias.
    """
    if init == "paddle":
        return {}
    if init == "torch":
        bound = 1 / sqrt(fan_in)
        weight, bias = initializer.Uniform(-bound, bound), initializer.Uniform(-bound, bound)
    else:
        normal = initializer.Normal if init == "normal" else initializer.TruncatedNormal
        weight, bias = normal(0.0, stage.std), initializer.Constant(stage.bias)
    return {
        "weight_attr": paddle.ParamAttr(initializer=weight),
        "bias_attr": paddle.ParamAttr(initializer=bias),
    }
