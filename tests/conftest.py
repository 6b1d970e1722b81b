"""Fixtures that several test files share: a small data set, one finished run on it, quick presets, a browser."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import CHROMEDRIVER, CHROMIUM, Browser, open_browser
from helpers import small_config
from PIL import Image
from tiny import TINY, narrow

import paddle_alexnet
from paddle_alexnet.data.demo import draw_demo
from paddle_alexnet.network.presets import PRESETS
from paddle_alexnet.system import progress
from paddle_alexnet.training.trainer import Results


def pytest_configure() -> None:
    """Let Ctrl-C through, which a shell keeps from what it runs in the background: tests send it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    progress.SOON = 60.0  # a slow machine adds no lines to what tests read


@pytest.fixture(scope="session")
def demo_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo set with 5 images a class: 30 train, 10 val, 10 test."""
    root = tmp_path_factory.mktemp("data") / "demo"
    draw_demo(root, images_per_class=5)
    return root


@pytest.fixture(scope="session")
def finished_run(demo_set: Path, tmp_path_factory: pytest.TempPathFactory) -> Results:
    """Two epochs of the smallest preset on the demo set."""
    output = tmp_path_factory.mktemp("runs") / "finished"
    return paddle_alexnet.train(small_config(demo_set, output, "train.epochs=2"))


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve pictures, each of a color of its own: 0.png to 11.png."""
    root = tmp_path_factory.mktemp("pictures")
    for n in range(12):
        Image.new("RGB", (40, 30), (20 * n, 255 - 20 * n, 90)).save(root / f"{n}.png")
    return root


@pytest.fixture(scope="module")
def tiny_preset() -> Iterator[None]:
    """A preset `tiny`, for the tests of a module that asks for it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PRESETS, "tiny", TINY)
        yield


@pytest.fixture
def narrow_presets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every preset, with few linear weights."""
    for name, preset in PRESETS.items():
        monkeypatch.setitem(PRESETS, name, narrow(preset))


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """One browser for all tests, which takes longer to start than to show a page."""
    if not (CHROMIUM and CHROMEDRIVER):
        pytest.skip("needs chromium and chromedriver (Debian: chromium, chromium-driver)")
    with open_browser() as browser:
        yield browser
