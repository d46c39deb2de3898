"""The web process's own heartbeat: while it is fresh, agents can reach us, and a missing heartbeat is their own."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from asgiref.typing import ASGI3Application
from channels.db import database_sync_to_async

from registry.supervision import jobs


class WebLiveness:
    """ASGI middleware that writes a heartbeat from the first request or lifespan message until the event loop ends.

    In its own thread, so that it is never late because the thread that sockets share is busy.
    """

    def __init__(self, application: ASGI3Application, also: Callable[[], None] = lambda: None) -> None:
        """`also` is called after each heartbeat; what it raises is reported like a failed heartbeat."""
        self.application, self.also = application, also
        self.thread = ThreadPoolExecutor(1, "web liveness")
        self.task: asyncio.Task[None] | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self._ensure_beating()
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        else:
            await self.application(scope, receive, send)

    def _ensure_beating(self) -> None:
        if self.task is None or self.task.done() or self.task.get_loop() is not asyncio.get_running_loop():
            self.task = asyncio.create_task(self._beat(), name="web liveness")

    async def _lifespan(self, receive: Any, send: Any) -> None:
        while (message := await receive())["type"] != "lifespan.shutdown":
            await send({"type": f"{message['type']}.complete"})
        if self.task is not None:
            self.task.cancel()
        await send({"type": "lifespan.shutdown.complete"})

    async def _beat(self) -> None:
        failures = jobs.Failures(jobs.WEB)
        tick, fail = self._in_thread(self._tick), self._in_thread(failures.add)
        while True:
            try:
                await tick(failures)
            except Exception as error:
                await fail(error)
            await asyncio.sleep(jobs.TICK_SECONDS)

    def _in_thread(self, call: Callable[..., None]) -> Any:
        """Runs in our thread, and returns the connection to the pool after each call."""
        return database_sync_to_async(call, thread_sensitive=False, executor=self.thread)

    def _tick(self, failures: jobs.Failures) -> None:
        failures.write()
        jobs.tick(jobs.WEB)
        self.also()
