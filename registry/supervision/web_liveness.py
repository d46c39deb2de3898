"""The web process's own heartbeat: while it is recent, agents' heartbeats are committed, and a silent agent is down."""

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from asgiref.typing import ASGI3Application
from channels.db import database_sync_to_async

from registry.supervision import jobs


async def nothing() -> None:
    """Complete at once."""


class WebLiveness:
    """ASGI middleware that writes a heartbeat from the first request or lifespan message until the event loop ends.

    In its own thread, so that it is never late because the thread that sockets share is busy.
    """

    def __init__(
        self,
        application: ASGI3Application,
        *,
        check_heartbeats: Callable[[], Awaitable[None]] = nothing,
        after_each: Callable[[], None] = lambda: None,
        on_shutdown: Callable[[], Awaitable[None]] = nothing,
    ) -> None:
        """`check_heartbeats` is awaited before each heartbeat, and returns once an agent's heartbeat would have been
        committed. `after_each` is called after each. What they raise is reported like a failed heartbeat.

        `on_shutdown` is awaited when the server has stopped serving.
        """
        self.application, self.check_heartbeats = application, check_heartbeats
        self.after_each, self.on_shutdown = after_each, on_shutdown
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
        await self.on_shutdown()
        await send({"type": "lifespan.shutdown.complete"})

    async def _beat(self) -> None:
        failures = jobs.Failures(jobs.WEB)
        tick, fail = self._in_thread(self._tick), self._in_thread(failures.add)
        # A heartbeat that is being committed when the task is cancelled is completed.
        while not self._is_cancelled():
            try:
                await self.check_heartbeats()
                await tick(failures)
            except Exception as error:
                await fail(error)
            await asyncio.sleep(jobs.TICK_SECONDS)

    def _is_cancelled(self) -> bool:
        task = asyncio.current_task()
        return task is None or task.cancelling() > 0

    def _in_thread(self, call: Callable[..., None]) -> Any:
        """Runs in our thread, and returns the connection to the pool after each call."""
        return database_sync_to_async(call, thread_sensitive=False, executor=self.thread)

    def _tick(self, failures: jobs.Failures) -> None:
        failures.write()
        jobs.tick(jobs.WEB)
        self.after_each()
