"""Shared: something that many ask for at once, done once for all of them."""

import asyncio
from collections.abc import Awaitable, Callable


class Shared:
    """Who asks while it is being done shares the next time, and its failure."""

    def __init__(self, act: Callable[[], Awaitable[None]]) -> None:
        self.act = act
        self.current: asyncio.Task[None] | None = None
        self.next: asyncio.Task[None] | None = None

    async def __call__(self) -> None:
        if self.next is None:
            self.next = asyncio.create_task(self._after(self.current), name=f"shared: {self.act}")
        await asyncio.shield(self.next)

    async def _after(self, current: "asyncio.Task[None] | None") -> None:
        if current is not None:
            await asyncio.wait([current])
        self.current, self.next = self.next, None
        await self.act()
