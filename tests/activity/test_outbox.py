"""A socket's outbox: bounded, in order, and empty once closed."""

import asyncio
from typing import Any

import pytest
from django.conf import settings
from websockets.client import ClientProtocol
from websockets.frames import Frame as Parsed
from websockets.protocol import State
from websockets.uri import parse_uri

from activity import outbox
from activity.outbox import MAX_FRAMES, TOO_SLOW, AsgiWire, Chunk, Frame, Outbox
from tests.activity.sockets import Client


def chunk(*texts: str) -> Chunk:
    return Chunk([Frame(text) for text in texts])


@pytest.fixture
def client() -> Client:
    return Client()


@pytest.fixture
def box(client: Client) -> Outbox:
    return Outbox(client)


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65535, 65536, 70000])
def test_another_implementation_reads_our_frames(size: int) -> None:
    """The websockets library parses what framed() writes."""
    texts = ["ä" * (size // 2) + "x" * (size % 2), "next"]
    reader = ClientProtocol(parse_uri("ws://host/"), state=State.OPEN, max_size=None)
    reader.receive_data(chunk(*texts).data)
    frames = [event for event in reader.events_received() if isinstance(event, Parsed)]
    assert [bytes(frame.data).decode() for frame in frames] == texts
    assert all(frame.fin for frame in frames)


def test_queued_chunks_are_sent_in_order(box: Outbox, client: Client) -> None:
    box.put(chunk("one"))
    client.paused = True
    box.put(chunk("two", "three"))
    box.put(chunk("four"))
    assert client.texts == ["one"]
    client.resume_reading()
    box.put(chunk("five"))
    assert client.texts == ["one", "two", "three", "four", "five"]
    assert (box.frames, box.bytes) == (0, 0)


def test_a_client_that_pauses_again_gets_the_rest_later(box: Outbox, client: Client) -> None:
    client.paused = True
    box.put(chunk("one"))
    box.put(chunk("two"))
    write = client.write

    def write_and_pause(part: Chunk) -> None:
        write(part)
        client.paused = True

    client.write = write_and_pause  # type: ignore[method-assign, assignment]
    client.resume_reading()
    assert client.texts == ["one"]
    client.resume_reading()
    assert client.texts == ["one", "two"]


@pytest.mark.parametrize(
    ("text", "fitting"), [("x", MAX_FRAMES), ("x" * 65000, 1024 * 1024 // 65000)], ids=["frames", "bytes"]
)
def test_overflow_closes_the_socket(box: Outbox, client: Client, text: str, fitting: int) -> None:
    client.paused = True
    for _ in range(fitting):
        box.put(chunk(text))
    assert not box.closed
    box.put(chunk(text))
    assert (client.code, len(box.waiting), box.bytes) == (TOO_SLOW, 0, 0)
    box.put(chunk(text))
    client.resume_reading()
    assert (client.texts, len(box.waiting)) == ([], 0)


def test_what_the_connection_has_unsent_counts_as_well(box: Outbox, client: Client) -> None:
    client.paused = True
    client.unsent = settings.SOCKET_UNSENT_BYTES - 10
    box.put(chunk("x"))
    client.pong_queued()
    assert not box.closed
    box.put(chunk("x" * 10))
    assert client.code == TOO_SLOW


def test_pongs_that_a_client_does_not_read_close_the_socket(box: Outbox, client: Client) -> None:
    client.unsent = settings.SOCKET_UNSENT_BYTES + 1
    client.pong_queued()
    assert client.code == TOO_SLOW
    client.code = None
    client.pong_queued()
    assert client.code is None


def test_a_client_that_reads_has_no_limit(box: Outbox, client: Client) -> None:
    for _ in range(MAX_FRAMES + 10):
        box.put(chunk("x"))
    assert (client.code, len(client.texts)) == (None, MAX_FRAMES + 10)


def test_a_client_that_is_always_slightly_behind_stays_connected(box: Outbox, client: Client) -> None:
    """Only chunks that are waiting count, not those that have waited."""
    client.paused = True
    box.put(chunk("x"))
    write = client.write

    def write_and_pause(part: Chunk) -> None:
        write(part)
        client.paused = True

    client.write = write_and_pause  # type: ignore[method-assign, assignment]
    for _ in range(MAX_FRAMES + 10):
        box.put(chunk("x"))
        client.resume_reading()
    assert (client.code, box.frames, box.bytes) == (None, 1, len(chunk("x").data))


def test_before_the_handshake_everything_waits(client: Client) -> None:
    box = Outbox(client, is_open=False)
    box.put(chunk("one"))
    assert client.texts == []
    box.open()
    box.put(chunk("two"))
    assert client.texts == ["one", "two"]


def test_a_close_before_the_handshake_is_sent_after_it(client: Client) -> None:
    box = Outbox(client, is_open=False)
    box.put(chunk("one"))
    box.close(TOO_SLOW)
    early = client.code
    box.open()
    assert (early, client.code, client.texts) == (None, TOO_SLOW, [])


async def test_drain_returns_when_the_client_reads_or_is_closed(box: Outbox, client: Client) -> None:
    await box.drain()
    for end in (client.resume_reading, lambda: box.close(1000)):
        client.paused = True
        waiting = asyncio.create_task(box.drain())
        await asyncio.sleep(0)
        assert not waiting.done()
        end()
        await waiting


class AsgiServer:
    """The send() of an ASGI server, which blocks while the client does not read."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []
        self.reads = asyncio.Event()
        self.reads.set()

    async def send(self, message: dict[str, Any]) -> None:
        await self.reads.wait()
        self.sent.append(message)


async def test_on_plain_asgi_messages_are_sent_one_by_one() -> None:
    server = AsgiServer()
    box = Outbox(AsgiWire(server.send))
    box.put(chunk("one", "two"))
    box.put(chunk("three"))
    await box.drain()
    box.close(TOO_SLOW)
    async with asyncio.timeout(5):
        while not server.sent or server.sent[-1]["type"] != "websocket.close":
            await asyncio.sleep(0)
    assert [message.get("text") for message in server.sent[:-1]] == ["one", "two", "three"]
    assert server.sent[-1]["code"] == TOO_SLOW


async def test_on_plain_asgi_a_stuck_client_is_closed_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "CLOSE_SECONDS", 0.01)
    server = AsgiServer()
    server.reads.clear()
    wire = AsgiWire(server.send)
    box = Outbox(wire)
    for _ in range(MAX_FRAMES + 2):
        box.put(chunk("x"))
    assert box.closed
    assert wire.task is not None
    await wire.task
    assert server.sent == []
