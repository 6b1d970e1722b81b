"""Choosing among the backends of a layer, by a table of the test's own."""

import paddle
import pytest

from paddle_alexnet import UserError
from paddle_alexnet.network.lrn import Backend, choose_among, usable_backends

MAJOR = int(paddle.__version__.split(".")[0])
TABLE = {
    "fast": Backend(lambda layer, x: x, jit=(MAJOR + 1,), onnx=()),
    "middle": Backend(lambda layer, x: x, onnx=()),
    "plain": Backend(lambda layer, x: x),
}


@pytest.mark.parametrize(
    "job, names", [("train", ["fast", "middle", "plain"]), ("jit", ["middle", "plain"]), ("onnx", ["plain"])]
)
def test_choose_among_takes_the_first_usable_backend_for_auto_and_unusable_ones(job, names):
    assert usable_backends(TABLE, job) == names
    assert choose_among(TABLE, "auto", job=job, what="backend") == names[0]
    for name in TABLE:
        assert choose_among(TABLE, name, job=job, what="backend") == (name if name in names else names[0])


def test_an_unknown_name_names_the_nearest():
    with pytest.raises(UserError, match="unknown backend 'midle'; did you mean 'middle'"):
        choose_among(TABLE, "midle", job="train", what="backend")
