"""Output files: checks before an existing file is replaced, and PNG files marked as this package's."""

import os
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Optional

from PIL import Image, PngImagePlugin

from paddle_alexnet.system.errors import UserError
from paddle_alexnet.system.files import atomic_file
from paddle_alexnet.system.user_path import UserPath

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_ENDINGS = {
    "CSV": (".csv",),
    "JSON": (".json", ".jsonl", ".ndjson"),
    "HTML": (".html", ".htm"),
    "PNG": (".png",),
    "NPY": (".npy",),
}
# No output of another kind has such an ending: images, and weights of every framework.
_FOREIGN = frozenset(
    ".jpg .jpeg .jpe .jfif .mpo .bmp .dib .webp .tif .tiff .gif .ppm .pgm .pbm .pnm .avif .jp2 .j2k .heic .heif .hif "
    ".pth .pt .safetensors .h5 .hdf5 .keras .index .npz .caffemodel .pdparams .pdiparams .pdmodel .pdopt .onnx".split()
).union(*_ENDINGS.values())
_MARK = {"Software": "paddle-alexnet"}  # text in our PNG files


def check_output(place: Optional[Path], kind: str, *, inputs: Iterable[Optional[Path]] = ()) -> None:
    """Check, before any work, that writing a file loses nothing except an older output of its kind.

    An existing file may be replaced if it is empty or has an ending of `kind`, unless it is an input, an image or a
    data set's table. A PNG file may be replaced if this package drew it. The ending, even of a new file, must not be
    that of another kind, an image or weights.

    Args:
        place: The file to write; None is no output.
        kind: CSV, JSON, HTML, PNG or NPY.
        inputs: Files that are read; None is no input.

    Raises:
        UserError: The file must not be replaced, or has the ending of another kind.
    """
    if place is None:
        return
    place = UserPath(place)
    exists, ending = place.exists(), place.suffix.lower()
    if place.is_dir():
        raise UserError(f"{place}: is a folder; name a file")
    if exists and not place.is_file():
        return  # a pipe or a device
    if ending in _FOREIGN and ending not in _ENDINGS[kind]:
        raise UserError(f"{place}: must have the suffix {_ENDINGS[kind][0]}; rename it")
    if not exists:
        return
    remedy = "name another file or move it away"
    if kind == "CSV" and _is_table(place):
        raise UserError(f"{place}: already exists and is the table of a data set; {remedy}")
    found = os.stat(place)
    for path in inputs:
        if path is not None and UserPath(path).exists() and os.path.samestat(os.stat(path), found):
            raise UserError(f"{place}: is an input, which would be lost; name another file")
    if not found.st_size:
        return
    if ending not in _ENDINGS[kind]:
        raise UserError(f"{place}: already exists and is not a {_ENDINGS[kind][0]} file; {remedy}")
    image = _image_text(place)
    if kind == "PNG" and (image is None or image.get("Software") != _MARK["Software"]):
        raise UserError(f"{place}: already exists and was not drawn by paddle-alexnet; {remedy}")
    if kind != "PNG" and image is not None:
        raise UserError(f"{place}: already exists and is an image; {remedy}")


def save_figure(place: Path, figure: "Figure") -> None:
    """Write a Matplotlib figure as a marked PNG, see `atomic_file`."""
    with atomic_file(place) as partial:
        figure.savefig(partial, dpi=110, format="png", metadata=_MARK)


def save_image(place: Path, image: Image.Image) -> None:
    """Write an image as a marked PNG, see `atomic_file`."""
    text = PngImagePlugin.PngInfo()
    for name, value in _MARK.items():
        text.add_text(name, value)
    with atomic_file(place) as partial:
        image.save(partial, "PNG", pnginfo=text)


def _image_text(place: Path) -> Optional[dict[object, object]]:
    """Return the metadata of an image; None if the file is no image."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(place) as image:
                return dict(image.info)
    except Exception:  # Pillow may raise anything for a file that is no image
        return None


def _is_table(place: Path) -> bool:
    try:
        with place.open("rb") as stream:
            return b"split" in stream.readline(10_000).replace(b"\0", b"").lower()  # in UTF-16 too
    except OSError:
        return False
