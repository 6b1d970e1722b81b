"""From an image file to the network's input: one definition for training, evaluation and prediction."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from paddle_alexnet.errors import UserError

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif"})


@dataclass(frozen=True)
class Preprocess:
    """What an image goes through; the checkpoint and the exported folder carry it with them.

    The image is squashed to `image_size` x `image_size` as the `fluid` system does, scaled to 0..1,
    and normalised by `mean` and `std` [R, G, B].
    """

    image_size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def __call__(self, path: Path) -> np.ndarray:
        """Read an image file into uint8 [S, S, 3], RGB. Raises UserError if it cannot be decoded."""
        try:
            with Image.open(path) as image:
                rgb = image.convert("RGB")
        except FileNotFoundError:
            raise UserError(f"{path}: no such image") from None
        except (
            OSError,
            UnidentifiedImageError,
            SyntaxError,
            ValueError,
            Image.DecompressionBombError,
        ) as error:
            reason = "not an image" if isinstance(error, UnidentifiedImageError) else error
            raise UserError(f"{path}: unreadable image ({reason}): replace it or take it out") from None
        size = (self.image_size, self.image_size)
        return np.asarray(rgb.resize(size, Image.Resampling.BILINEAR))

    def batch(self, images: np.ndarray) -> np.ndarray:
        """Normalise uint8 [N, S, S, 3] to the network's input, float32 [N, 3, S, S]."""
        std = np.asarray(self.std, np.float32)
        scale, shift = 1 / (255 * std), np.asarray(self.mean, np.float32) / std
        return np.ascontiguousarray((images * scale - shift).transpose(0, 3, 1, 2), dtype=np.float32)
