"""uvicorn's WebSocket protocol with two additions: many frames in one write, and a close that always completes.

`uvicorn --ws molecule.sockets:Sockets`
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from activity.outbox import WIRE, Chunk

# How long a client may take to read what is buffered and to answer the close frame.
LINGER_SECONDS = 5.0


class Sockets(WebSocketsSansIOProtocol):
    """Passes itself to the application as the ASGI extension WIRE: see activity.outbox.Wire."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.close_timeout = LINGER_SECONDS
        self.paused = False
        self.resumed: Callable[[], None] = lambda: None
        self.close_task: asyncio.Task[None] | None = None

    def connection_made(self, transport: Any) -> None:
        aborting: Any = AbortingTransport(transport, self.loop)
        super().connection_made(aborting)

    async def run_asgi(self) -> None:
        extensions: Any = self.scope["extensions"]
        extensions[WIRE] = self
        await super().run_asgi()

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

    def pause_writing(self) -> None:
        super().pause_writing()
        self.paused = True

    def resume_writing(self) -> None:
        super().resume_writing()
        self.paused = False
        self.resumed()


class AbortingTransport:
    """A transport that aborts LINGER_SECONDS after close(), which alone may wait forever for a client."""

    def __init__(self, transport: Any, loop: asyncio.AbstractEventLoop) -> None:
        self.transport = transport
        self.loop = loop
        self.write = transport.write
        self.is_closing = transport.is_closing

    def close(self) -> None:
        if not self.is_closing():
            self.transport.close()
            self.loop.call_later(LINGER_SECONDS, self.transport.abort)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.transport, name)
