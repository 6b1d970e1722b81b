"""Other frameworks' weights, in and out."""

from paddle_alexnet.weights.convert import Converted, convert, unnamed_classes
from paddle_alexnet.weights.files import WRITERS
from paddle_alexnet.weights.layout import LAYOUTS

SOURCE_FORMATS = tuple(LAYOUTS)
TARGET_FORMATS = tuple(dict.fromkeys(name for name, _ in WRITERS.values()))

__all__ = ["SOURCE_FORMATS", "TARGET_FORMATS", "Converted", "convert", "unnamed_classes"]
