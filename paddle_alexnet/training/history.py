"""The epochs of a run so far: what its callbacks share."""

from dataclasses import dataclass, field
from typing import Optional


@dataclass(frozen=True)
class Epoch:
    """One row of `metrics.csv`. Losses and accuracies are means over every image of the split."""

    epoch: int  # from 1
    train_loss: float
    train_top1: float
    val_loss: float
    val_top1: float
    learning_rate: float
    images_per_second: float  # of training, without validation and saving
    improved: bool  # val_loss is lower than in every epoch before
    data: str


@dataclass
class History:
    """The finished epochs in order, each added by `RecordEpoch` as soon as it is validated."""

    epochs: list[Epoch] = field(default_factory=list)

    @property
    def last(self) -> Epoch:
        return self.epochs[-1]

    @property
    def best(self) -> Optional[Epoch]:
        """The epoch with the lowest mean validation loss; None as long as no epoch had a finite one."""
        return next((epoch for epoch in reversed(self.epochs) if epoch.improved), None)

    @property
    def waited(self) -> int:
        """The epochs since the best one."""
        return len(self.epochs) - (self.best.epoch if self.best else 0)
