"""What a network is, in a few plain values: enough to build it again."""

from dataclasses import dataclass
from typing import Optional


@dataclass(frozen=True)
class ModelSpec:
    """A preset, the number of its classes (None: its own), the LRN backend and the quirks: what AlexNet is built from."""

    preset: str = "paddle2"
    num_classes: Optional[int] = None
    lrn: str = "avgpool3d"
    quirks: tuple[str, ...] = ()
