"""AlexNet in PaddlePaddle: every one there is, to train, trust, export and read.

The public names are imported when they are first used (PEP 562): `import paddle_alexnet` costs nothing.
"""

import paddle_alexnet.system.interruption  # Ctrl-C during the imports below

# isort: split
from importlib import import_module
from typing import TYPE_CHECKING, Any

import paddle_alexnet.system.bootstrap  # noqa: F401  what must be set before anyone imports Paddle

if TYPE_CHECKING:
    from paddle_alexnet.config.recipe import load_config
    from paddle_alexnet.config.schema import Config
    from paddle_alexnet.inference.predictor import Predictor
    from paddle_alexnet.network.alexnet import AlexNet
    from paddle_alexnet.network.lrn import LRN
    from paddle_alexnet.network.presets import PRESETS
    from paddle_alexnet.system.errors import UserError
    from paddle_alexnet.training.trainer import train

__all__ = ["LRN", "PRESETS", "AlexNet", "Config", "Predictor", "UserError", "load_config", "train"]
__version__ = "0.1.0"

_MODULE_OF = {
    "LRN": "network.lrn",
    "PRESETS": "network.presets",
    "AlexNet": "network.alexnet",
    "Config": "config.schema",
    "Predictor": "inference.predictor",
    "UserError": "system.errors",
    "load_config": "config.recipe",
    "train": "training.trainer",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
