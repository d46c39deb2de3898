"""The way out: one message if it is small, portions in order if it is not, and nothing asked of the event loop."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any
from uuid import uuid4

import pytest
from asgiref.sync import sync_to_async

from activity import bus

PATIENCE_SECONDS = 10


@pytest.fixture
async def subscription() -> AsyncIterator[bus.Subscription]:
    made = bus.Subscription()
    await made.renew()
    yield made
    await made.layer.flush()


async def messages_until(subscription: bus.Subscription, last: dict[str, Any]) -> list[dict[str, Any]]:
    heard: list[dict[str, Any]] = []
    async with asyncio.timeout(PATIENCE_SECONDS):
        while last not in heard:
            heard.append(await subscription.receive())
    return heard[:-1]


async def published(subscription: bus.Subscription, *seqs: int | None) -> list[tuple[int, list[int | None]]]:
    """What the hubs are sent: each message's `after` and positions."""
    envelopes = [bus.envelope("EVENT", uuid4(), {"text": "x" * 300}, seq=seq) for seq in seqs]
    await sync_to_async(bus.publish)(envelopes, after=5)
    await sync_to_async(bus.close_streams)(["end"])
    heard = await messages_until(subscription, {"type": "revoked", "credentials": ["end"]})
    return [(message["after"], [seq for seq, *_ in message["frames"]]) for message in heard]


async def test_what_is_small_goes_as_one_message(subscription: bus.Subscription) -> None:
    assert await published(subscription, 6, None, 8) == [(5, [6, None, 8])]


async def test_each_portion_says_what_came_before_it(
    subscription: bus.Subscription, broadcasts: Callable[[], list[dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bus, "MAX_MESSAGE_BYTES", 1200)
    assert await published(subscription, None, 6, None, None, None, 9, 10) == [
        (5, [None]), (5, [6, None]), (6, [None, None]), (6, [9, 10])
    ]  # fmt: skip
    assert [message["seq"] for message in broadcasts()] == [None, 6, None, None, None, 9, 10]


async def test_what_alone_is_too_big_goes_alone(
    subscription: bus.Subscription, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bus, "MAX_MESSAGE_BYTES", 10)
    assert await published(subscription, 6, None) == [(5, [6]), (6, [None])]


async def test_publishing_asks_nothing_of_the_event_loop() -> None:
    """A thread that has committed has others waiting for it; the loop may be busy."""
    done = threading.Event()

    def publish() -> None:
        bus.publish([bus.envelope("EVENT", None, {})], after=0)
        bus.close_streams(["any"])
        done.set()

    posting = asyncio.create_task(sync_to_async(publish, thread_sensitive=False)())
    await asyncio.sleep(0)
    was_done = done.wait(PATIENCE_SECONDS)
    await posting
    assert was_done
