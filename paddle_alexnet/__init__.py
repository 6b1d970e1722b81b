"""AlexNet in PaddlePaddle: every one there is, to train, trust, export and read."""

import paddle_alexnet.before_paddle  # noqa: F401, I001  must stay the first import

from paddle_alexnet.config import Config, load_config
from paddle_alexnet.errors import UserError
from paddle_alexnet.lrn import LRN
from paddle_alexnet.network import AlexNet
from paddle_alexnet.predictor import Predictor
from paddle_alexnet.presets import PRESETS
from paddle_alexnet.train import train

__all__ = ["LRN", "PRESETS", "AlexNet", "Config", "Predictor", "UserError", "load_config", "train"]
__version__ = "0.1.0"
