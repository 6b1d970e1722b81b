"""History of a run: its finished epochs, which the callbacks share."""

from dataclasses import dataclass, field
from typing import Optional


@dataclass(frozen=True)
class Epoch:
    """One row of `metrics.csv`; losses and accuracies are means over all images of the split."""

    epoch: int  # from 1
    train_loss: float
    train_top1: float
    val_loss: float
    val_top1: float
    learning_rate: float
    images_per_second: float  # of training, without validation and saving
    improved: bool  # val_loss is the lowest so far
    data: str


@dataclass
class History:
    """The finished epochs in order; `RecordEpoch` adds each after its validation."""

    epochs: list[Epoch] = field(default_factory=list)

    @property
    def last(self) -> Epoch:
        return self.epochs[-1]

    @property
    def best(self) -> Optional[Epoch]:
        """Return the epoch with the lowest mean validation loss; None if no epoch had a finite one."""
        return next((epoch for epoch in reversed(self.epochs) if epoch.improved), None)

    @property
    def waited(self) -> int:
        """Return the number of epochs since the best one."""
        return len(self.epochs) - (self.best.epoch if self.best else 0)
