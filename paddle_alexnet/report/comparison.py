"""Comparison of runs: metrics and different settings."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Optional

from paddle_alexnet.evaluation.classification import interval_text
from paddle_alexnet.report.run_summary import Run, read_run
from paddle_alexnet.report.validation import images_of
from paddle_alexnet.system.errors import UserError

FIGURES = ("epochs", "best epoch", "val loss", "val top-1", "images/s", "data")


@dataclass(frozen=True)
class Comparison:
    """Runs with unique names, their metrics, and the settings in which they differ.

    Losses and accuracies are comparable only between runs with the same validation images.
    """

    names: tuple[str, ...]
    runs: tuple[Run, ...]
    figures: dict[str, tuple[str, ...]]  # values of each run, by metric
    data_sets: tuple[Optional[int], ...]  # number of each run's validation images, from 1; None without metrics
    best: tuple[int, ...]  # runs with the lowest validation loss of each data set with several runs
    differing: dict[str, tuple[str, ...]]  # values of each run, by key

    @property
    def of_data_set(self) -> dict[int, tuple[int, ...]]:
        """The runs of each data set, by its number."""
        numbers = sorted({number for number in self.data_sets if number is not None})
        return {each: tuple(n for n, number in enumerate(self.data_sets) if number == each) for each in numbers}

    @property
    def warning(self) -> str:
        """A warning if the runs have different validation images, else an empty string."""
        if len(self.of_data_set) < 2:
            return ""
        return (
            f"the runs were validated on {len(self.of_data_set)} different sets of images: "
            "compare losses and accuracies within a data set, not across"
        )


def compare_runs(paths: Sequence[Path]) -> Comparison:
    """Read and compare two or more runs. Raise UserError if one is unreadable or named twice."""
    if len({path.resolve() for path in paths}) < len(paths) or len(paths) < 2:
        raise UserError("runs: a comparison requires two or more different runs; name others")
    runs = tuple(read_run(path) for path in paths)
    facts = [{**run.settings, **_versions(run)} for run in runs]
    keys = dict.fromkeys(key for known in facts for key in known)
    rows = {key: tuple(known.get(key, "–") for known in facts) for key in keys}
    data_sets, figures = _data_sets(runs), dict(zip(FIGURES, zip(*(_figures(run) for run in runs))))
    if len(set(data_sets) - {None}) > 1:
        figures = {"data set": tuple(str(number or "–") for number in data_sets), **figures}
    return Comparison(
        _names(runs),
        runs,
        figures,
        data_sets,
        _best(runs, data_sets),
        {key: values for key, values in rows.items() if len(set(values)) > 1 and key != "output"},
    )


def _data_sets(runs: Sequence[Run]) -> tuple[Optional[int], ...]:
    """Return a number for the data set of each run with metrics, by the validation images if all runs name them."""
    known = all(run.validation for run in runs if run.best)
    numbers: dict[Hashable, int] = {}
    found: list[Optional[int]] = []
    for run in runs:
        if run.best is None:
            found.append(None)
            continue
        data = run.config.data
        identity = images_of(run.validation) if known and run.validation else (run.data, data.csv, data.classes)
        found.append(numbers.setdefault(identity, len(numbers) + 1))
    return tuple(found)


def _best(runs: Sequence[Run], data_sets: Sequence[Optional[int]]) -> tuple[int, ...]:
    losses: dict[Optional[int], dict[int, float]] = {}
    for n, (run, number) in enumerate(zip(runs, data_sets)):
        if run.best:
            losses.setdefault(number, {})[n] = run.best.val_loss
    several = [each for each in losses.values() if len(each) > 1]
    return tuple(n for each in several for n, loss in each.items() if loss == min(each.values()))


def _figures(run: Run) -> tuple[str, ...]:
    """Return the values of FIGURES."""
    best, asked = run.best, run.config.train.epochs
    interval = f" ({interval_text(best.val_top1, run.validation.images)})" if best and run.validation else ""
    return (
        f"{len(run.epochs)} of {asked}",
        str(best.epoch) if best else "–",
        f"{best.val_loss:.4f}" if best else "–",
        f"{best.val_top1:.4f}{interval}" if best else "–",
        f"{median(epoch.images_per_second for epoch in run.epochs):.1f}" if run.epochs else "–",
        run.data or "–",
    )


def _versions(run: Run) -> dict[str, str]:
    """Return the environment without the entries that differ between any two runs."""
    return {key: value for key, value in run.environment.items() if key not in ("started", "command")}


def _names(runs: Sequence[Run]) -> tuple[str, ...]:
    """Return the names of the runs' folders, or their whole paths if two folders have the same name."""
    names = tuple(run.name for run in runs)
    return names if len(set(names)) == len(names) else tuple(str(run.folder.path) for run in runs)
