"""The name of a device, checked without Paddle, and used with it."""

import paddle
import pytest

from paddle_alexnet.system import cuda_capability, cuda_libraries
from paddle_alexnet.system.device import check_device, use_device
from paddle_alexnet.system.errors import UserError


@pytest.mark.parametrize("name", ["auto", "cpu", "gpu:0", "gpu:12"])
def test_names_that_are_taken(name):
    assert check_device(name) == name


@pytest.mark.parametrize("name", ["", "gpu", "gpu:", "gpu:-1", "gpu:0 ", "gpu:0\n", "gpu:9999", "GPU:0", "tpu"])
def test_names_that_are_not(name):
    with pytest.raises(UserError, match="auto, cpu, gpu:N"):
        check_device(name)


def test_a_gpu_that_is_not_there_is_an_error():
    with pytest.raises(UserError, match="use auto or cpu"):
        use_device("gpu:999")
    assert use_device("cpu") == "cpu"
    assert paddle.get_device() == "cpu"


def test_a_gpu_without_its_libraries_is_an_error_with_the_remedy(monkeypatch):
    monkeypatch.setattr(paddle, "is_compiled_with_cuda", lambda: True)
    monkeypatch.setattr(paddle.device.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(paddle.device.cuda, "get_device_capability", lambda number: (8, 0))
    said = 'libcudnn.so is not found; run pip install "paddle-alexnet[gpu]"'
    monkeypatch.setattr(cuda_libraries, "explain_missing", lambda: said)
    for name in ("auto", "gpu:0"):
        with pytest.raises(UserError, match=r"device gpu:0: libcudnn\.so is not found; .*; or use cpu"):
            use_device(name)
    assert use_device("cpu") == "cpu"


def test_a_gpu_that_paddle_has_no_code_for_is_an_error(monkeypatch):
    monkeypatch.setattr(paddle, "is_compiled_with_cuda", lambda: True)
    monkeypatch.setattr(paddle.device.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(paddle.device.cuda, "get_device_capability", lambda number: (9, number))
    monkeypatch.setattr(
        cuda_capability, "explain_unsupported", lambda capability: "no code for {}.{}".format(*capability)
    )
    with pytest.raises(UserError, match=r"device gpu:1: no code for 9\.1; or use cpu"):
        use_device("gpu:1")
