"""The web's pulse: while it beats, agents can reach us, so their silence means something."""

import asyncio
from typing import Any

from asgiref.typing import ASGI3Application
from channels.db import database_sync_to_async

from registry import loops


class Pulse:
    """Beats from the first request or lifespan message of an event loop until that loop ends."""

    def __init__(self, application: ASGI3Application) -> None:
        self.application = application
        self.task: asyncio.Task[None] | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self._ensure_beating()
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        else:
            await self.application(scope, receive, send)

    def _ensure_beating(self) -> None:
        if self.task is None or self.task.done() or self.task.get_loop() is not asyncio.get_running_loop():
            self.task = asyncio.create_task(_beat(), name="web pulse")

    async def _lifespan(self, receive: Any, send: Any) -> None:
        while (message := await receive())["type"] != "lifespan.shutdown":
            await send({"type": f"{message['type']}.complete"})
        if self.task is not None:
            self.task.cancel()
        await send({"type": "lifespan.shutdown.complete"})


async def _beat() -> None:
    failures = loops.Failures(loops.WEB)
    tick, fail = database_sync_to_async(_tick), database_sync_to_async(failures.add)
    while True:
        try:
            await tick(failures)
        except Exception as error:
            await fail(error)
        await asyncio.sleep(loops.TICK_SECONDS)


def _tick(failures: loops.Failures) -> None:
    failures.write()
    loops.tick(loops.WEB)
