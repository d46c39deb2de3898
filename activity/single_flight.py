"""SingleFlight: concurrent callers share one execution of an expensive operation."""

import asyncio
from collections.abc import Awaitable, Callable


class SingleFlight:
    """Runs `operation` once for all concurrent callers, and never twice at a time.

    Every caller gets an execution that starts after its call: all calls during one execution share the next.
    An exception of the operation is raised to all callers that share it.
    """

    def __init__(self, operation: Callable[[], Awaitable[None]]) -> None:
        self.operation = operation
        self.current: asyncio.Task[None] | None = None
        self.next: asyncio.Task[None] | None = None

    async def __call__(self) -> None:
        if self.next is None:
            self.next = asyncio.create_task(self._run_after(self.current), name=f"single flight: {self.operation}")
        await asyncio.shield(self.next)

    async def _run_after(self, current: "asyncio.Task[None] | None") -> None:
        if current is not None:
            await asyncio.wait([current])
        self.current, self.next = self.next, None
        await self.operation()
