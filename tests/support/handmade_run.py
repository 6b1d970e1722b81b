"""A run's folder as a training leaves it, written by hand: three classes, twelve pictures, three epochs."""

from pathlib import Path

import numpy as np

from paddle_alexnet.config.recipe import load_config, save_config
from paddle_alexnet.data.classes import ClassList
from paddle_alexnet.data.preprocess import Preprocess
from paddle_alexnet.evaluation.classification import SplitPredictions, rank_classes
from paddle_alexnet.report.validation import write_validation
from paddle_alexnet.runs.environment import save_environment
from paddle_alexnet.runs.run_folder import RunFolder

NAMES = ("Äpfel", "<b>bold</b>", "$x_1$ & a class whose name is rather long")
METRICS = """epoch,train_loss,train_top1,val_loss,val_top1,learning_rate,images_per_second,improved,data
1,2.5,0.1,nan,0.25,0.00003,9,False,photographs
2,2,0.2,1.25,0.5,0.00015,11,True,photographs
3,1.5,0.4,1.5,0.5,0.0000075,10,False,photographs
"""


def answers(images: int = 12, classes: int = 3) -> SplitPredictions:
    """Predictions drawn from a fixed seed; about half of them are right."""
    rng = np.random.default_rng(0)
    truth = np.arange(images) % classes
    logits = rng.normal(size=(images, classes)) + 1.2 * np.eye(classes)[truth]
    return rank_classes(truth, logits - np.log(np.exp(logits).sum(axis=1, keepdims=True)))


def write_run(folder: RunFolder, pictures: Path, *overrides: str, names: tuple[str, ...] = NAMES) -> None:
    """A run without models."""
    folder.path.mkdir(parents=True)
    save_config(load_config(None, ["model.preset=half", *overrides]), folder.config, comment="a test's")
    folder.metrics.write_text(METRICS)
    save_environment(folder.environment, "cpu")
    filenames = [f"{n}.png" for n in range(12)]
    classes, preprocess = ClassList(names, (None,) * 3), Preprocess(32, (0.5, 0.5, 0.5), (0.2, 0.2, 0.2))
    write_validation(
        folder.validation,
        answers(),
        filenames,
        root=pictures,
        split="val",
        epoch=3,
        classes=classes,
        preprocess=preprocess,
    )
