"""What ranks tell each other, between threads of one process."""

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from paddle_alexnet.system.errors import UserError
from paddle_alexnet.training import control_channel
from paddle_alexnet.training.control_channel import ControlChannel, open_channel

Three = tuple[ControlChannel, ControlChannel, ControlChannel]


@pytest.fixture
def ends(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The reasons for which a process would have been ended by force."""
    reasons: list[str] = []
    monkeypatch.setattr(control_channel, "_end", reasons.append)
    monkeypatch.setattr(control_channel, "GRACE", 0.2)
    return reasons


@pytest.fixture
def three(ends: list[str]) -> Iterator[Three]:
    """The channels of three ranks."""
    (zero_one, one), (zero_two, two) = socket.socketpair(), socket.socketpair()
    channels = (
        ControlChannel(0, {1: zero_one, 2: zero_two}),
        ControlChannel(1, {0: one}),
        ControlChannel(2, {0: two}),
    )
    yield channels
    for channel in channels:
        channel.close()


def arrive(channel: ControlChannel, results: list[object], *, stop: bool = False) -> threading.Thread:
    def run() -> None:
        try:
            results.append(channel.barrier(stop=stop))
        except UserError as error:
            results.append(str(error))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread


def test_nobody_goes_on_before_the_last_has_come(three):
    for _ in range(3):
        results: list[object] = []
        waiting = [arrive(three[0], results), arrive(three[2], results)]
        time.sleep(0.05)
        assert results == []
        waiting.append(arrive(three[1], results))
        for thread in waiting:
            thread.join(5)
        assert results == [False] * 3


def test_all_learn_at_one_barrier_that_one_wants_to_stop(three):
    for who in (None, 2):
        results: list[object] = []
        for thread in [arrive(channel, results, stop=rank == who) for rank, channel in enumerate(three)]:
            thread.join(5)
        assert results == [who is not None] * 3


def test_the_reason_of_a_failure_reaches_every_rank(three, ends):
    results: list[object] = []
    waiting = [arrive(three[0], results), arrive(three[2], results)]
    three[1].fail("labels.csv, line 7:\nno such image")
    three[1].close()
    for thread in waiting:
        thread.join(5)
    assert results == ["rank 1: labels.csv, line 7: no such image"] * 2
    assert three[0].failure(within=0) == three[2].failure(within=0) == results[0]
    time.sleep(0.5)
    assert ends == results  # they have had their time to end in good order


def test_a_rank_that_dies_is_missed(three, ends):
    three[1].connections[0].shutdown(socket.SHUT_RDWR)
    assert "rank 1: ended without a message" in str(three[2].failure(within=5))


def test_a_rank_that_falls_silent_is_missed(monkeypatch, ends):
    monkeypatch.setattr(control_channel, "SILENCE", 0.3)
    here, there = socket.socketpair()  # nobody there sends signs of life
    channel = ControlChannel(0, {1: here})
    assert channel.failure(within=0.1) is None
    assert "rank 1: ended without a message" in str(channel.failure(within=5))
    channel.close()
    there.close()


def test_signs_of_life_keep_a_long_wait_alive(monkeypatch, ends):
    monkeypatch.setattr(control_channel, "SILENCE", 0.5)
    monkeypatch.setattr(control_channel, "HEARTBEAT", 0.1)
    listener = socket.create_server(("127.0.0.1", 0))
    port, opened = listener.getsockname()[1], []
    call = threading.Thread(target=lambda: opened.append(open_channel(1, 1, "127.0.0.1", port, None)))
    call.start()
    first = open_channel(0, 1, "127.0.0.1", port, listener)
    call.join(5)
    assert first.failure(within=1.5) is None and opened[0].lost is None
    opened[0].close()  # and leaving is no failure
    assert first.failure(within=1) is None and not ends
    first.close()
