"""How far recipes are from the AlexNet of 2012."""

import pytest
from helpers import REPOSITORY

from paddle_alexnet import load_config
from paddle_alexnet.analysis.fidelity import FACTS, NOTE, compare_with_2012, format_fidelity


def differing(*overrides: str, reference: str, part: str, config: str = "paddle2") -> dict[str, str]:
    """The facts that do not match, with the verdict."""
    table = compare_with_2012(load_config(REPOSITORY / "configs" / f"{config}.yaml", overrides))
    rows = table[(table["part"] == part) & (table[reference] != "matches")]
    return dict(zip(rows["fact"], rows[reference]))


@pytest.mark.parametrize("preset, reference", [("paper", "paper"), ("source145", "source145"), ("caffe", "caffe")])
def test_presets_of_2012_match_their_source(preset, reference):
    assert differing(f"model.preset={preset}", reference=reference, part="network") == {}


def test_each_reference_is_told_from_the_others():
    differs = differing("model.preset=paper", reference="source145", part="network")
    assert set(differs) == {
        *("order in layer 1", "order in layer 2", "order in layer 5", "spatial norm", "LRN across columns"),
        *("LRN factor of the sum of squares (α or α/n)", "conv3 weight std", "conv4 weight std", "conv5 weight std"),
    }
    assert differs["conv3 weight std"] == "differs (ours 0.01 / theirs 0.03)"
    assert differs["spatial norm"] == "differs (ours none / theirs 5×5, scale 0.001, k 1)"


def test_paddle2_differs_from_the_paper_in_what_is_known():
    stds = {f"{name} weight std" for name in ("conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8")}
    biases = {f"{name} bias at the start" for name in ("conv2", "conv4", "conv5", "fc6", "fc7")}
    others = {"input size", "groups of conv1 … conv5", "parameters", "LRN k"}
    factor = {"LRN factor of the sum of squares (α or α/n)"}
    assert set(differing(reference="paper", part="network")) == stds | biases | others | factor
    quirk = differing("model.quirks=[lrn_exclusive]", reference="paper", part="network")
    assert quirk["LRN beyond the first and last channel"] == "differs (ours left out of the mean / theirs zeros)"


def test_optimiser_is_measured():
    source = {"reference": "source145", "part": "optimiser", "config": "source145"}
    unlike = {"learning rate enters", "conv1's own schedule", "bias learning rate later"}
    assert set(differing("model.preset=half", **source)) == unlike
    differs = differing("model.preset=half", "optimizer.momentum=0.5", "optimizer.decay_biases=true", **source)
    assert set(differs) == {*unlike, "momentum", "weight decay of biases"}
    assert differs["momentum"] == "differs (ours 0.5 / theirs 0.9)"
    assert differs["weight decay of biases"] == "differs (ours 0.0005 / theirs 0)"
    # Adam keeps the decay elsewhere.
    differs = differing("model.preset=half", "optimizer.weight_decay=1e-3", reference="paper", part="optimiser")
    assert differs["weight decay"] == "differs (ours 0.001 / theirs 0.0005)"
    assert differs["weight decay of biases"] == "not stated (ours 0.001)"
    assert differs["momentum"] == "differs (ours none / theirs 0.9)"


def test_every_fact_is_measured_or_known_not_to_exist():
    table = compare_with_2012(load_config(REPOSITORY / "configs" / "source145.yaml"))
    assert len(set(table["fact"])) == len(FACTS)
    absent = {"layers left out of the pass", "conv1's own schedule"}
    assert set(table.loc[table["ours"] == "none", "fact"]) == absent
    printed = format_fidelity(compare_with_2012(load_config(REPOSITORY / "configs" / "half.yaml")))
    assert printed.endswith(NOTE)
    assert "* horizontal flips: differs (ours none / theirs random)" in printed
    assert "  colour noise: none: matches" in printed  # Caffe had none either
