"""What is left of a run for people to look at: curves from its metrics."""

from pathlib import Path

import pandas as pd


def draw_curves(metrics: Path, place: Path) -> None:
    """Draw loss and accuracy over epochs from a `metrics.csv` as a PNG, the best epoch marked."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    table = pd.read_csv(metrics)
    best = table.loc[table["val_loss"].idxmin()] if table["val_loss"].notna().any() else None
    figure, panels = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for panel, (kind, title) in zip(panels, (("loss", "cross-entropy"), ("top1", "top-1 accuracy"))):
        for split, colour in (("train", "tab:blue"), ("val", "tab:orange")):
            panel.plot(table["epoch"], table[f"{split}_{kind}"], marker="o", markersize=3, color=colour, label=split)
        if best is not None:
            panel.axvline(best["epoch"], color="grey", linewidth=0.8, linestyle=":")
            panel.annotate(
                f"best: {best[f'val_{kind}']:.4f}",
                (best["epoch"], best[f"val_{kind}"]),
                textcoords="offset points",
                xytext=(4, 8),
                color="tab:orange",
            )
        panel.set(xlabel="epoch", title=title)
        panel.xaxis.get_major_locator().set_params(integer=True)
        panel.grid(alpha=0.3)
        panel.legend()
    panels[1].set_ylim(0, 1)
    figure.suptitle(f"trained on {table['data'].iloc[0]}", fontsize=10)
    partial = place.with_name(f".{place.name}.partial")
    figure.savefig(partial, dpi=110, format="png")
    plt.close(figure)
    partial.replace(place)
