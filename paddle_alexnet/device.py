"""Which device to compute on."""

import paddle

from paddle_alexnet.errors import UserError


def use_device(device: str) -> str:
    """Make `auto`, `cpu` or `gpu:N` Paddle's device and return its name; `auto` is the first GPU, else the CPU.

    Raises UserError for a GPU that is not there. Paddle's own `set_device("gpu")` would end the
    process on a machine without one, so it is asked first.
    """
    count = paddle.device.cuda.device_count() if paddle.is_compiled_with_cuda() else 0
    if device == "auto":
        device = "gpu:0" if count else "cpu"
    if device.startswith("gpu") and int(device.partition(":")[2] or 0) >= count:
        built = "" if paddle.is_compiled_with_cuda() else "; this Paddle is built without CUDA"
        raise UserError(f"device {device}: there are {count} GPUs here{built}: use device=auto or device=cpu")
    paddle.set_device(device)
    return device
