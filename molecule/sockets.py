"""uvicorn's WebSocket protocol with three additions: many frames in one write, bounded reading and answering, and a
close that always completes.

`uvicorn --ws molecule.sockets:Sockets`
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any, cast

from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from activity.outbox import WIRE, Chunk

# How long a client may take to answer the close frame, and then to end its side.
LINGER_SECONDS = 5.0
# How much is read from a client after our close frame: enough for its own, and for a message that crossed it.
CLOSING_BYTES = 4096


class Sockets(WebSocketsSansIOProtocol):
    """Passes itself to the application as the ASGI extension WIRE: see activity.outbox.Wire.

    Nothing is read before the handshake is answered, and at most CLOSING_BYTES after the close frame.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.close_timeout = LINGER_SECONDS
        self.paused = False
        self.resumed: Callable[[], None] = lambda: None
        self.pong_queued: Callable[[], None] = lambda: None
        self.read_while_closing = 0
        self.close_task: asyncio.Task[None] | None = None

    @property
    def unsent(self) -> int:
        """The bytes in the connection's buffer."""
        size: int = self.transport.get_write_buffer_size()
        return size

    def connection_made(self, transport: Any) -> None:
        self.lingering = LingeringTransport(transport, self.loop)
        super().connection_made(cast(Any, self.lingering))

    def handle_connect(self, event: Any) -> None:
        super().handle_connect(event)
        if not self.transport.is_closing():
            self.transport.pause_reading()

    async def send(self, message: Any) -> None:
        await super().send(message)
        if message["type"] == "websocket.accept" and not self.transport.is_closing():
            self.transport.resume_reading()

    async def run_asgi(self) -> None:
        extensions: Any = self.scope["extensions"]
        extensions[WIRE] = self
        await super().run_asgi()

    def data_received(self, data: bytes) -> None:
        if self.close_sent or self.transport.is_closing():
            data = self._bounded(data)
        if data and not self.transport.is_closing():
            super().data_received(data)

    def _bounded(self, data: bytes) -> bytes:
        """The part of the data that may still be read after our close frame."""
        rest = CLOSING_BYTES - self.read_while_closing
        self.read_while_closing += len(data)
        if len(data) > rest:
            self.lingering.stop_reading()
        return data[: max(rest, 0)]

    def handle_ping(self) -> None:
        if self.close_sent:
            self.conn.data_to_send()  # no pongs after the close frame
        else:
            super().handle_ping()
            self.pong_queued()

    def write(self, chunk: Chunk) -> None:
        if not self.close_sent and not self.transport.is_closing():
            self.transport.write(chunk.data)

    def end(self, code: int) -> None:
        # The close frame is queued behind what is buffered, also while the client reads nothing.
        self.writable.set()
        self.close_task = self.loop.create_task(self._end(code))

    async def _end(self, code: int) -> None:
        with suppress(ClientDisconnected):
            if not self.close_sent:
                await self.send({"type": "websocket.close", "code": code})

    def shutdown(self) -> None:
        if not self.transport.is_closing():
            super().shutdown()

    def pause_writing(self) -> None:
        super().pause_writing()
        self.paused = True

    def resume_writing(self) -> None:
        super().resume_writing()
        self.paused = False
        self.resumed()


class LingeringTransport:
    """A transport whose close() ends our side and waits for the client's, for at most LINGER_SECONDS.

    A connection that is closed with unread data is reset, and the client may lose the close frame. One that is closed
    while the client reads nothing would stay forever.
    """

    def __init__(self, transport: Any, loop: asyncio.AbstractEventLoop) -> None:
        self.transport = transport
        self.loop = loop
        self.write = transport.write
        self.is_ending = self.is_reading_stopped = False

    def is_closing(self) -> bool:
        """Whether close() was called, or the connection is gone."""
        return self.is_ending or bool(self.transport.is_closing())

    def close(self) -> None:
        if self.is_closing():
            return
        self.is_ending = True
        if self.transport.can_write_eof():
            self.transport.write_eof()
        else:
            self.transport.close()
        self.loop.call_later(LINGER_SECONDS, self.transport.abort)

    def stop_reading(self) -> None:
        """Leave what the client still sends in the kernel's buffers."""
        self.is_reading_stopped = True
        self.transport.pause_reading()

    def resume_reading(self) -> None:
        if not self.is_reading_stopped:
            self.transport.resume_reading()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.transport, name)
