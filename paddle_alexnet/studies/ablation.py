"""Ablation of LRN, overlapping pooling, dropout and grouped convolution, over several seeds."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean, stdev
from typing import Optional

import paddle

from paddle_alexnet.config.choices import one_of
from paddle_alexnet.config.recipe import load_config, with_absolute_paths
from paddle_alexnet.config.schema import Config, ModelConfig
from paddle_alexnet.data.splits import SPLITS
from paddle_alexnet.evaluation.classification import wilson_interval
from paddle_alexnet.evaluation.evaluate import Evaluation, evaluate, open_table
from paddle_alexnet.inference.predictor import Predictor
from paddle_alexnet.network.alexnet import AlexNet
from paddle_alexnet.runs.run_folder import RunFolder
from paddle_alexnet.runs.train_state import read_state
from paddle_alexnet.system.errors import UserError
from paddle_alexnet.system.files import write_csv
from paddle_alexnet.system.output_files import check_output, save_figure
from paddle_alexnet.training.trainer import train

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Part:
    """A part of the network that an ablation removes."""

    title: str
    quirk: Optional[str]  # quirk that removes the part; None for LRN, which is a setting
    lost_in_2012: Optional[float]  # points of top-1 on ImageNet's validation set, from the released logs

    def without(self, model: ModelConfig) -> ModelConfig:
        """Return the model's config without the part."""
        return replace(model, quirks=(*model.quirks, self.quirk)) if self.quirk else replace(model, lrn="none")


WHOLE = "full network"
PARTS = {
    "lrn": Part("without LRN", None, 1.37),
    "overlap": Part("without overlapping pooling", "no_overlap", 0.39),
    "dropout": Part("without dropout", "no_dropout", None),
    "columns": Part("without grouped convolution", "one_column", None),
}

COLUMNS = ("network", "mean top-1", "95 % interval", "± sd", "points lost", "lost in 2012")


@dataclass(frozen=True)
class Outcome:
    """A network's top-1 accuracy on held-out images, for each seed."""

    title: str
    top1: tuple[float, ...]
    images: int  # evaluated for each seed
    lost_in_2012: Optional[float] = None

    @property
    def spread(self) -> float:
        """The standard deviation over seeds."""
        return stdev(self.top1) if len(self.top1) > 1 else float("nan")


def ablate(config: Config, *, parts: Optional[Sequence[str]] = None, seeds: Sequence[int] = (0, 1, 2)) -> list[Outcome]:
    """Train the full network and the network without each part, once per seed.

    Runs are subfolders of the config's output, such as `whole-seed-0`. Finished runs are reused, stopped ones resume.
    The best model of each run is evaluated on the test split, or on val without one. `ablation.csv` and
    `ablation.png` in the output hold the results.

    Args:
        parts: Names of `PARTS` to remove, one at a time; default: all that the network has.

    Returns:
        The results, the full network first.

    Raises:
        UserError: A part is unknown or the network lacks it, a run has other settings, or training fails.
    """
    for name, kind in (("ablation.csv", "CSV"), ("ablation.png", "PNG")):
        check_output(Path(config.output) / name, kind)
    outcomes, models = [], {"whole": config.model, **_models(config.model, parts)}
    for name, model in models.items():
        part, found = PARTS.get(name), []
        for seed in seeds:
            run = RunFolder(Path(config.output) / f"{name}-seed-{seed}")
            _log.info(f"{part.title if part else WHOLE}, seed {seed}: {run.path}")
            _train(run, replace(config, output=str(run.path), model=model, train=replace(config.train, seed=seed)))
            found.append(_evaluate(run))
        top1 = tuple(each.top1 for each in found)
        title, lost = (part.title, part.lost_in_2012) if part else (WHOLE, None)
        outcomes.append(Outcome(title, top1, found[0].images, lost))
    _write(outcomes, Path(config.output))
    return outcomes


def _models(whole: ModelConfig, parts: Optional[Sequence[str]]) -> dict[str, ModelConfig]:
    """Return the config without each part. Raise UserError if the network lacks the part or cannot do without it."""
    models, stages = {}, _network(whole).stages
    for name in parts or PARTS:
        model = PARTS[one_of(name, PARTS, what="part")].without(whole)
        network = _network(model)
        if network.stages == stages:
            if parts:
                raise UserError(f"part {name}: not found in preset {whole.preset}; leave it out")
            continue
        try:
            with paddle.no_grad():
                network(paddle.zeros([1, 3, network.image_size, network.image_size]))
        except ValueError:
            raise UserError(
                f"part {name}: the other layers of preset {whole.preset} require it; leave it out"
            ) from None
        models[name] = model
    return models


def _network(model: ModelConfig) -> AlexNet:
    return AlexNet(model.preset, 10, model.lrn, quirks=model.quirks)


def _train(run: RunFolder, config: Config) -> None:
    """Train or resume a run unless it is finished. Raise UserError if the folder holds a run with other settings."""
    if not run.last.is_dir():
        train(config)
        return
    if load_config(run.config) != with_absolute_paths(config):
        raise UserError(f"{run.path}: holds a run with other settings; remove it or choose another output")
    if not read_state(run.last).state.finished:
        train(config, resume=run.path)


def _evaluate(run: RunFolder) -> Evaluation:
    predictor = Predictor(run.best)
    has_test = SPLITS.index("test") in open_table(predictor, None, None).splits
    return evaluate(predictor, split="test" if has_test else "val")


def _write(outcomes: Sequence[Outcome], folder: Path) -> None:
    from matplotlib.figure import Figure

    seeds = [f"run {n}" for n in range(1, len(outcomes[0].top1) + 1)]
    table = [[*row, *outcome.top1] for row, outcome in zip(rows(outcomes), outcomes)]
    write_csv(folder / "ablation.csv", [*COLUMNS, *seeds], table)
    figure = Figure(figsize=(8, 0.6 * len(outcomes) + 1.2), layout="constrained")
    panel = figure.subplots()
    at = range(len(outcomes))
    panel.barh(at, [100 * mean(each.top1) for each in outcomes], color="tab:blue", alpha=0.5)
    for y, outcome in zip(at, outcomes):
        panel.plot([100 * top1 for top1 in outcome.top1], [y] * len(outcome.top1), "o", color="tab:blue", markersize=4)
    panel.set_yticks(at, [outcome.title for outcome in outcomes])
    panel.invert_yaxis()
    panel.set(xlabel=f"top-1, %, of each seed and their mean; {len(outcomes[0].top1)} seeds")
    panel.grid(alpha=0.3, axis="x")
    save_figure(folder / "ablation.png", figure)


def rows(outcomes: Sequence[Outcome]) -> list[list[str]]:
    """Return the rows of the table with `COLUMNS`.

    The interval is for the images of one seed, because all seeds share the images.
    """
    whole = mean(outcomes[0].top1)
    return [
        [
            outcome.title,
            f"{100 * mean(outcome.top1):.1f} %",
            "{:.1f} to {:.1f}".format(*(100 * end for end in wilson_interval(mean(outcome.top1), outcome.images))),
            f"{100 * outcome.spread:.1f}" if len(outcome.top1) > 1 else "–",
            f"{100 * (whole - mean(outcome.top1)):.1f}" if outcome is not outcomes[0] else "–",
            "–" if outcome.lost_in_2012 is None else f"{outcome.lost_in_2012:.2f}",
        ]
        for outcome in outcomes
    ]
