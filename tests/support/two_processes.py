"""Training steps in as many processes as the launcher starts, timed; rank 0 writes what it measured as JSON.

    python -m paddle.distributed.launch --nproc_per_node 2 --backend gloo \\
        tests/support/two_processes.py FILE PRESET BATCH STEPS
"""
# ruff: noqa: I001  (the package comes before Paddle)

import json
import sys
import time
from contextlib import nullcontext
from pathlib import Path

import paddle_alexnet  # noqa: F401  before Paddle
import paddle
from paddle_alexnet.network.alexnet import AlexNet


def seconds(function, steps: int) -> float:
    """The best of several calls, between which the processes meet."""
    best = float("inf")
    for _ in range(steps):
        if paddle.distributed.get_world_size() > 1:
            paddle.distributed.barrier()
        started = time.perf_counter()
        function()
        best = min(best, time.perf_counter() - started)
    return best


def measure(preset: str, batch_size: int, steps: int) -> dict[str, float]:
    """Seconds of a training step, of one without exchange, of an all-reduce of its gradients and of a number."""
    several = paddle.distributed.get_world_size() > 1
    network = AlexNet(preset, 10)
    size = sum(parameter.size for parameter in network.parameters())
    model = paddle.DataParallel(network) if several else network
    optimizer = paddle.optimizer.SGD(1e-3, parameters=network.parameters())
    image = paddle.rand([batch_size, 3, network.image_size, network.image_size])
    label = paddle.zeros([batch_size], "int64")

    def step(*, exchange: bool = True) -> None:
        with nullcontext() if exchange or not several else model.no_sync():
            paddle.nn.functional.cross_entropy(model(image), label).backward()
        optimizer.step()
        optimizer.clear_grad()

    step()
    found = {"parameters": size, "compute": seconds(lambda: step(exchange=False), steps), "step": seconds(step, steps)}
    if several:
        gradient, number = paddle.zeros([size]), paddle.zeros([1])
        found["all_reduce"] = seconds(lambda: paddle.distributed.all_reduce(gradient), steps)
        found["message"] = seconds(lambda: paddle.distributed.all_reduce(number), 20)
    return found


if __name__ == "__main__":
    place, preset, batch_size, steps = sys.argv[1:]
    paddle.set_device("cpu")
    paddle.distributed.init_parallel_env()
    measured = measure(preset, int(batch_size), int(steps))
    if paddle.distributed.get_rank() == 0:
        Path(place).write_text(json.dumps(measured), encoding="utf-8")
