"""Training on several devices or machines: a process for each, started by `python -m paddle.distributed.launch`.

The launcher tells each process its number, the `rank`, and how many there are. Rank r takes the samples r, r + ranks,
r + 2·ranks, … of every global batch; `paddle.Model` wraps the network in `paddle.DataParallel`, which averages the
gradients over the ranks before each update. So all ranks hold the same weights, and those that one process would have.
Rank 0 alone writes files and shows progress.

Where a global batch cannot be shared out evenly, the ranks with fewer samples fill theirs up with `PADDING`, because
`paddle.Model` gathers outputs of equal shapes. Losses and metrics leave the padding out, and weight every rank by its
number of samples.
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
    """The number of this process, from 0."""
    return int(os.environ.get("PADDLE_TRAINER_ID", 0)) if ranks() > 1 else 0


def ranks() -> int:
    """How many processes train together, on all machines."""
    return int(os.environ.get("PADDLE_TRAINERS_NUM", 1))


def on_first(*items: Item) -> tuple[Item, ...]:
    """The items on rank 0, none on the others: callbacks that write or show something."""
    return () if rank() else items


def device_of_rank(device: str) -> str:
    """The device of this process where `device` is what the recipe says: `auto` is the GPU that the launcher gave it.

    Raises UserError for a certain GPU, which all processes would share.
    """
    if ranks() == 1:
        return device
    if device.startswith("gpu"):
        raise UserError(f"device {device}: the launcher gives each of the {ranks()} processes its own GPU: use auto")
    given = os.environ.get("FLAGS_selected_gpus", "").split(",")[0]  # noqa: SIM112
    if device == "auto" and given:
        return f"gpu:{given}"
    os.environ["PADDLE_DISTRI_BACKEND"] = "gloo"  # Paddle built for GPUs would take NCCL
    return "cpu"


@contextmanager
def parallel(config: Config) -> Iterator[str]:
    """Connect the processes of a run for as long as it takes, and yield the device of this one.

    An error in one of them ends them all: rank 0, too, raises UserError with the reason of the one that failed.

    Raises:
        UserError: The device is not there, or a global batch has no sample for some rank.
    """
    global _channel
    device = device_of_rank(config.device)
    device = use_device(device)
    if ranks() == 1:
        yield device
        return
    if config.train.batch_size < ranks():
        raise UserError(f"train.batch_size is {config.train.batch_size}, less than the {ranks()} processes: raise it")
    with contextlib.redirect_stderr(io.StringIO()):  # a table of flags
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
    """Wait until every rank has come here."""
    if _channel is not None:
        _channel.barrier()


@contextmanager
def first_before_others() -> Iterator[None]:
    """Run a block on rank 0, then on one rank of each other machine, then on the rest.

    What it writes, such as a cache, is there for those that come later, whether or not the machines share a disk.
    """
    turn = 0 if rank() == 0 else 1 if os.environ.get("PADDLE_LOCAL_RANK", "0") == "0" else 2
    for _ in range(turn):
        barrier()
    yield
    for _ in range(turn, 2):
        barrier()


class StopRequest:
    """Which signal has asked the run to stop, None as long as none has."""

    def __init__(self) -> None:
        self.signal: Optional[int] = None
        self._handlers: dict[int, Any] = {}

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Take down the first signal instead of obeying it; obey the second at once.

        Only the main thread can do so: elsewhere signals do what they always do.
        """
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                if signal.getsignal(number) is not signal.SIG_IGN:  # as `nohup` and a shell's background jobs have it
                    self._handlers[number] = signal.signal(number, self._note)
        try:
            yield
        finally:
            self.release()

    def obey(self) -> None:
        """Let a signal that has come do what it would have done then, such as raise KeyboardInterrupt."""
        if self.signal is not None:
            self.release()
            signal.raise_signal(self.signal)

    def _note(self, number: int, frame: Optional[FrameType]) -> None:
        again, self.signal = self.signal is not None, number
        if again:
            self.obey()

    def release(self) -> None:
        """Let signals do again what they did before."""
        while self._handlers:
            signal.signal(*self._handlers.popitem())


class SharedStopRequest(StopRequest):
    """A signal that any rank may get: all obey it after the same step. A second one is obeyed at once."""

    def __init__(self) -> None:
        super().__init__()
        self.noted: Optional[int] = None  # here, and not yet agreed on

    def agree(self) -> None:
        """Wait for the other ranks, and take up what one of them has noted."""
        stop = _channel is not None and _channel.barrier(stop=self.noted is not None)
        if stop and self.signal is None:
            self.signal = self.noted or signal.SIGTERM

    def _note(self, number: int, frame: Optional[FrameType]) -> None:
        again = self.noted is not None
        if again and number == signal.SIGTERM and "PADDLE_TRAINER_ID" in os.environ:
            return  # the launcher sends it three times, and ends what is left after 30 seconds
        self.noted = number
        if ranks() == 1:
            super()._note(number, frame)
        elif again:
            self.signal = number
            self.obey()


class MeetBeforeBatch(Callback):
    """Let the ranks wait for each other before each batch, while one reads images or rank 0 writes a checkpoint."""

    def __init__(self, stop: SharedStopRequest) -> None:
        super().__init__()
        self.stop = stop

    def on_train_batch_begin(self, step: int, logs: Any) -> None:
        self.stop.agree()

    def on_eval_batch_begin(self, step: int, logs: Any) -> None:
        self.stop.agree()


class GlobalMean(nn.Layer):
    """This rank's part of a loss that is a mean over the samples of the global batch.

    The parts are scaled so that their mean over the ranks, which is what `paddle.DataParallel` makes of the gradients,
    is the mean over the samples.
    """

    def __init__(self, loss: nn.Layer) -> None:
        super().__init__()
        self.loss = loss

    def forward(self, logits: paddle.Tensor, label: paddle.Tensor) -> paddle.Tensor:
        samples = is_sample(label).astype("float32").sum()
        everywhere = samples.clone()
        paddle.distributed.all_reduce(everywhere)
        own = int(samples.item())  # the padding is behind them
        if not own:
            return logits.sum() * 0.0  # no gradient, but every rank has to take part
        return self.loss(logits[:own], label[:own]) * (samples * ranks() / everywhere)


def global_loss(loss: nn.Layer) -> nn.Layer:
    """A loss that is the mean over a batch, as the mean over the batches of all ranks."""
    return loss if ranks() == 1 else GlobalMean(loss)


def global_metric(metric: Metric) -> Metric:
    """A metric that adds up what `compute` gives for each sample, so that it counts the samples of all ranks once."""
    if ranks() == 1:
        return metric
    compute = metric.compute

    def of_all_ranks(logits: paddle.Tensor, label: paddle.Tensor) -> paddle.Tensor:
        if logits.stop_gradient:  # in evaluation, where paddle.Model has gathered them: back to this rank's own
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
    """Open the channel at the address of rank 0, whose free port the others are told."""
    host = paddle.distributed.ParallelEnv().trainer_endpoints[0].rpartition(":")[0]
    listener = socket.create_server(("", 0)) if rank() == 0 else None
    port = paddle.to_tensor([listener.getsockname()[1] if listener else 0], "int32")
    paddle.distributed.broadcast(port, src=0)
    from paddle_alexnet.training.control_channel import open_channel

    return open_channel(rank(), ranks() - 1, host, int(port.item()), listener)
