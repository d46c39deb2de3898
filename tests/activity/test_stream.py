"""A socket's opening, at the ASGI boundary: whoever sees it answered misses nothing from then on."""

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest
from asgiref.sync import sync_to_async
from channels_redis.pubsub import RedisPubSubChannelLayer

from activity import bus, hub
from activity.hub import Hub
from activity.outbox import NO_CREDENTIAL
from activity.principals import Principal
from activity.stream import EventStream, Refused
from tests.activity.sockets import OPERATOR
from tests.activity.test_hub import Nobody, closed, happens

PATIENCE_SECONDS = 10


class Everybody(EventStream):
    def identify(self) -> Principal:
        return OPERATOR

    def audience(self) -> Nobody:
        return Nobody()


class Anonymous(Everybody):
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
        async with asyncio.timeout(PATIENCE_SECONDS):
            while text not in str(self.sent):
                await asyncio.sleep(0.01)

    async def leave(self) -> None:
        self.incoming.put_nowait({"type": "websocket.disconnect"})
        await self.task


class Witness(Server):
    """Lets things happen in the very moment of the handshake's answer."""

    async def send(self, message: dict[str, Any]) -> None:
        await super().send(message)
        if message["type"] == "websocket.accept":
            self.seqs = await happens()
            await sync_to_async(bus.publish)([bus.envelope("PASSING", None, {})])
            await hub.current_hub(Nobody).poll_log()


@pytest.fixture
async def here(transactional_db: None) -> AsyncIterator[Hub]:
    made = hub.current_hub(Nobody)
    yield made
    await closed(made)


async def test_what_happens_once_the_handshake_is_answered_is_heard(here: Hub) -> None:
    socket = Witness(Everybody())
    await socket.until("PASSING")
    await socket.until(f'"seq":{socket.seqs[0]}')
    assert "STREAM_LIVE" not in str(socket.sent)
    await socket.leave()


async def test_a_refusal_is_answered_and_then_closed_with_its_code(here: Hub) -> None:
    socket = Server(Anonymous())
    await socket.until("close")
    assert socket.sent == [{"type": "websocket.accept"}, {"type": "websocket.close", "code": NO_CREDENTIAL}]
    await socket.leave()


async def test_who_leaves_while_it_opens_is_forgotten(here: Hub) -> None:
    may_go_on = threading.Event()
    socket = Server(slow(may_go_on))
    await socket.leave()
    may_go_on.set()
    assert (socket.sent, here.listeners) == ([], set())


async def test_what_is_said_while_it_opens_is_answered(here: Hub) -> None:
    socket = Server(Everybody())
    socket.incoming.put_nowait({"type": "websocket.receive", "text": '{"type":"ping"}'})
    await socket.until("pong")
    assert socket.sent[0] == {"type": "websocket.accept"}
    await socket.leave()


async def test_beats_are_no_reason_to_refuse_while_redis_is_away(here: Hub) -> None:
    here.subscription.layer = RedisPubSubChannelLayer(hosts=["unix:///nonexistent.sock"])
    socket = Server(Everybody(), b"beats=1&since=0")
    await socket.until("STREAM_LIVE")
    assert here.subscription.groups == {bus.EVENTS_GROUP, bus.BEATS_GROUP}
    await socket.leave()


async def test_the_hub_waits_for_no_socket_that_waits_for_its_database(here: Hub) -> None:
    await here.start()
    may_go_on = threading.Event()
    sockets = [Server(slow(may_go_on)) for _ in range(10)]
    try:
        await asyncio.sleep(0.1)
        async with asyncio.timeout(PATIENCE_SECONDS):
            await here.poll_log()
    finally:
        may_go_on.set()
    for socket in sockets:
        await socket.until("accept")
        await socket.leave()


def slow(may_go_on: threading.Event) -> EventStream:
    class Slow(Everybody):
        def identify(self) -> Principal:
            may_go_on.wait(PATIENCE_SECONDS * 2)
            return Principal(kind=OPERATOR.kind, level=OPERATOR.level, token_id=uuid4())

    return Slow()
