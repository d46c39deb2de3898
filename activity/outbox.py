"""Outbox: the send queue of one socket. What is unsent is bounded; on overflow the socket is closed with TOO_SLOW."""

import asyncio
import json
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from django.conf import settings
from prometheus_client import Counter

# Close codes.
MALFORMED = 4400
NO_CREDENTIAL = 4401
NOT_ALLOWED = 4403
NO_SUCH_PATH = 4404
TOO_SLOW = 4408
START_OVER = 4409
TOO_LARGE = 4413
TOO_MANY = 4429
BROKEN = 1011
TRY_AGAIN = 1013

# The most that may wait for a client that does not read; SOCKET_UNSENT_BYTES bounds the bytes.
MAX_FRAMES = 4096
CLOSE_SECONDS = 10.0
# The name of the ASGI extension whose value is a Wire.
WIRE = "molecule.wire"

SLOW = Counter("molecule_stream_slow_closed", "Sockets closed because their client read too slowly.")


class Frame:
    """One message, encoded and framed once for all sockets."""

    __slots__ = ("data", "event", "id", "seq", "text", "workspace_id")

    def __init__(
        self,
        text: str,
        seq: int | None = None,
        event: str | None = None,
        workspace_id: str | None = None,
        id: str | None = None,
    ) -> None:
        self.text = text
        self.seq = seq
        self.id = id
        self.event = event
        self.workspace_id = workspace_id
        self.data = framed(text.encode())

    @property
    def payload(self) -> dict[str, Any]:
        """The payload of the envelope, parsed at each access."""
        payload: dict[str, Any] = json.loads(self.text)["payload"]
        return payload


def framed(payload: bytes) -> bytes:
    """A text message as one WebSocket frame (RFC 6455, 5.2). Servers do not mask, so all clients get the same bytes."""
    size = len(payload)
    if size < 126:
        return bytes((0x81, size)) + payload
    if size < 65536:
        return b"\x81\x7e" + size.to_bytes(2, "big") + payload
    return b"\x81\x7f" + size.to_bytes(8, "big") + payload


class Chunk:
    """Frames that are written together, shared by all sockets that receive them."""

    __slots__ = ("data", "frames")

    def __init__(self, frames: Sequence[Frame]) -> None:
        self.frames = frames
        self.data = frames[0].data if len(frames) == 1 else b"".join(frame.data for frame in frames)


class Wire(Protocol):
    """The connection to one client. Nothing here blocks. While `paused`, do not write; then it calls `resumed`.

    `unsent` is the number of bytes in its own buffer. It calls `pong_queued` after it has written a pong by itself.
    """

    paused: bool
    unsent: int
    resumed: Callable[[], None]
    pong_queued: Callable[[], None]

    def write(self, chunk: Chunk) -> None: ...

    def end(self, code: int) -> None:
        """Send the close code and make sure that the connection ends."""


class Outbox:
    """Writes chunks at once, queues them while the wire is paused, and closes the socket if too much is unsent.

    A client that has read everything gets a chunk of any size. With `is_open=False` everything waits for open(), a
    close code too: nothing may be sent before the handshake.
    """

    def __init__(self, wire: Wire, *, is_open: bool = True) -> None:
        self.wire = wire
        self.wire.resumed = self._resume
        self.wire.pong_queued = self._close_if_slow
        self.waiting: deque[Chunk] = deque()
        self.frames = self.bytes = 0
        self.is_open = is_open
        self.code: int | None = None
        self.drain_waiters: list[asyncio.Future[None]] = []

    @property
    def closed(self) -> bool:
        return self.code is not None

    def open(self) -> None:
        """Start sending, after the handshake."""
        self.is_open = True
        if self.code is None:
            self._resume()
        else:
            self.wire.end(self.code)

    def put(self, chunk: Chunk) -> None:
        """Send or queue a chunk; dropped once the outbox is closed."""
        if self.closed:
            return
        if self.is_open and not self.wire.paused:
            self.wire.write(chunk)
            return
        self.waiting.append(chunk)
        self.frames += len(chunk.frames)
        self.bytes += len(chunk.data)
        self._close_if_slow()

    def send_text(self, text: str) -> None:
        """Send a message to this client only."""
        self.put(Chunk([Frame(text)]))

    async def drain(self) -> None:
        """Wait until the queue is empty or closed."""
        while self.wire.paused and not self.closed:
            waiter = asyncio.get_running_loop().create_future()
            self.drain_waiters.append(waiter)
            await waiter

    def close(self, code: int) -> None:
        """Drop the queue and close the socket with a code."""
        if not self.closed:
            self.code = code
            self.waiting.clear()
            self.frames = self.bytes = 0
            if self.is_open:
                self.wire.end(code)
            self._release_waiters()

    def _close_if_slow(self) -> None:
        unsent = self.bytes + self.wire.unsent
        if not self.closed and (self.frames > MAX_FRAMES or unsent > settings.SOCKET_UNSENT_BYTES):
            SLOW.inc()
            self.close(TOO_SLOW)

    def _resume(self) -> None:
        while self.waiting and not self.wire.paused:
            chunk = self.waiting.popleft()
            self.frames -= len(chunk.frames)
            self.bytes -= len(chunk.data)
            self.wire.write(chunk)
        if not self.wire.paused:
            self._release_waiters()

    def _release_waiters(self) -> None:
        waiters, self.drain_waiters = self.drain_waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)


class AsgiWire:
    """A Wire by plain ASGI, for servers without our extension: one message at a time."""

    def __init__(self, send: Any) -> None:
        self.send = send
        self.paused = False
        self.unsent = 0
        self.resumed: Callable[[], None] = lambda: None
        self.pong_queued: Callable[[], None] = lambda: None
        self.task: asyncio.Task[None] | None = None

    def write(self, chunk: Chunk) -> None:
        self.paused = True
        self.unsent = len(chunk.data)
        self.task = asyncio.create_task(self._write(chunk), name="socket write")

    def end(self, code: int) -> None:
        if self.task is not None:
            self.task.cancel()
        self.task = asyncio.create_task(self._end(code), name="socket close")

    async def _write(self, chunk: Chunk) -> None:
        try:
            for frame in chunk.frames:
                await self.send({"type": "websocket.send", "text": frame.text})
        except OSError:  # the client has gone: EventStream.serve() receives the disconnect
            return
        self.paused = False
        self.unsent = 0
        self.resumed()

    async def _end(self, code: int) -> None:
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await self.send({"type": "websocket.close", "code": code})
        except (OSError, TimeoutError):
            pass
