"""Summary of a run, finished or not, read from its folder."""

import math
from csv import DictReader, Error
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Optional, Union

from pydantic import Field

from paddle_alexnet.config.recipe import config_as_text, load_config
from paddle_alexnet.config.schema import Config
from paddle_alexnet.report.validation import Validation, read_validation
from paddle_alexnet.runs.environment import read_environment
from paddle_alexnet.runs.run_folder import RunFolder
from paddle_alexnet.system.errors import UserError
from paddle_alexnet.system.typed_values import check_types


@dataclass(frozen=True)
class Epoch:
    """A row of `metrics.csv` in the report."""

    epoch: Annotated[int, Field(ge=1, le=10**9)]
    train_loss: float
    train_top1: float
    val_loss: float
    val_top1: float
    learning_rate: float
    images_per_second: float


@dataclass(frozen=True)
class Run:
    """The config, epochs, environment and validation of a run."""

    folder: RunFolder
    config: Config
    epochs: tuple[Epoch, ...]
    data: str  # name of the training data
    environment: dict[str, str]
    validation: Optional[Validation]

    @property
    def name(self) -> str:
        """The name of the run's folder."""
        return self.folder.path.resolve().name

    @property
    def settings(self) -> dict[str, str]:
        """The settings by key."""
        return config_as_text(self.config)

    @property
    def best(self) -> Optional[Epoch]:
        """The epoch with the lowest mean validation loss; None if no epoch had a finite loss."""
        finite = [epoch for epoch in self.epochs if math.isfinite(epoch.val_loss)]
        return min(finite, key=lambda epoch: epoch.val_loss, default=None)


def read_run(path: Union[str, Path]) -> Run:
    """Read a run's folder.

    Raises:
        UserError: The folder is not a run, or a file in it is damaged.
    """
    folder = RunFolder(path)
    if not folder.config.is_file():
        raise UserError(f"{path}: is not a run, config.yaml not found; name the folder that training wrote")
    rows = _read_metrics(folder.metrics)
    return Run(
        folder,
        load_config(folder.config),
        tuple(epoch for epoch, _ in rows),
        rows[0][1] if rows else "",
        read_environment(folder.environment),
        read_validation(folder.validation),
    )


def _read_metrics(path: Path) -> list[tuple[Epoch, str]]:
    """Return the epochs of a `metrics.csv` with the name of the data; none if the file does not exist."""
    if not path.exists():
        return []
    names = Epoch.__dataclass_fields__
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            table = DictReader(stream)
            for column in (*names, "data"):
                if column not in (table.fieldnames or ()):
                    raise ValueError(f"no column {column}")
            return [(check_types(Epoch, {name: row[name] for name in names}), row["data"] or "") for row in table]
    except UserError:
        raise
    except (OSError, ValueError, Error) as error:
        raise UserError(f"{path}: is damaged ({error}); name another run") from None
