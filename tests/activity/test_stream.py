"""Opening a socket, at the ASGI boundary: once the handshake is accepted the client misses nothing."""

import asyncio
import gc
import threading
import time
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
from activity.models import EventType, StructureEvent
from activity.outbox import MALFORMED, NO_CREDENTIAL, START_OVER, TRY_AGAIN, Frame
from activity.principals import Kind, Principal
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


class Following(NoAgents):
    """A member receives the events of workspaces that this audience has seen created."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str | None] = set()

    def fold(self, frame: Frame) -> bool:
        self.seen.add(frame.workspace_id)
        return False

    def groups_for(self, frame: Frame) -> tuple[str, ...]:
        return ("team",) if frame.workspace_id in self.seen else ()

    def groups_of(self, member: str) -> tuple[str, ...] | None:
        return ("team",)


class MemberStream(EventStream):
    def identify(self) -> Principal:
        return Principal(kind=Kind.WORKSPACE, workspace_id=uuid4(), token_id=uuid4())

    def audience(self) -> Following:
        return Following()


async def test_a_replay_decides_by_the_events_up_to_its_end(
    transactional_db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that the hub has read, and has not written to its sockets yet, count as well."""
    made = hub.current_hub(Following)
    await made.start()
    monkeypatch.setattr(hub, "COALESCE_SECONDS", 10 * TIMEOUT_SECONDS)
    made.flushed_at = time.monotonic()
    [seq] = await record_events()
    await made.poll_log()
    assert made.pending
    socket = Server(MemberStream(), f"since={seq - 1}".encode())
    await socket.until("STREAM_LIVE")
    assert "WORKSPACE_OFFLINE" in str(socket.sent)
    await socket.leave()
    await close(made)


async def test_a_handshake_that_takes_too_long_is_refused(current: Hub, settings: Any) -> None:
    settings.SOCKET_HANDSHAKE_SECONDS = 0.1
    may_go_on = threading.Event()
    socket = Server(slow(may_go_on))
    try:
        await socket.until("close")
    finally:
        may_go_on.set()
    assert socket.sent == [{"type": "websocket.accept"}, {"type": "websocket.close", "code": TRY_AGAIN}]
    await socket.leave()


@pytest.mark.parametrize("given", ["", "&after_id=", "&after_id={own}"])
async def test_a_client_goes_on_after_its_last_event(current: Hub, given: str) -> None:
    seq, own = await newest()
    socket = Server(OperatorStream(), f"since={seq}{given.format(own=own)}".encode())
    await socket.until("STREAM_LIVE")
    assert f'"seq":{seq},"id":"{own}"' in str(socket.sent)
    await socket.leave()


@pytest.mark.parametrize(
    ("ahead", "given", "code"),
    [(0, uuid4(), START_OVER), (1, "", START_OVER), (-1, "{own}", START_OVER), (0, "not-an-id", MALFORMED)],
)
async def test_a_client_of_another_log_starts_over(current: Hub, ahead: int, given: object, code: int) -> None:
    await record_events(2)
    seq, own = await newest()
    socket = Server(OperatorStream(), f"since={seq + ahead}&after_id={str(given).format(own=own)}".encode())
    await socket.until("close")
    assert socket.sent[1:] == [{"type": "websocket.close", "code": code}]
    await socket.leave()


async def newest() -> tuple[int, str]:
    await record_events()
    row = await StructureEvent.objects.alatest("seq")
    return row.seq, str(row.id)


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
