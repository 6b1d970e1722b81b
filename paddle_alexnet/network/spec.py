"""What a network is, in a few plain values: enough to build it again."""

from dataclasses import dataclass
from typing import Optional


@dataclass(frozen=True)
class ModelSpec:
    """What AlexNet is built from; `num_classes` of None is the preset's own number."""

    preset: str = "paddle2"
    num_classes: Optional[int] = None
    lrn: str = "avgpool3d"
    quirks: tuple[str, ...] = ()
