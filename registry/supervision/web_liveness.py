"""The web process's own heartbeat: while it is recent, agents' heartbeats are committed, and a silent agent is down."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from asgiref.typing import ASGI3Application
from channels.db import database_sync_to_async
from django.db import DatabaseError
from psycopg_pool import PoolTimeout

from registry.supervision import jobs

log = logging.getLogger(__name__)


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
        describe: Callable[[], Mapping[str, object]] = dict,
        on_shutdown: Callable[[], Awaitable[None]] = nothing,
    ) -> None:
        """`check_heartbeats` is awaited before each heartbeat, and returns once an agent's heartbeat would have been
        committed. `after_each` is called after each. `describe` says what the process's own row tells about it. What
        they raise is reported like a failed heartbeat.

        `on_shutdown` is awaited when the server has stopped serving.
        """
        self.application, self.check_heartbeats = application, check_heartbeats
        self.after_each, self.describe, self.on_shutdown = after_each, describe, on_shutdown
        self.name = jobs.process_name(jobs.WEB_PROCESS)
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
        await self._in_thread(self._forget)()
        await send({"type": "lifespan.shutdown.complete"})

    async def _beat(self) -> None:
        failures = jobs.Failures(jobs.WEB)
        tick, fail = self._in_thread(self._tick), self._in_thread(failures.add)
        # A heartbeat that is being committed when the task is cancelled is completed.
        while not self._is_cancelled():
            began = time.monotonic()
            try:
                await self.check_heartbeats()
                await tick(failures, round(1000 * (time.monotonic() - began)))
            except Exception as error:
                await fail(error)
            await asyncio.sleep(jobs.TICK_SECONDS)

    def _is_cancelled(self) -> bool:
        task = asyncio.current_task()
        return task is None or task.cancelling() > 0

    def _in_thread(self, call: Callable[..., None]) -> Any:
        """Runs in our thread, and returns the connection to the pool after each call."""
        return database_sync_to_async(call, thread_sensitive=False, executor=self.thread)

    def _tick(self, failures: jobs.Failures, took_ms: int) -> None:
        failures.write()
        jobs.tick(jobs.WEB, took_ms=took_ms)
        jobs.tick(self.name, **self.describe())
        self.after_each()

    def _forget(self) -> None:
        try:
            jobs.forget(self.name)
        except (DatabaseError, PoolTimeout) as error:
            log.warning("%s: could not delete its row: %s", self.name, type(error).__name__)
