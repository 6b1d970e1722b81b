"""Draw README's figure: the feature maps of a run's network for drawn images, block by block.

`python docs/picture.py RUN DEMO_DATA FIGURE.png`
"""

import io
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import paddle
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from paddle_alexnet.data.table import read_table
from paddle_alexnet.runs.checkpoint import load_checkpoint
from paddle_alexnet.system.files import atomic_file

STAGES = ("pool1", "pool2", "relu3", "relu4", "pool5")  # the ends of the blocks of preset small
CLASSES = ("rings", "bricks", "stars")  # a row each
ACROSS = 4  # feature maps of a block, in a square of them
INK, FAINT, ACCENT = "#1f2328", "#59636e", "#0b62c4"


def main(run: Path, data: Path, place: Path) -> None:
    network, metadata = load_checkpoint(run)
    outputs: dict[str, np.ndarray] = {}
    for stage, layer in network.named_layers():
        if stage.name in STAGES:
            layer.register_forward_post_hook(
                lambda _layer, _inputs, output, name=stage.name: outputs.update({name: output.numpy()[0]})
            )

    table = read_table(data, None, None)
    figure = Figure(figsize=(11, 5.3), layout="constrained")
    panels = figure.subplots(len(CLASSES), len(STAGES) + 2, width_ratios=[1, *[1] * len(STAGES), 1.25])
    for row, name in zip(panels, CLASSES):
        label = table.classes.names.index(name)
        first = next(index for index in table.rows("val") if table.labels[index] == label)
        image = metadata.preprocess.pixels(data / table.filenames[first])  # uint8 [S, S, 3]
        with paddle.no_grad():
            logits = network(paddle.to_tensor(metadata.preprocess.batch(image[None])))
        probabilities = paddle.nn.functional.softmax(logits)[0].numpy()
        row[0].imshow(image)
        row[0].set_ylabel(name, color=INK, fontsize=11)
        for panel, stage in zip(row[1:], STAGES):
            panel.imshow(strongest(outputs[stage]), cmap="magma", interpolation="nearest")
        draw_answer(row[-1], probabilities, metadata.classes.names)
    titles = [f"image\n3×{image.shape[0]}×{image.shape[1]}"]
    titles += [f"{name}\n{'×'.join(map(str, outputs[name].shape))}" for name in STAGES]
    for panel, title in zip(panels[0], [*titles, "answer"]):
        panel.set_title(title, color=FAINT, fontsize=9)
    for panel in panels[:, :-1].flat:
        panel.set(xticks=[], yticks=[])
        panel.spines[:].set_visible(False)
    stream = io.BytesIO()
    figure.savefig(stream, dpi=90, format="png")
    with atomic_file(place) as partial:  # with a palette it is less than half as large
        Image.open(stream).convert("RGB").quantize(128).save(partial, "PNG", optimize=True)


def strongest(maps: np.ndarray) -> np.ndarray:
    """The feature maps [C, H, W] with the largest means, in a square, each scaled by its peak."""
    order = np.argsort(-maps.mean(axis=(1, 2)))[: ACROSS**2]
    scaled = maps[order] / np.maximum(1e-9, maps[order].max(axis=(1, 2), keepdims=True))
    framed = np.pad(scaled, ((0, 0), (0, 1), (0, 1)), constant_values=np.nan)
    return np.concatenate(
        [np.concatenate(list(row), axis=1) for row in framed.reshape(ACROSS, ACROSS, *framed.shape[1:])]
    )


def draw_answer(panel: Axes, probabilities: np.ndarray, names: Sequence[str]) -> None:
    """The three most probable classes as bars."""
    best = np.argsort(-probabilities)[:3]
    panel.barh(range(3), probabilities[best], color=[ACCENT, "#a8c7ec", "#a8c7ec"], height=0.34)
    for place, index in enumerate(best):
        panel.text(0.02, place - 0.2, names[index], va="bottom", color=INK, fontsize=9)
        panel.text(1.0, place - 0.2, f"{probabilities[index]:.2f}", va="bottom", ha="right", color=FAINT, fontsize=9)
    panel.set(xlim=(0, 1), ylim=(2.6, -0.7), xticks=[], yticks=[])
    panel.spines[:].set_visible(False)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
