from types import SimpleNamespace

import numpy as np
import pytest

from paddle_alexnet import load_config
from paddle_alexnet.config.recipe import recipes
from paddle_alexnet.data.classes import ClassList
from paddle_alexnet.training.setup import recipe_warnings


def table(*counts):
    labels = np.repeat(np.arange(len(counts)), counts)
    classes = ClassList.from_lines([f"class {index}" for index in range(len(counts))], "classes.txt")
    return SimpleNamespace(labels=labels, classes=classes, rows=lambda split: np.arange(len(labels)))


def said(*overrides, counts=(400, 400)):
    return list(recipe_warnings(load_config(None, overrides), table(*counts)))


@pytest.mark.parametrize(("overrides", "counts", "expected"), [
    ([], (400, 41), []),
    ([], (400, 40), ["the train split has 400 images of class 0, 40 of class 1"]),
    ([], (400, 0, 0), ["the train split has no image of class 1 and 1 more; the network cannot learn such a class"]),
    (["train.batch_size=800"], (400, 400), []),
    (["train.batch_size=801"], (400, 400), ["train.batch_size 801 is more than the 800 images"]),
    (["optimizer.learning_rate=1e-3"], (400, 400), ["0.001 is high for adam with batch size 32; 0.0001 is usual"]),
    (["optimizer.learning_rate=1e-8"], (400, 400), ["1e-08 is low for adam with batch size 32; 0.0001 is usual"]),
    (["optimizer.name=momentum", "optimizer.learning_rate=0.01"], (400, 400), []),
    (["optimizer.name=momentum", "optimizer.learning_rate=0.01", "train.batch_size=8"], (400, 400),
     ["0.01 is high for momentum with batch size 8; 0.0006 is usual"]),
    (["optimizer.name=sgd", "optimizer.learning_rate=0.01", "train.batch_size=8"], (400, 400), []),
    (["data.resize=256"], (400, 400), []),
    (["data.resize=256", "model.preset=small"], (400, 400), ["sees only the central 26% of an image; 150 is"]),
    (["schedule.name=cosine", "schedule.warmup_epochs=5", "train.epochs=6"], (400, 400), []),
    (["schedule.name=cosine", "schedule.warmup_epochs=5", "train.epochs=5"], (400, 400),
     ["schedule.warmup_epochs 5 is not less than train.epochs 5; the learning rate never reaches 0.0001"]),
])  # fmt: skip
def test_odd_recipe_has_a_warning_for_each_oddity(overrides, counts, expected):
    found = said(*overrides, counts=counts)
    assert len(found) == len(expected)
    for line, part in zip(found, expected):
        assert part in line


@pytest.mark.parametrize("recipe", sorted(set(recipes()) - {"tensorflow"}))
def test_the_recipes_have_usual_rates(recipe):
    assert not list(recipe_warnings(load_config(recipes()[recipe]), table(400, 400)))
