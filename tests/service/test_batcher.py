"""Micro-batching: what is computed together, and what is not computed at all."""

import asyncio
import threading

import numpy as np
import pytest

from paddle_alexnet.service.batcher import Batcher, whole_batch
from paddle_alexnet.service.limits import Limits, Refused


def picture(value):
    return np.full((2, 2, 3), value, np.uint8)


def means(images):
    return images.reshape(len(images), -1).mean(axis=1, keepdims=True)


def run(job, compute=means, **limits):
    """What a coroutine function gives that is called with a batcher, and the sizes of the batches."""
    sizes = []

    async def whole():
        batcher = Batcher(compute, Limits(**limits), observe=sizes.append)
        await batcher.start()
        try:
            return await asyncio.wait_for(job(batcher), 20)
        finally:
            await batcher.stop()

    return asyncio.run(whole()), sizes


def test_each_image_gets_its_own_row_whatever_it_was_computed_with():
    async def job(batcher):
        return await asyncio.gather(*(batcher(picture(n)) for n in range(20)))

    rows, sizes = run(job, batch_size=8)
    assert [row.tolist() for row in rows] == [[n] for n in range(20)]
    assert sizes == [8, 8, 4]


def test_batcher_puts_images_that_arrive_meanwhile_into_the_next_batch():
    entered, go = threading.Event(), threading.Event()

    def compute(images):
        entered.set()
        assert go.wait(20)
        return means(images)

    async def job(batcher):
        first = asyncio.ensure_future(batcher(picture(1)))
        while not entered.is_set():
            await asyncio.sleep(0.001)
        others = [asyncio.ensure_future(batcher(picture(n))) for n in range(5)]
        await asyncio.sleep(0)
        go.set()
        return await asyncio.gather(first, *others)

    rows, sizes = run(job, compute, gather=0)
    assert (len(rows), sizes) == (6, [1, 4, 1])


def test_batches_have_few_sizes():
    assert [whole_batch(n) for n in range(9)] == [0, 1, 2, 2, 4, 4, 4, 4, 8]
    assert [whole_batch(n) for n in (15, 16, 31, 32, 50)] == [8, 16, 24, 32, 48]


def test_an_error_is_that_of_its_batch_alone():
    def compute(images):
        if images.max() > 100:
            raise ValueError("too bright")
        return means(images)

    async def job(batcher):
        bad = await asyncio.gather(batcher(picture(200)), batcher(picture(1)), return_exceptions=True)
        return bad, await batcher(picture(3))

    (bad, good), _ = run(job, compute)
    assert [str(error) for error in bad] == ["too bright", "too bright"]
    assert good.tolist() == [3]


def test_batcher_skips_an_image_whose_request_was_cancelled():
    async def job(batcher):
        left = asyncio.ensure_future(batcher(picture(1)))
        await asyncio.sleep(0)
        left.cancel()
        return await batcher(picture(2))

    row, sizes = run(job)
    assert (row.tolist(), sizes) == ([2], [1])


def test_batcher_room_is_limited_and_returned():
    batcher = Batcher(means, Limits(waiting=3))
    with batcher.room(2):
        with pytest.raises(Refused, match="2 of at most 3 images are waiting") as refusal, batcher.room(2):
            pass
        assert refusal.value.status == 429
        with batcher.room(1):
            assert batcher.inside == 3
    assert batcher.inside == 0
