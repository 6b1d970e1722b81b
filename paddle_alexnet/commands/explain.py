"""Draw what a trained network computes from images, and which pixels decide its prediction.

Six views, each written as a PNG file into the folder of --output:
  filters    filters of the first convolution
  gradcam    Grad-CAM of the last convolution (Selvaraju et al. 2017)
  occlusion  probability lost while a gray square covers parts of the image (Zeiler and Fergus 2014)
  maps       strongest feature maps of each convolution
  lrn        feature maps before and after local response normalization, and their ratio
  neighbors  nearest images of the data set in the last hidden layer (Krizhevsky et al. 2012, figure 4)
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

from paddle_alexnet.commands.options import add_device_option, note, positive, typed_path
from paddle_alexnet.config.choices import one_of
from paddle_alexnet.system.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

    from paddle_alexnet.explain.neighbors import Gallery
    from paddle_alexnet.network.alexnet import AlexNet
    from paddle_alexnet.runs.metadata import Metadata

_VIEWS = ("filters", "gradcam", "occlusion", "maps", "lrn", "neighbors")
_MAPS = ("gradcam", "occlusion")  # have one number for each pixel of the image


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", type=typed_path, metavar="RUN_OR_CHECKPOINT")
    parser.add_argument("images", type=typed_path, nargs="+", metavar="IMAGE_OR_FOLDER")
    parser.add_argument("--output", type=typed_path, default="explanation", metavar="DIR", help="default: %(default)s")
    parser.add_argument("--only", metavar="VIEW[,VIEW…]", help="views to draw (default: all)")
    parser.add_argument("--class", dest="label", metavar="NAME", help="class to explain (default: the most probable)")
    parser.add_argument(
        "--array",
        type=typed_path,
        metavar="FILE.npy",
        help="with one image and --only gradcam or occlusion: write the map as float32, one number per pixel",
    )
    parser.add_argument("--maps", type=positive, default=8, metavar="N", help="maps per layer (default: %(default)s)")
    parser.add_argument(
        "--square", type=positive, metavar="PIXELS", help="side of the gray square (default: a sixth of the input's)"
    )
    gallery = parser.add_argument_group("neighbors")
    gallery.add_argument("--split", default="train", help="split to search (default: %(default)s)")
    gallery.add_argument("--root", type=typed_path, metavar="DIR", help="data set to search (default: the model's)")
    gallery.add_argument(
        "--gallery", type=positive, default=1000, metavar="N", help="images to search at most (default: %(default)s)"
    )
    gallery.add_argument(
        "--nearest", type=positive, default=6, metavar="N", help="neighbors to show (default: %(default)s)"
    )
    parser.add_argument("--visualdl", type=typed_path, metavar="LOGDIR", help="add the drawings to a VisualDL log")
    add_device_option(parser)


def run(arguments: argparse.Namespace) -> None:
    from paddle_alexnet.data.image_files import find_images
    from paddle_alexnet.data.splits import SPLITS
    from paddle_alexnet.runs.resolve import resolve_model
    from paddle_alexnet.system.output_files import check_output

    chosen = arguments.only.split(",") if arguments.only else list(_VIEWS)
    for view in chosen:
        one_of(view, _VIEWS, what="view")
    one_of(arguments.split, SPLITS, what="split")
    model = resolve_model(arguments.model)
    if model.metadata.kind != "checkpoint":
        raise UserError(f"{arguments.model}: is an export, which has no layers to read; name its run or a checkpoint")
    images = find_images(arguments.images)
    if arguments.array is not None:
        _check_array(arguments.array, chosen, images)
        check_output(arguments.array, "NPY", inputs=images)
    if arguments.output.exists() and not arguments.output.is_dir():
        raise UserError(f"{arguments.output}: is a file; name a folder as --output")
    for name in ("filters", *(f"{name}-{view}" for name in _names(images) for view in chosen)):
        check_output(arguments.output / f"{name}.png", "PNG", inputs=images)
    from paddle_alexnet.explain import views
    from paddle_alexnet.plots.fonts import legend
    from paddle_alexnet.runs.checkpoint import load_checkpoint
    from paddle_alexnet.system.device import use_device

    use_device(arguments.device)
    network, metadata = load_checkpoint(model.folder, model.metadata)
    note(f"{metadata.model.preset}, epoch {metadata.origin.epoch}, trained on {metadata.origin.data}")
    if arguments.label is not None:
        views.class_index(metadata, arguments.label)
    gallery = _gallery(network, metadata, arguments) if "neighbors" in chosen else None
    if meaning := legend(metadata.classes.names):
        print(f"no installed font can draw all class names; {meaning}")
    with _Pictures(arguments.output, arguments.visualdl) as pictures:
        if "filters" in chosen:
            pictures.add("filters", views.filters(network))
        for path, name in zip(images, _names(images)):
            subject = views.look_at(network, metadata, path, label=arguments.label, path=path)
            print(f"{path}  {subject.name}")
            for view in chosen:
                drawn: Optional[Image.Image] = None
                values: Optional[np.ndarray] = None
                if view == "gradcam":
                    values = views.heat(subject)
                    drawn = views.draw_grad_cam(subject, values)
                elif view == "occlusion":
                    occlusion = views.find_occlusion(subject, square=arguments.square)
                    values = occlusion.lost
                    drawn = views.draw_occlusion(subject, occlusion)
                elif view == "maps":
                    drawn = views.draw_maps(subject, count=arguments.maps)
                elif view == "lrn":
                    drawn = views.draw_normalization(subject, count=arguments.maps)
                    if drawn is None:
                        print(f"  view lrn left out: {metadata.model.preset} has no local response normalization")
                elif view == "neighbors" and gallery is not None:
                    drawn = views.draw_neighbors(subject, gallery, count=arguments.nearest)
                if drawn is not None:
                    pictures.add(f"{name}-{view}", drawn)
                if arguments.array is not None and values is not None:
                    _write_array(arguments.array, views.on_original(subject, values))


def _check_array(place: Path, chosen: list[str], images: list[Path]) -> None:
    """Raise UserError unless one map is to be written, to a .npy file."""
    if place.suffix != ".npy":
        raise UserError(f"{place}: must have the suffix .npy; rename it")
    if len(chosen) != 1 or chosen[0] not in _MAPS or len(images) != 1:
        raise UserError(f"{place}: holds one map; name one image and one view, {' or '.join(_MAPS)}")


def _write_array(place: Path, values: "np.ndarray") -> None:
    import numpy as np

    from paddle_alexnet.system.files import atomic_file

    with atomic_file(place) as partial, partial.open("wb") as stream:
        np.save(stream, values)
    print(f"  wrote {place}: {values.shape[0]}×{values.shape[1]}, NaN outside the network's input")


def _gallery(network: "AlexNet", metadata: "Metadata", arguments: argparse.Namespace) -> Optional["Gallery"]:
    """Return the images to search for neighbors; if the default data set is not found, print why and return None."""
    from paddle_alexnet.explain.neighbors import choose_gallery, gather, read_gallery
    from paddle_alexnet.system.progress import progress

    try:
        found = choose_gallery(metadata, split=arguments.split, most=arguments.gallery, root=arguments.root)
    except UserError as error:
        if arguments.root is not None or arguments.only:
            raise
        print(f"view neighbors left out: {error}")
        return None
    batches = read_gallery(network, metadata.preprocess, found)
    total = -(-len(found) // 32)
    return gather(progress(batches, what=f"reading {arguments.split}", total=total, unit="batch"))


class _Pictures:
    """A writer of drawings as PNG files and, with `log`, to VisualDL; prints each file's name."""

    def __init__(self, folder: Path, log: Optional[Path]) -> None:
        self.folder, self.log = folder, log
        self.writer: Any = None

    def __enter__(self) -> "_Pictures":
        if self.log is not None:
            from visualdl import LogWriter  # its import makes a folder in the user's home

            self.writer = LogWriter(logdir=str(self.log))
        return self

    def __exit__(self, *_: object) -> None:
        if self.writer is not None:
            self.writer.close()

    def add(self, name: str, picture: "Image.Image") -> None:
        import numpy as np

        from paddle_alexnet.system.output_files import save_image

        place = self.folder / f"{name}.png"
        save_image(place, picture)
        print(f"  wrote {place}")
        if self.writer is not None:
            self.writer.add_image(f"explain/{name}", np.asarray(picture.convert("RGB")), 0)


def _names(images: list[Path]) -> list[str]:
    """Return a unique name for each image: its file's stem, numbered if several share it."""
    stems = [path.stem for path in images]
    return [stem if stems.count(stem) == 1 else f"{stem}-{stems[: n + 1].count(stem)}" for n, stem in enumerate(stems)]
