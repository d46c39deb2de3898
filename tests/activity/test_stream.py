"""Opening a socket, at the ASGI boundary: once the handshake is accepted the client misses nothing."""

import asyncio
import gc
import threading
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest
from asgiref.sync import sync_to_async
from channels_redis.pubsub import RedisPubSubChannelLayer
from django.db import transaction

from activity import bus, hub
from activity.events import NewEvent, record
from activity.hub import Hub
from activity.models import EventType
from activity.outbox import NO_CREDENTIAL, Frame
from activity.principals import Principal
from activity.stream import EventStream, Refused
from tests.activity.sockets import OPERATOR
from tests.activity.test_hub import NoAgents, close, record_events

TIMEOUT_SECONDS = 10


class OperatorStream(EventStream):
    def identify(self) -> Principal:
        return OPERATOR

    def audience(self) -> NoAgents:
        return NoAgents()


class AnonymousStream(OperatorStream):
    def identify(self) -> Principal:
        raise Refused(NO_CREDENTIAL)


class Server:
    """One socket on a plain ASGI server."""

    def __init__(self, application: EventStream, query: bytes = b"") -> None:
        self.scope = {"type": "websocket", "query_string": query, "headers": []}
        self.incoming: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.incoming.put_nowait({"type": "websocket.connect"})
        self.sent: list[dict[str, Any]] = []
        self.task = asyncio.create_task(application.serve(self.scope, self.incoming.get, self.send))

    async def send(self, message: dict[str, Any]) -> None:
        self.sent.append(message)

    async def until(self, text: str) -> None:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            while text not in str(self.sent):
                await asyncio.sleep(0.01)

    async def leave(self) -> None:
        self.incoming.put_nowait({"type": "websocket.disconnect"})
        await self.task


class RecordingServer(Server):
    """Records events at the very moment when the handshake is accepted."""

    async def send(self, message: dict[str, Any]) -> None:
        await super().send(message)
        if message["type"] == "websocket.accept":
            self.seqs = await record_events()
            await sync_to_async(bus.publish)([bus.envelope("PASSING", None, {})])
            await hub.current_hub(NoAgents).poll_log()


@pytest.fixture
async def current(transactional_db: None) -> AsyncIterator[Hub]:
    made = hub.current_hub(NoAgents)
    yield made
    await close(made)


async def test_events_right_after_the_handshake_are_delivered(current: Hub) -> None:
    socket = RecordingServer(OperatorStream())
    await socket.until("PASSING")
    await socket.until(f'"seq":{socket.seqs[0]}')
    assert "STREAM_LIVE" not in str(socket.sent)
    await socket.leave()


async def test_a_refused_socket_is_accepted_and_closed_with_a_code(current: Hub) -> None:
    socket = Server(AnonymousStream())
    await socket.until("close")
    assert socket.sent == [{"type": "websocket.accept"}, {"type": "websocket.close", "code": NO_CREDENTIAL}]
    await socket.leave()


async def test_a_client_that_disconnects_while_opening_is_removed(current: Hub) -> None:
    may_go_on = threading.Event()
    socket = Server(slow(may_go_on))
    await socket.leave()
    may_go_on.set()
    assert (socket.sent, current.listeners) == ([], set())


async def test_a_message_sent_while_opening_is_answered(current: Hub) -> None:
    socket = Server(OperatorStream())
    socket.incoming.put_nowait({"type": "websocket.receive", "text": '{"type":"ping"}'})
    await socket.until("pong")
    assert socket.sent[0] == {"type": "websocket.accept"}
    await socket.leave()


async def test_a_socket_with_heartbeats_opens_without_redis(current: Hub) -> None:
    current.subscription.layer = RedisPubSubChannelLayer(hosts=["unix:///nonexistent.sock"])
    socket = Server(OperatorStream(), b"beats=1&since=0")
    await socket.until("STREAM_LIVE")
    assert current.subscription.groups == {bus.EVENTS_GROUP, bus.BEATS_GROUP}
    await socket.leave()


async def test_the_hub_does_not_wait_for_the_queries_of_sockets(current: Hub) -> None:
    await current.start()
    may_go_on = threading.Event()
    sockets = [Server(slow(may_go_on)) for _ in range(10)]
    try:
        await asyncio.sleep(0.1)
        async with asyncio.timeout(TIMEOUT_SECONDS):
            await current.poll_log()
    finally:
        may_go_on.set()
    for socket in sockets:
        await socket.until("accept")
        await socket.leave()


def slow(may_go_on: threading.Event) -> EventStream:
    class SlowStream(OperatorStream):
        def identify(self) -> Principal:
            may_go_on.wait(TIMEOUT_SECONDS * 2)
            return Principal(kind=OPERATOR.kind, level=OPERATOR.level, token_id=uuid4())

    return SlowStream()


async def test_a_replay_reads_little_of_the_log_ahead_of_its_client(current: Hub, settings: Any) -> None:
    settings.MAX_REPLAY_BYTES = 64 * 1024
    await sync_to_async(record_large_events)(40, 16 * 1024)
    socket = PausedServer(OperatorStream(), b"since=0")
    await socket.until("accept")
    await asyncio.sleep(0.2)
    assert 16 * 1024 < held_of_the_log() < 128 * 1024
    socket.may_read.set()
    await socket.until("STREAM_LIVE")
    assert len(socket.sent) == 1 + 40 + 1
    await socket.leave()


class PausedServer(Server):
    """Its client reads nothing of the stream until it may."""

    def __init__(self, *arguments: Any) -> None:
        self.may_read = asyncio.Event()
        super().__init__(*arguments)

    async def send(self, message: dict[str, Any]) -> None:
        if message["type"] == "websocket.send":
            await self.may_read.wait()
        await super().send(message)


def record_large_events(count: int, size: int) -> None:
    own = uuid4()
    for _ in range(count):
        with transaction.atomic():
            record(
                [NewEvent(event_type=EventType.WORKSPACE_OFFLINE, workspace_id=own, payload={"x": "x" * size})],
                actor="x",
            )


def held_of_the_log() -> int:
    """Characters of all frames in memory."""
    return sum(len(one.text) for one in gc.get_objects() if type(one) is Frame)
