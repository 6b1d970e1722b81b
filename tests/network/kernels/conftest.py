"""Whether the compiled kernels are there to be tested."""

import pytest

from paddle_alexnet.network.kernels import library


@pytest.fixture(scope="session")
def compiled():
    """The operators, loaded; skips where they are not built."""
    if not library.built():
        pytest.skip("the compiled kernels are not built here: make fast")
    library.load()
