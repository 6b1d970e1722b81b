"""PyTorch equivalents of networks, for comparison."""

import importlib
import math
from typing import Any

import numpy as np

from paddle_alexnet.benchmark.runner import PASSES, Runner, nothing
from paddle_alexnet.config.schema import OptimizerConfig
from paddle_alexnet.network import presets
from paddle_alexnet.network.alexnet import AlexNet
from paddle_alexnet.network.presets import padding_of
from paddle_alexnet.network.structure import describe
from paddle_alexnet.system.errors import UserError
from paddle_alexnet.system.limits import computing_threads


def torch_runner(
    network: AlexNet, image: np.ndarray, label: np.ndarray, config: OptimizerConfig, device: str
) -> Runner:
    """Return the runner of the same network in PyTorch, with the same weights and number of threads."""
    torch = _import_torch()
    if device.startswith("gpu") and not torch.cuda.is_available():
        raise UserError("PyTorch: cannot use the GPU; compare on the CPU (device=cpu)")
    place = device.replace("gpu", "cuda")
    torch.set_num_threads(computing_threads())
    twin = torch_twin(network).to(place)
    x, y = torch.from_numpy(image).to(place), torch.from_numpy(label).to(place)
    weights = [parameter for name, parameter in twin.named_parameters() if name.endswith("weight")]
    biases = [parameter for name, parameter in twin.named_parameters() if name.endswith("bias")]
    bias_decay = config.weight_decay if config.decay_biases else 0.0
    groups = [
        {"params": weights, "weight_decay": config.weight_decay},
        {
            "params": biases,
            "weight_decay": bias_decay,
            "lr": config.learning_rate * config.bias_learning_rate,
        },
    ]
    if config.name == "adam":
        optimizer = torch.optim.Adam(groups, lr=config.learning_rate)
    elif config.name == "adamw":
        optimizer = torch.optim.AdamW(groups, lr=config.learning_rate)
    else:
        momentum = 0.0 if config.name == "sgd" else config.momentum
        optimizer = torch.optim.SGD(groups, lr=config.learning_rate, momentum=momentum)

    def forward() -> None:
        with torch.no_grad():
            twin(x)

    def forward_backward() -> None:
        loss = (twin(x) ** 2).sum() / 2
        torch.autograd.grad(loss, list(twin.parameters()))

    def training_step() -> None:
        torch.nn.functional.cross_entropy(twin(x), y).backward()
        optimizer.step()
        optimizer.zero_grad()

    steps = dict(zip(PASSES, (forward, forward_backward, training_step)))
    return Runner("torch", twin, steps, torch.cuda.synchronize if device.startswith("gpu") else nothing)


def torch_twin(network: AlexNet) -> Any:
    """Return the same network in PyTorch with the same weights: images [N, 3, S, S] to logits [N, num_classes]."""
    torch = _import_torch()
    module: Any = torch.nn.Module

    class TorchLRN(module):
        def __init__(self, stage: presets.LRN) -> None:
            super().__init__()
            self.stage = stage
            neighbors = stage.size**2 if stage.within_channel else stage.size
            self.alpha = stage.alpha if stage.average else stage.alpha * neighbors  # PyTorch multiplies the mean

        def forward(self, x: Any) -> Any:
            size, beta, k = self.stage.size, self.stage.beta, self.stage.k
            if self.stage.within_channel:
                mean = torch.nn.functional.avg_pool2d(x * x, size, 1, size // 2)
                return x * (k + self.alpha * mean) ** -beta
            columns = x.unflatten(1, (self.stage.groups, -1)).flatten(0, 1)  # [N G, C / G, H, W]
            y = torch.nn.functional.local_response_norm(columns, size, self.alpha, beta, k)
            return y.unflatten(0, (-1, self.stage.groups)).flatten(1, 2)

    class Scale(module):
        def __init__(self, factor: float) -> None:
            super().__init__()
            self.factor = factor

        def forward(self, x: Any) -> Any:
            return x * self.factor

    shapes = [(1, 3, network.image_size, network.image_size), *describe(network)["output_shape"]]
    modules: list[Any] = []
    for ((*_, stage), layer), shape, out in zip(network.named_layers(), shapes, shapes[1:]):
        if isinstance(stage, (presets.Conv, presets.MaxPool)):
            pads = padding_of(stage, shape[2])
            padding = pads[0] if len(set(pads)) == 1 else 0
            if len(set(pads)) > 1:  # PyTorch's layers only pad symmetrically
                beyond = 0.0 if isinstance(stage, presets.Conv) else -math.inf
                modules.append(torch.nn.ConstantPad2d(pads, beyond))
            if isinstance(stage, presets.Conv):
                geometry = {"stride": stage.stride, "padding": padding, "groups": stage.groups}
                modules.append(torch.nn.Conv2d(shape[1], stage.out_channels, stage.kernel_size, **geometry))
            else:
                modules.append(torch.nn.MaxPool2d(stage.kernel_size, stage.stride, padding))
        elif isinstance(stage, presets.Linear):
            modules.append(torch.nn.Linear(stage.in_features, out[-1]))
        elif isinstance(stage, presets.LRN):
            modules.append(TorchLRN(stage))
        elif isinstance(stage, presets.Dropout):
            modules.append(torch.nn.Dropout(stage.p))
            if stage.mode == "downscale_in_infer":  # not in PyTorch
                modules.append(Scale(1 - stage.p))
        else:
            modules.append(torch.nn.Flatten() if isinstance(stage, presets.Flatten) else torch.nn.ReLU())
        if isinstance(stage, (presets.Conv, presets.Linear)):
            weight = torch.from_numpy(layer.weight.numpy())
            with torch.no_grad():
                modules[-1].weight.copy_(weight.T if isinstance(stage, presets.Linear) else weight)
                modules[-1].bias.copy_(torch.from_numpy(layer.bias.numpy()))
    return torch.nn.Sequential(*modules)


def _import_torch() -> Any:
    try:
        return importlib.import_module("torch")
    except ImportError:
        raise UserError('PyTorch: is not installed; run pip install "paddle-alexnet[torch]"') from None
