"""Images whose activations set the ranges of 8-bit integers."""

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
    """Some images below a folder as the network gets them, float32 [N, 3, S, S], N at most 64.

    Without a folder they are of the train split of the data set that the model was trained on. What cannot be read is
    left out. Raises UserError where there are none.
    """
    if folder is not None:
        paths = find_images([folder])
    else:
        try:
            table = read_table(*metadata.origin.dataset(), metadata.classes)
        except UserError as error:
            reason = str(error).partition(";")[0]
            raise UserError(f"int8 needs images to set its ranges: name a folder as calibration ({reason})") from None
        paths = [table.root / name for name in table.filenames[table.rows("train")]]
    chosen = [paths[n] for n in spread_indices(len(paths), IMAGES)]
    readable = []
    for path in chosen:
        with suppress(UserError):
            readable.append(metadata.preprocess(path))
    if not readable:
        raise UserError(f"{chosen[0].parent}: none of the images to set the ranges of int8 by can be read")
    return metadata.preprocess.batch(np.stack(readable))
