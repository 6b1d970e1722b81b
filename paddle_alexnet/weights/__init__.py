"""Other frameworks' weights, in and out."""

from paddle_alexnet.weights.convert import Converted, convert
from paddle_alexnet.weights.files import read_arrays
from paddle_alexnet.weights.layout import Weights, choose_preset, fitting_presets, from_state, to_state

__all__ = [
    "Converted",
    "Weights",
    "choose_preset",
    "convert",
    "fitting_presets",
    "from_state",
    "read_arrays",
    "to_state",
]
