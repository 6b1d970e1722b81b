"""Device selection."""

import re

from paddle_alexnet.system.errors import UserError


def check_device(device: str) -> str:
    """Return `device`, or raise UserError if it is not `auto`, `cpu` or `gpu:N`; do not import Paddle."""
    if re.fullmatch(r"auto|cpu|gpu:\d{1,3}", device):
        return device
    kind, _, number = device.lower().partition(":")
    meant = {"cpu": "cpu", "gpu": f"gpu:{number or 0}", "cuda": f"gpu:{number or 0}"}.get(kind, "auto")
    raise UserError(f"device {device!r} is not one of auto, cpu, gpu:N; write {meant}")


def use_device(device: str) -> str:
    """Set Paddle's device and return its name.

    Args:
        device: `auto` (the first GPU, else the CPU), `cpu` or `gpu:N`.

    Raises:
        UserError: The GPU is not found, its CUDA libraries are missing, or this Paddle does not support it.
    """
    import paddle

    check_device(device)
    count = paddle.device.cuda.device_count() if paddle.is_compiled_with_cuda() else 0
    if device == "auto":
        device = "gpu:0" if count else "cpu"
    # `set_device` would end the process if the GPU is not there.
    if device.startswith("gpu") and int(device.partition(":")[2]) >= count:
        built = "" if paddle.is_compiled_with_cuda() else " and this Paddle is built without CUDA"
        raise UserError(f"device {device}: not found, this machine has {count} GPUs{built}; use auto or cpu")
    if device.startswith("gpu"):
        from paddle_alexnet.system import cuda_capability, cuda_libraries

        capability = paddle.device.cuda.get_device_capability(int(device.partition(":")[2]))
        if reason := cuda_capability.explain_unsupported(capability) or cuda_libraries.explain_missing():
            raise UserError(f"device {device}: {reason}; or use cpu")
    paddle.set_device(device)
    return device
