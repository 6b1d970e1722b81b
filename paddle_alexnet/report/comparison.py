"""Several runs side by side: their figures, and the settings in which they differ."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Optional

from paddle_alexnet.errors import UserError
from paddle_alexnet.report.run import Run, read_run

FIGURES = ("epochs", "best epoch", "val loss", "val top-1", "images/s", "data")


@dataclass(frozen=True)
class Comparison:
    """Runs, each with a name of its own; `differing` are the settings by key that are not the same in all of them."""

    names: tuple[str, ...]
    runs: tuple[Run, ...]
    figures: dict[str, tuple[str, ...]]  # of each run, by what they are
    best: Optional[int]  # which run has the lowest validation loss
    differing: dict[str, tuple[str, ...]]


def compare_runs(paths: Sequence[Path]) -> Comparison:
    """Read runs and compare them. Raises UserError if one cannot be read, or if there are fewer than two."""
    if len({path.resolve() for path in paths}) < len(paths) or len(paths) < 2:
        raise UserError("name two runs or more, each once, to compare them")
    runs = tuple(read_run(path) for path in paths)
    losses = [run.best.val_loss if run.best else float("inf") for run in runs]
    facts = [{**run.settings, **_versions(run)} for run in runs]
    keys = dict.fromkeys(key for known in facts for key in known)
    rows = {key: tuple(known.get(key, "–") for known in facts) for key in keys}
    return Comparison(
        _names(runs),
        runs,
        dict(zip(FIGURES, zip(*(_figures(run) for run in runs)))),
        losses.index(min(losses)) if min(losses) < float("inf") else None,
        {key: values for key, values in rows.items() if len(set(values)) > 1 and key != "output"},
    )


def _figures(run: Run) -> tuple[str, ...]:
    """The values of FIGURES."""
    best, asked = run.best, run.config.train.epochs
    return (
        f"{len(run.epochs)} of {asked}",
        str(best.epoch) if best else "–",
        f"{best.val_loss:.4f}" if best else "–",
        f"{best.val_top1:.4f}" if best else "–",
        f"{median(epoch.images_per_second for epoch in run.epochs):.1f}" if run.epochs else "–",
        run.data or "–",
    )


def _versions(run: Run) -> dict[str, str]:
    """The environment but for what differs between any two runs."""
    return {key: value for key, value in run.environment.items() if key not in ("started", "command")}


def _names(runs: Sequence[Run]) -> tuple[str, ...]:
    """Short names: folders' own, or whole paths where two folders are called alike."""
    names = tuple(run.name for run in runs)
    return names if len(set(names)) == len(names) else tuple(str(run.folder.path) for run in runs)
