"""Curves of loss and accuracy, drawn from `metrics.csv`."""

import io
from pathlib import Path

import pandas as pd
from PIL import Image, ImageDraw

from paddle_alexnet.plots.fonts import can_draw, draw_text, text_width
from paddle_alexnet.system.output_files import save_image


def draw_curves(metrics: Path, png: Path) -> None:
    """Draw loss and accuracy over epochs from a `metrics.csv` as a PNG file, with the best epoch marked."""
    from matplotlib.figure import Figure  # slow to import

    table = pd.read_csv(metrics)
    best = table[table["improved"]].tail(1).to_dict("records")
    figure = Figure(figsize=(10, 4), layout="constrained")
    panels = figure.subplots(1, 2)
    for panel, (kind, title) in zip(panels, (("loss", "cross-entropy"), ("top1", "top-1 accuracy"))):
        for split, color in (("train", "tab:blue"), ("val", "tab:orange")):
            panel.plot(table["epoch"], table[f"{split}_{kind}"], marker="o", markersize=3, color=color, label=split)
        for row in best:
            panel.axvline(row["epoch"], color="gray", linewidth=0.8, linestyle=":")
            point = (row["epoch"], row[f"val_{kind}"])
            text = f"best: {row[f'val_{kind}']:.4f}"
            panel.annotate(text, point, textcoords="offset points", xytext=(4, 8), color="tab:orange")
        panel.set(xlabel="epoch", title=title)
        panel.xaxis.get_major_locator().set_params(integer=True)
        panel.grid(alpha=0.3)
        panel.legend()
    panels[1].set_ylim(0, 1)
    plots = io.BytesIO()
    figure.savefig(plots, dpi=110, format="png")
    with Image.open(plots) as drawn:
        whole = Image.new("RGB", (drawn.width, drawn.height + 30), "white")
        whole.paste(drawn.convert("RGB"), (0, 30))
    data = str(table["data"].iloc[0])
    title = f"trained on {data}" if can_draw(data) else "metrics.csv names the data set"
    at = max(10.0, (whole.width - text_width(title, 15)) / 2)
    draw_text(ImageDraw.Draw(whole), (at, 10), title, size=15, ink="black", room=whole.width - 20)
    save_image(png, whole)
