"""Distributed training, one process per device, started by `python -m paddle.distributed.launch`.

Rank r takes the samples r, r + ranks, r + 2·ranks, … of every global batch. `paddle.Model` wraps the network in
`paddle.DataParallel`, which averages the gradients over the ranks before each update. Every rank has the weights that a
single process would have. Only rank 0 writes files and shows progress.

`paddle.Model` gathers outputs of equal shapes, so ranks with fewer samples of a global batch append `PADDING`. Losses
and metrics exclude the padding, and weight every rank by its number of samples.
"""

import contextlib
import io
import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any, Optional, TypeVar

import paddle
import paddle.distributed
from paddle import nn
from paddle.callbacks import Callback
from paddle.metric import Metric

from paddle_alexnet.config.schema import Config
from paddle_alexnet.data.loader import is_sample
from paddle_alexnet.system.device import use_device
from paddle_alexnet.system.errors import UserError

if TYPE_CHECKING:
    from paddle_alexnet.training.control_channel import ControlChannel

Item = TypeVar("Item")
_channel: Optional["ControlChannel"] = None


def rank() -> int:
    """Return the number of this process, from 0."""
    return int(os.environ.get("PADDLE_TRAINER_ID", 0)) if ranks() > 1 else 0


def ranks() -> int:
    """Return the number of processes that train together, on all machines."""
    return int(os.environ.get("PADDLE_TRAINERS_NUM", 1))


def on_first(*items: Item) -> tuple[Item, ...]:
    """Return the items on rank 0, none on other ranks; for callbacks that write files or show progress."""
    return () if rank() else items


def device_of_rank(device: str) -> str:
    """Return the device of this process; `auto` is the GPU that the launcher assigned, else the CPU.

    Raises:
        UserError: The config names one GPU, which all processes would share.
    """
    if ranks() == 1:
        return device
    if device.startswith("gpu"):
        raise UserError(f"device {device}: the launcher assigns a GPU to each of the {ranks()} processes; use auto")
    given = os.environ.get("FLAGS_selected_gpus", "").split(",")[0]  # noqa: SIM112
    if device == "auto" and given:
        return f"gpu:{given}"
    os.environ["PADDLE_DISTRI_BACKEND"] = "gloo"  # a GPU build of Paddle would use NCCL
    return "cpu"


@contextmanager
def parallel(config: Config) -> Iterator[str]:
    """Connect the processes of a run, and yield the device of this one.

    An error in one process ends all of them, with the error of the failed one.

    Raises:
        UserError: The device is not found, the batch size is less than the number of ranks, or another rank has failed.
    """
    global _channel
    device = device_of_rank(config.device)
    device = use_device(device)
    if ranks() == 1:
        yield device
        return
    if config.train.batch_size < ranks():
        size = config.train.batch_size
        raise UserError(f"train.batch_size={size}: is less than the {ranks()} processes; increase it")
    with contextlib.redirect_stderr(io.StringIO()):  # Paddle prints a table of flags
        paddle.distributed.init_parallel_env()
    channel = _channel = _connect()
    try:
        yield device
        channel.barrier()
    except UserError as error:
        channel.fail(str(error))
        raise
    except Exception as error:
        lost = channel.failure(within=5)  # a collective fails because another process is gone
        if lost:
            raise UserError(lost) from error
        channel.fail(f"{type(error).__name__}: {error}")
        raise
    except BaseException as error:  # a signal
        channel.fail(f"was ended by {type(error).__name__.strip('_')}")
        raise
    finally:
        channel.close()
        _channel = None


def barrier() -> None:
    """Wait for all ranks."""
    if _channel is not None:
        _channel.barrier()


@contextmanager
def first_before_others() -> Iterator[None]:
    """Run a block on rank 0, then on one rank of each other machine, then on the rest.

    Later ranks find the files that the block writes, such as a cache, whether or not the machines share a disk.
    """
    turn = 0 if rank() == 0 else 1 if os.environ.get("PADDLE_LOCAL_RANK", "0") == "0" else 2
    for _ in range(turn):
        barrier()
    yield
    for _ in range(turn, 2):
        barrier()


class StopRequest:
    """The signal that has asked the run to stop, or None."""

    def __init__(self) -> None:
        self.signal: Optional[int] = None
        self._handlers: dict[int, Any] = {}

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Defer the first signal, and obey a second one at once; signals keep their effect outside the main thread."""
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                if signal.getsignal(number) is not signal.SIG_IGN:  # set by `nohup` and for background jobs
                    self._handlers[number] = signal.signal(number, self._note)
        try:
            yield
        finally:
            self.release()

    def obey(self) -> None:
        """Raise a deferred signal again with its original handler, such as KeyboardInterrupt."""
        if self.signal is not None:
            self.release()
            signal.raise_signal(self.signal)

    def _note(self, number: int, frame: Optional[FrameType]) -> None:
        again, self.signal = self.signal is not None, number
        if again:
            self.obey()

    def release(self) -> None:
        """Restore the original handlers."""
        while self._handlers:
            signal.signal(*self._handlers.popitem())


class SharedStopRequest(StopRequest):
    """A signal that any rank may receive and all obey after the same step; a second signal is obeyed at once."""

    def __init__(self) -> None:
        super().__init__()
        self.noted: Optional[int] = None  # received by this rank, not yet agreed on

    def agree(self) -> None:
        """Wait for the other ranks, and take over a signal that any of them has received."""
        stop = _channel is not None and _channel.barrier(stop=self.noted is not None)
        if stop and self.signal is None:
            self.signal = self.noted or signal.SIGTERM

    def _note(self, number: int, frame: Optional[FrameType]) -> None:
        again = self.noted is not None
        if again and number == signal.SIGTERM and "PADDLE_TRAINER_ID" in os.environ:
            return  # the launcher sends it three times, and kills the processes after 30 seconds
        self.noted = number
        if ranks() == 1:
            super()._note(number, frame)
        elif again:
            self.signal = number
            self.obey()


class MeetBeforeBatch(Callback):
    """A callback in which the ranks wait for each other before each batch."""

    def __init__(self, stop: SharedStopRequest) -> None:
        super().__init__()
        self.stop = stop

    def on_train_batch_begin(self, step: int, logs: Any) -> None:
        self.stop.agree()

    def on_eval_batch_begin(self, step: int, logs: Any) -> None:
        self.stop.agree()


class GlobalMean(nn.Layer):
    """This rank's part of a loss that is a mean over the samples of the global batch.

    `paddle.DataParallel` averages the gradients over the ranks, so the parts are scaled by the ranks' samples.
    """

    def __init__(self, loss: nn.Layer) -> None:
        super().__init__()
        self.loss = loss

    def forward(self, logits: paddle.Tensor, label: paddle.Tensor) -> paddle.Tensor:
        samples = is_sample(label).astype("float32").sum()
        everywhere = samples.clone()
        paddle.distributed.all_reduce(everywhere)
        own = int(samples.item())  # the padding follows them
        if not own:
            return logits.sum() * 0.0  # no gradient, but every rank must take part
        return self.loss(logits[:own], label[:own]) * (samples * ranks() / everywhere)


def global_loss(loss: nn.Layer) -> nn.Layer:
    """Turn a mean over a batch into a mean over the batches of all ranks."""
    return loss if ranks() == 1 else GlobalMean(loss)


def global_metric(metric: Metric) -> Metric:
    """Let a metric that sums the results of `compute` per sample count the samples of all ranks, each once."""
    if ranks() == 1:
        return metric
    compute = metric.compute

    def of_all_ranks(logits: paddle.Tensor, label: paddle.Tensor) -> paddle.Tensor:
        if logits.stop_gradient:  # evaluation: paddle.Model has gathered all ranks' rows
            logits, label = (paddle.chunk(rows, ranks())[rank()] for rows in (logits, label))
        values, samples = _gathered(compute(logits, label)), _gathered(is_sample(label).astype("int32"))
        return values[samples == 1]

    metric.compute = of_all_ranks
    return metric


def _gathered(rows: paddle.Tensor) -> paddle.Tensor:
    parts: list[paddle.Tensor] = []
    paddle.distributed.all_gather(parts, rows)
    return paddle.concat(parts)


def _connect() -> "ControlChannel":
    """Open the channel at the address of rank 0, which broadcasts a free port."""
    host = paddle.distributed.ParallelEnv().trainer_endpoints[0].rpartition(":")[0]
    listener = socket.create_server(("", 0)) if rank() == 0 else None
    port = paddle.to_tensor([listener.getsockname()[1] if listener else 0], "int32")
    paddle.distributed.broadcast(port, src=0)
    from paddle_alexnet.training.control_channel import open_channel

    return open_channel(rank(), ranks() - 1, host, int(port.item()), listener)
