"""How far recipes are from the AlexNet of 2012."""

from collections.abc import Iterator
from functools import cache

import pandas as pd
import pytest
from helpers import REPOSITORY

from paddle_alexnet import Config, load_config
from paddle_alexnet.studies import fidelity
from paddle_alexnet.studies.fidelity import FACTS, compare_with_2012, format_fidelity


@pytest.fixture(scope="module", autouse=True)
def data_are_measured_once() -> Iterator[None]:
    """Loaders that are set alike are measured once, whatever network they are for."""
    known: dict[str, dict[str, str]] = {}

    def data_facts(config: Config, image_size: int) -> dict[str, str]:
        key = f"{config.data} {config.train} {image_size}"
        if key not in known:
            known[key] = measure(config, image_size)
        return known[key]

    measure = fidelity.data_facts
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fidelity, "data_facts", data_facts)
        yield


@cache
def compared(recipe: str, *overrides: str) -> pd.DataFrame:
    return compare_with_2012(load_config(REPOSITORY / "configs" / f"{recipe}.yaml", overrides))


def differing(recipe: str, reference: str, *overrides: str) -> dict[str, str]:
    """The facts that do not match, with the verdict."""
    table = compared(recipe, *overrides)
    rows = table[table[reference] != "matches"]
    return dict(zip(rows["fact"], rows[reference]))


@pytest.mark.parametrize(
    "recipe, expected",
    [
        # The paper does not say whether biases decay, what mean a crop is freed of, or that the noise ever ends.
        ("paper", {"weight decay of biases", "mean image under a crop", "color noise at the end"}),
        ("source145", set()),
        ("caffe", set()),
    ],
)
def test_recipes_of_2012_match_their_source_but_for_what_is_known(recipe, expected):
    assert set(differing(recipe, recipe)) == expected


def test_fidelity_finds_the_facts_in_which_references_differ():
    differs = differing("paper", "source145")
    assert set(compared("paper").query("part == 'network' and source145 != 'matches'")["fact"]) == {
        *("order in layer 1", "order in layer 2", "order in layer 5", "spatial norm", "LRN across columns"),
        *("LRN factor of the sum of squares (α or α/n)", "conv3 weight std", "conv4 weight std", "conv5 weight std"),
    }
    assert differs["conv3 weight std"] == "differs (ours 0.01 / theirs 0.03)"
    assert differs["spatial norm"] == "differs (ours none / theirs 5×5, scale 0.001, k 1)"
    assert (
        differs["color noise"]
        == "differs (ours PCA, 0.1 of the eigenvalues / theirs PCA, 0.1 of the standard deviations)"
    )
    assert differing("paper", "caffe")["dropout scales by"] == (
        "differs (ours 1 in training, 0.5 at test / theirs 2 in training, 1 at test)"
    )


def test_paddle2_differs_from_the_paper_in_what_is_known():
    table = compared("paddle2", "model.quirks=[lrn_exclusive]")
    differs = table[(table["paper"] != "matches") & (table["part"] == "network")].set_index("fact")["paper"]
    stds = {f"{name} weight std" for name in ("conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8")}
    biases = {f"{name} bias at the start" for name in ("conv2", "conv4", "conv5", "fc6", "fc7")}
    others = {"input size", "groups of conv1 … conv5", "parameters", "LRN k", "dropout scales by"}
    others |= {"LRN factor of the sum of squares (α or α/n)", "LRN beyond the first and last channel"}
    assert set(differs.index) == stds | biases | others
    assert differs["LRN beyond the first and last channel"] == "differs (ours left out of the mean / theirs zeros)"


@pytest.mark.parametrize(
    ("start", "said"),
    [("initialization=kmeans", "found in the training images"), ("weights=runs/mine", "of another run")],
)
def test_first_weights_that_are_not_drawn_match_no_reference(start, said):
    table = compared("paper", f"model.{start}")
    first = table[table.fact.str.endswith(("weight std", "bias at the start"))]
    assert len(first) == 16
    assert set(first.ours) == {said}
    assert not (first[["paper", "source145", "caffe"]] == "matches").any(axis=None)


def test_every_fact_is_measured_and_named_once():
    table = compared("source145", "data.shared_crops=1")
    assert len(set(table["fact"])) == len(FACTS)
    absent = {"layers left out of the pass"}
    assert set(table.loc[table["ours"] == "none", "fact"]) == absent
    printed = format_fidelity(table)
    assert "\n* images in a row that share crop and flip: differs (ours 1 / theirs 32)\n" in printed
    assert "\n  color noise: PCA, 0.1 of the standard deviations: matches\n" in printed
    assert "the released source, run 145: 60 of 61 facts match" in printed
