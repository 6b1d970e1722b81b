"""Calibration images for int8 inference."""

from contextlib import suppress
from pathlib import Path
from typing import Optional

import numpy as np

from paddle_alexnet.data.image_files import find_images, spread_indices
from paddle_alexnet.data.table import read_table
from paddle_alexnet.runs.metadata import Metadata
from paddle_alexnet.system.errors import UserError

IMAGES = 64


def calibration_images(metadata: Metadata, folder: Optional[Path] = None) -> np.ndarray:
    """Return up to 64 preprocessed images, float32 [N, 3, S, S], by default of the model's train split.

    Raises:
        UserError: The data set is not found, or no image is readable.
    """
    if folder is not None:
        paths = find_images([folder])
    else:
        try:
            table = read_table(*metadata.origin.dataset(), metadata.classes)
        except UserError as error:
            reason = str(error).partition(";")[0]
            raise UserError(f"int8: requires calibration images ({reason}); name a folder as calibration") from None
        paths = [table.root / name for name in table.filenames[table.rows("train")]]
    chosen = [paths[n] for n in spread_indices(len(paths), IMAGES)]
    readable = []
    for path in chosen:
        with suppress(UserError):
            readable.append(metadata.preprocess(path))
    if not readable:
        raise UserError(f"{chosen[0].parent}: no calibration image is readable; name another folder as calibration")
    return metadata.preprocess.batch(np.stack(readable))
