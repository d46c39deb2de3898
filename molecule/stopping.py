"""Shutdown: uvicorn waits a few seconds for open requests and then cancels them. Those get a 503."""

import asyncio
from contextlib import suppress
from typing import Any

from registry.fast_path.application import RETRY_AFTER, respond_json

STOPPING = b'{"error":"the server is stopping, try again","code":"stopping"}'
HEADERS = ((b"retry-after", RETRY_AFTER), (b"connection", b"close"))
# How long cancelled requests whose items are being written may take. The statements have shorter limits of their own,
# which do not apply while PostgreSQL hangs.
SHUTDOWN_SECONDS = 10.0


class AnswerOnShutdown:
    """ASGI middleware for HTTP: a request that is cancelled before its response has begun gets 503."""

    def __init__(self, application: Any) -> None:
        self.application = application
        self.open = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.open += 1
        try:
            await self.application(scope, receive, send)
        except asyncio.CancelledError as cancelled:
            try:
                await respond_json(send, 503, STOPPING, *HEADERS)
            except RuntimeError:  # its response has begun
                raise cancelled from None
        finally:
            self.open -= 1

    async def wait_for_open(self) -> None:
        """Wait until no request is open, for at most SHUTDOWN_SECONDS."""
        with suppress(TimeoutError):
            async with asyncio.timeout(SHUTDOWN_SECONDS):
                while self.open:
                    await asyncio.sleep(0.02)
