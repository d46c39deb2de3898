"""Publishing: one message if it is small, else several in order; never through the event loop."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any
from uuid import uuid4

import pytest
from asgiref.sync import sync_to_async

from activity import bus

TIMEOUT_SECONDS = 10


@pytest.fixture
async def subscription() -> AsyncIterator[bus.Subscription]:
    made = bus.Subscription()
    await made.renew()
    yield made
    await made.leave()


async def messages_until(subscription: bus.Subscription, last: dict[str, Any]) -> list[dict[str, Any]]:
    heard: list[dict[str, Any]] = []
    async with asyncio.timeout(TIMEOUT_SECONDS):
        while last not in heard:
            heard.append(await subscription.receive())
    return heard[:-1]


async def published(subscription: bus.Subscription, *seqs: int | None) -> list[tuple[int, list[int | None]]]:
    """What the hubs receive: `after` and positions of each message."""
    envelopes = [bus.envelope("EVENT", uuid4(), {"text": "x" * 300}, seq=seq) for seq in seqs]
    await sync_to_async(bus.publish)(envelopes, after=5)
    await sync_to_async(bus.close_streams)(["end"])
    heard = await messages_until(subscription, {"type": "revoked", "credentials": ["end"]})
    return [(message["after"], [seq for seq, *_ in message["frames"]]) for message in heard]


async def test_leaving_does_not_wait_for_a_receiver_that_swallowed_its_cancellation(
    subscription: bus.Subscription, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def receive() -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(60)
        await asyncio.sleep(60)

    monkeypatch.setattr(bus, "FLUSH_SECONDS", 0.1)
    [shard] = subscription.layer._shards
    receiver = shard._receive_task
    deaf = shard._receive_task = asyncio.create_task(receive())
    await asyncio.sleep(0)
    async with asyncio.timeout(TIMEOUT_SECONDS):
        await subscription.leave()
    assert deaf.cancelled()
    receiver.cancel()


async def test_small_batches_are_one_message(subscription: bus.Subscription) -> None:
    assert await published(subscription, 6, None, 8) == [(5, [6, None, 8])]


async def test_each_part_of_a_large_batch_names_the_position_it_follows(
    subscription: bus.Subscription, broadcasts: Callable[[], list[dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bus, "MAX_MESSAGE_BYTES", 1200)
    assert await published(subscription, None, 6, None, None, None, 9, 10) == [
        (5, [None]), (5, [6, None]), (6, [None, None]), (6, [9, 10])
    ]  # fmt: skip
    assert [message["seq"] for message in broadcasts()] == [None, 6, None, None, None, 9, 10]


async def test_an_event_over_the_limit_is_a_message_of_its_own(
    subscription: bus.Subscription, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bus, "MAX_MESSAGE_BYTES", 10)
    assert await published(subscription, 6, None) == [(5, [6]), (6, [None])]


async def test_publishing_does_not_need_the_event_loop() -> None:
    """The loop may be busy, and others wait for the thread that committed."""
    done = threading.Event()

    def publish() -> None:
        bus.publish([bus.envelope("EVENT", None, {})], after=0)
        bus.close_streams(["any"])
        done.set()

    posting = asyncio.create_task(sync_to_async(publish, thread_sensitive=False)())
    await asyncio.sleep(0)
    was_done = done.wait(TIMEOUT_SECONDS)
    await posting
    assert was_done


async def assert_cancellable(operation: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """The channel layer swallows a cancellation in places: the task would continue although it was told to end."""
    for steps in range(1, 500):
        task = asyncio.create_task(operation())
        for _ in range(steps):
            await asyncio.sleep(0)
        if task.done():
            break
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled(), f"after {steps} steps of the event loop"


async def test_renewal_can_be_cancelled_at_every_step(subscription: bus.Subscription) -> None:
    await assert_cancellable(subscription.renew)
    await subscription.renew()
    assert subscription.channel


async def test_a_ping_that_connects_can_be_cancelled_at_every_step(subscription: bus.Subscription) -> None:
    async def ping() -> None:
        for shard in subscription.layer._shards:
            await shard._redis.connection_pool.disconnect()
        await subscription.ping()

    await assert_cancellable(ping)
