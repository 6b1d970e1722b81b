"""What is odd about a run before its first step: said, not refused."""

from collections.abc import Iterator

import numpy as np

from paddle_alexnet.config.schema import Config
from paddle_alexnet.data.table import ImageTable
from paddle_alexnet.network.presets import PRESETS

IMBALANCE = 10  # times as many images of one class as of another
FACTOR = 8  # of a usual learning rate
CUT = 1.5  # times the network's input
_USUAL_ADAM = {"adam": 1e-4, "adamw": 3e-4}  # for this network; Adam's steps hardly depend on the batch
_USUAL, _USUAL_BATCH = 0.01, 128  # the paper's, with momentum 0.9; in proportion to the batch (Goyal et al. 2017)


def recipe_warnings(config: Config, table: ImageTable) -> Iterator[str]:
    """A line each for classes that differ much in number, a batch larger than the split, a rate unfit for the batch.

    And for a warm-up that takes all of the training, and a patch of which little is seen.
    """
    labels = table.labels[table.rows("train")]
    counts = np.bincount(labels, minlength=len(table.classes))
    most, least = int(counts.argmax()), int(counts.argmin())
    if counts[least] == 0:
        none = [name for name, count in zip(table.classes.names, counts) if not count]
        more = f" and {len(none) - 1} more" if len(none) > 1 else ""
        yield f"the train split has no image of {none[0]}{more}: it cannot be learned"
    elif counts[most] >= IMBALANCE * counts[least]:
        yield (
            f"the train split has {counts[most]} images of {table.classes.names[most]}, {counts[least]} of "
            f"{table.classes.names[least]}: the accuracy says little of the rare classes"
        )
    warmup, epochs = config.schedule.warmup_epochs, config.train.epochs
    if warmup >= epochs:
        yield (
            f"schedule.warmup_epochs {warmup} is no less than train.epochs {epochs}: the rate never comes to "
            f"{config.optimizer.learning_rate:g}"
        )
    size, patch = PRESETS[config.model.preset].image_size, config.data.resize or 0
    if patch > CUT * size:
        yield (
            f"data.resize {patch} is more than {CUT} times the {size} that {config.model.preset} sees: evaluated is "
            f"{(size / patch) ** 2:.0%} of an image, from its middle; {round(size * 8 / 7)} is usual"
        )
    batch, rate = config.train.batch_size, config.optimizer.learning_rate
    if batch > len(labels):
        yield f"train.batch_size {batch} is more than the {len(labels)} images of the train split: an epoch is one step"
        batch = len(labels)
    batch = min(batch * config.train.accumulate, len(labels))
    name = config.optimizer.name
    usual = _USUAL_ADAM.get(name)
    if usual is None:
        momentum = 0.0 if name == "sgd" else config.optimizer.momentum
        usual = _USUAL * (1 - momentum) / (1 - 0.9) * batch / _USUAL_BATCH
    for odd, is_odd in (("high", rate > FACTOR * usual), ("low", rate < usual / 1000)):
        if is_odd:
            yield f"optimizer.learning_rate {rate:g} is {odd} for {name} with batches of {batch}: {usual:.1g} is usual"
