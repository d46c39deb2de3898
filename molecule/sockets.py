"""uvicorn's WebSocket protocol, with two things more: many frames in one write, and an end that always comes.

`uvicorn --ws molecule.sockets:Sockets`
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from activity.outbox import WIRE, Chunk

# How long a client may take to read what is buffered and to answer our close.
LINGER_SECONDS = 5.0


class Sockets(WebSocketsSansIOProtocol):
    """Gives itself to the application as the ASGI extension WIRE: see activity.outbox.Wire."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.close_timeout = LINGER_SECONDS
        self.paused = False
        self.resumed: Callable[[], None] = lambda: None
        self.farewell: asyncio.Task[None] | None = None

    def connection_made(self, transport: Any) -> None:
        mortal: Any = Mortal(transport, self.loop)
        super().connection_made(mortal)

    async def run_asgi(self) -> None:
        extensions: Any = self.scope["extensions"]
        extensions[WIRE] = self
        await super().run_asgi()

    def write(self, chunk: Chunk) -> None:
        if not self.close_sent and not self.transport.is_closing():
            self.transport.write(chunk.data)

    def end(self, code: int) -> None:
        # The code goes behind what is buffered, also when the client reads nothing now.
        self.writable.set()
        self.farewell = self.loop.create_task(self._end(code))

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


class Mortal:
    """A transport whose close() comes to an end: it would wait for ever for a client that reads nothing."""

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
