"""AlexNet, one Layer that builds any preset."""

from collections.abc import Iterator, Sequence
from math import sqrt
from typing import Any, Optional, Union

import paddle
from paddle import nn
from paddle.nn import initializer

from paddle_alexnet.config.choices import one_of
from paddle_alexnet.network import presets
from paddle_alexnet.network.kernels.forward import can_compute, choose_kernels, compiled_forward
from paddle_alexnet.network.lrn import LRN, PADDLE_MAJOR, choose_backend
from paddle_alexnet.network.presets import ABLATIONS, PRESETS, ModelSpec, NamedStage, Stage, ablated, walk
from paddle_alexnet.system.errors import UserError


class AlexNet(nn.Layer):
    """AlexNet: image [N, 3, S, S] float32 to logits [N, num_classes]; S is `image_size`, 227 by default.

    Args:
        preset: Name of the network in `PRESETS`.
        num_classes: Number of classes; default the preset's.
        lrn: Backend of local response normalization, see `lrn.py`; `auto` is the fastest.
        quirks: Deviations of the original code to reproduce (`Preset.quirks`), and ablations (`ABLATIONS`).
        kernels: `paddle`, `compiled` or `auto`, see `kernels/forward.py`; weights and structure do not depend on them.

    The defaults of `lrn` and `kernels` are Paddle's own layers, so that `paddle.summary(AlexNet())` lists the layers of
    the preset's source (AvgPool3D-1, LRN-1). Recipes default to `auto`, the fastest that computes the same.

    Raises:
        UserError: The preset, backend or a quirk is unknown, or the kernels are not built.
    """

    def __init__(
        self,
        preset: str = "paddle2",
        num_classes: Optional[int] = None,
        lrn: str = "avgpool3d",
        *,
        quirks: Sequence[str] = (),
        kernels: str = "paddle",
    ) -> None:
        super().__init__()
        lrn_backend = choose_backend(lrn)
        table = PRESETS[one_of(preset, PRESETS, what="preset")]
        for quirk in quirks:
            if quirk not in {*table.quirks, *ABLATIONS}:
                known = ", ".join(sorted(table.quirks)) or "none"
                raise UserError(
                    f"preset {preset} has no quirk {quirk!r}; choose from: {known}; or from: {', '.join(ABLATIONS)}"
                )
        table = ablated(table, quirks)
        self.preset = preset
        self.image_size = table.image_size
        self.num_classes = table.num_classes if num_classes is None else num_classes
        self.lrn = lrn_backend
        self.kernels = choose_kernels(kernels)
        if not any(isinstance(stage, presets.LRN) for *_, stage in walk(table)):
            self.lrn = "none"
        elif "lrn_exclusive" in quirks and lrn == "auto":
            self.lrn = "avgpool3d"  # the only backend with the quirk
        self.quirks = tuple(quirks)
        self.spec = ModelSpec(preset, self.num_classes, self.lrn, self.quirks)

        self.stages = walk(table, lrn=self.lrn != "none")
        channels, blocks = 3, dict[str, list[nn.Layer]]()
        for _, block, _, stage in self.stages:
            blocks.setdefault(block, []).append(self._build(stage, channels, table.init))
            channels = getattr(stage, "out_channels", channels)
        for block, layers in blocks.items():
            self.add_sublayer(block, nn.Sequential(*layers))
        self._path = [block for block in table.blocks if not (block == "block7" and "dead_fc2" in quirks)]

    @classmethod
    def build(cls, spec: ModelSpec) -> "AlexNet":
        """Build the network of a spec."""
        return cls(spec.preset, spec.num_classes, spec.lrn, quirks=spec.quirks)

    def forward(self, image: paddle.Tensor) -> paddle.Tensor:
        if self.kernels == "compiled" and can_compute(self, image):
            return compiled_forward([(named.stage, layer) for named, layer in self.computing_layers()], image)
        x = image
        for name in self._path:
            x = self._sub_layers[name](x)
        return x

    def named_layers(self) -> Iterator[tuple[NamedStage, nn.Layer]]:
        """Yield the stages in forward order, each with its layer."""
        for stage in self.stages:
            yield stage, self._sub_layers[stage.block][stage.position]

    def weights_and_biases(self) -> Iterator[tuple[str, paddle.Tensor]]:
        """Yield the parameters with their names in a recipe: conv1.weight, conv1.bias, …, fc8.bias."""
        for stage, layer in self.named_layers():
            for name, parameter in layer.named_parameters(include_sublayers=False):
                yield f"{stage.name}.{name}", parameter

    def computing_layers(self) -> Iterator[tuple[NamedStage, nn.Layer]]:
        """Return the `named_layers` that `forward` calls: all, except with the quirk `dead_fc2`."""
        return ((named, layer) for named, layer in self.named_layers() if named.block in self._path)

    def _build(self, stage: Stage, channels: int, rule: str) -> nn.Layer:
        """Return the layer of a stage with `channels` input channels, initialized by the preset's rule."""
        if isinstance(stage, presets.Conv):
            return nn.Conv2D(
                channels,
                stage.out_channels,
                stage.kernel_size,
                stride=stage.stride,
                padding=list(stage.padding) if isinstance(stage.padding, tuple) else stage.padding,
                groups=stage.groups,
                **_initial_attributes(rule, stage, channels),
            )
        if isinstance(stage, presets.Linear):
            out_features = self.num_classes if stage.out_features is None else stage.out_features
            return nn.Linear(stage.in_features, out_features, **_initial_attributes(rule, stage, channels))
        if isinstance(stage, presets.LRN):
            exclusive = "lrn_exclusive" in self.quirks
            return LRN(**vars(stage), exclusive=exclusive, channels=channels, backend=self.lrn)
        if isinstance(stage, presets.MaxPool):
            return nn.MaxPool2D(stage.kernel_size, stride=stage.stride, padding=stage.padding)
        if isinstance(stage, presets.Dropout):
            return nn.Dropout(stage.p, mode=stage.mode)
        return nn.Flatten() if isinstance(stage, presets.Flatten) else nn.ReLU()


def alexnet(num_classes: int = 1000, preset: str = "owt", **options: Any) -> AlexNet:
    """Return an untrained AlexNet, by default the one of torchvision and `paddle.vision`.

    Args:
        options: Further parameters of `AlexNet`.
    """
    return AlexNet(preset, num_classes, **options)


def _initial_attributes(rule: str, stage: Union[presets.Conv, presets.Linear], channels: int) -> dict[str, Any]:
    """Return Paddle's `weight_attr` and `bias_attr` for a convolution or linear layer.

    Args:
        rule: One of
            `paddle`: Paddle's defaults. Convolutions: normal with variance 2 / (channels k²). The variance counts all
            input channels, although a filter of a grouped convolution sees only a part of them: in conv2 of `paddle2`
            the std is 0.0289, not 0.0408. Linear layers: Xavier uniform. Biases: 0.
            `torch`: PyTorch's defaults, uniform within ±1 / sqrt(fan_in), for the channels that a filter sees.
            `normal` and `truncated_normal` (cut at two std, as in TensorFlow): the stage's std, else Xavier uniform,
            and the stage's constant bias.
        channels: Number of input channels of a convolution.
    """
    if rule == "paddle":
        return {}
    if rule == "torch":
        fan_in = (
            channels // stage.groups * stage.kernel_size**2 if isinstance(stage, presets.Conv) else stage.in_features
        )
        bound = 1 / sqrt(fan_in)
        weight, bias = initializer.Uniform(-bound, bound), initializer.Uniform(-bound, bound)
    else:
        if stage.std is None:
            weight = initializer.XavierUniform()
        else:
            weight = initializer.Normal(0.0, stage.std) if rule == "normal" else _truncated_normal(stage.std)
        bias = initializer.Constant(stage.bias)
    return {
        "weight_attr": paddle.ParamAttr(initializer=weight),
        "bias_attr": paddle.ParamAttr(initializer=bias),
    }


def _truncated_normal(std: float) -> initializer.Initializer:
    if PADDLE_MAJOR < 3:  # always cuts at two std
        return initializer.TruncatedNormal(0.0, std)
    return initializer.TruncatedNormal(0.0, std, a=-2 * std, b=2 * std)
