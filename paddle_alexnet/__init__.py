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
    from paddle_alexnet.conversion import ConversionOptions, convert_weights
    from paddle_alexnet.data.dataset import ImageDataset
    from paddle_alexnet.data.preprocess import Preprocess
    from paddle_alexnet.evaluation.evaluate import evaluate
    from paddle_alexnet.exporting.export_model import ExportOptions
    from paddle_alexnet.exporting.export_model import export_model as export
    from paddle_alexnet.inference.predictor import Prediction, Predictor
    from paddle_alexnet.network.alexnet import AlexNet, alexnet
    from paddle_alexnet.network.lrn import LRN
    from paddle_alexnet.network.presets import PRESETS, list_presets
    from paddle_alexnet.runs.checkpoint import load_checkpoint as load
    from paddle_alexnet.system.errors import MissingFileError, UserError
    from paddle_alexnet.training.trainer import train

__all__ = [
    "LRN",
    "PRESETS",
    "AlexNet",
    "Config",
    "ConversionOptions",
    "ExportOptions",
    "ImageDataset",
    "MissingFileError",
    "Prediction",
    "Predictor",
    "Preprocess",
    "UserError",
    "alexnet",
    "convert_weights",
    "evaluate",
    "export",
    "list_presets",
    "load",
    "load_config",
    "train",
]
__version__ = "0.1.0"

_PLACES = {  # of each name: its module, and its name there if that is another
    "LRN": "network.lrn",
    "PRESETS": "network.presets",
    "AlexNet": "network.alexnet",
    "Config": "config.schema",
    "ConversionOptions": "conversion",
    "ExportOptions": "exporting.export_model",
    "ImageDataset": "data.dataset",
    "MissingFileError": "system.errors",
    "Prediction": "inference.predictor",
    "Predictor": "inference.predictor",
    "Preprocess": "data.preprocess",
    "UserError": "system.errors",
    "alexnet": "network.alexnet",
    "convert_weights": "conversion",
    "evaluate": "evaluation.evaluate",
    "export": "exporting.export_model:export_model",
    "list_presets": "network.presets",
    "load": "runs.checkpoint:load_checkpoint",
    "load_config": "config.recipe",
    "train": "training.trainer",
}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, _, attribute = _PLACES[name].partition(":")
    value = globals()[name] = getattr(import_module(f"{__name__}.{module}"), attribute or name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
