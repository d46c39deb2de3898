"""Stopping: uvicorn waits a few seconds for open requests, and then cancels them. Each is answered all the same."""

import asyncio
from contextlib import suppress
from typing import Any

from registry.fast_path.application import RETRY_AFTER, respond

STOPPING = b'{"error":"the server is stopping, try again","code":"stopping"}'
HEADERS = [
    (b"content-type", b"application/json"),
    (b"content-length", b"%d" % len(STOPPING)),
    (b"retry-after", RETRY_AFTER),
    (b"connection", b"close"),
]
# Bounds what is being written when requests are cancelled: it has limits of its own, except while PostgreSQL hangs.
LAST_SECONDS = 10.0


class AnsweredWhenStopped:
    """ASGI middleware for HTTP: a request that is cancelled before its answer has begun gets 503.

    `finished` returns once no request is left, or after LAST_SECONDS.
    """

    def __init__(self, application: Any) -> None:
        self.application = application
        self.open = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        begun = False

        async def noting_send(message: Any) -> None:
            nonlocal begun
            begun = True
            await send(message)

        self.open += 1
        try:
            await self.application(scope, receive, noting_send)
        except asyncio.CancelledError:
            if begun:
                raise
            await respond(send, 503, HEADERS, STOPPING)
        finally:
            self.open -= 1

    async def finished(self) -> None:
        """Wait for the requests that are open when the server stops."""
        with suppress(TimeoutError):
            async with asyncio.timeout(LAST_SECONDS):
                while self.open:
                    await asyncio.sleep(0.02)
