"""Which device to compute on."""

import re

from paddle_alexnet.system import cuda_capability as cuda_code
from paddle_alexnet.system import cuda_libraries
from paddle_alexnet.system.errors import UserError


def check_device(device: str) -> str:
    """Return `auto`, `cpu` or `gpu:N` as it is, without importing Paddle. Raises UserError for anything else."""
    if re.fullmatch(r"auto|cpu|gpu:\d{1,3}", device):
        return device
    kind, _, number = device.lower().partition(":")
    meant = {"cpu": "cpu", "gpu": f"gpu:{number or 0}", "cuda": f"gpu:{number or 0}"}.get(kind, "auto")
    raise UserError(f"device {device!r} is not one of auto, cpu, gpu:N; write {meant}")


def use_device(device: str) -> str:
    """Make `auto`, `cpu` or `gpu:N` Paddle's device and return its name; `auto` is the first GPU, else the CPU.

    Raises UserError for a GPU that is not there, and for one without the libraries to use it or that this Paddle has no
    code for. Paddle's own `set_device("gpu")` would end the process on a machine without one, so it is asked first.
    """
    import paddle

    check_device(device)
    count = paddle.device.cuda.device_count() if paddle.is_compiled_with_cuda() else 0
    if device == "auto":
        device = "gpu:0" if count else "cpu"
    if device.startswith("gpu") and int(device.partition(":")[2]) >= count:
        built = "" if paddle.is_compiled_with_cuda() else "; this Paddle is built without CUDA"
        raise UserError(f"device {device}: there are {count} GPUs here{built}: use auto or cpu")
    if device.startswith("gpu"):
        capability = paddle.device.cuda.get_device_capability(int(device.partition(":")[2]))
        if reason := cuda_code.explain_unsupported(capability) or cuda_libraries.explain_missing():
            raise UserError(f"device {device}: {reason}; or use cpu")
    paddle.set_device(device)
    return device
