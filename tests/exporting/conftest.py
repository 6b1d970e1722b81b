"""Exports that are compared with their network on a few pictures."""

import pytest

from paddle_alexnet.exporting import verification as proof


@pytest.fixture(autouse=True)
def few_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three, none of them timed."""
    monkeypatch.setattr(proof, "PICTURES", 3)
    monkeypatch.setattr(proof, "LATENCIES", ())
