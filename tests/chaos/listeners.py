"""Clients of `/ws` that resume at their position after every close, and keep every persisted event they receive.

python -m tests.chaos.listeners '{"urls": [...], "seed": 1, "token": "…", "count": 20}'
"""

import asyncio
import json
import random
import sys
from collections import Counter
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from tests.chaos.client_process import Addresses, serve

OPEN_SECONDS = 10.0
LONGEST_MESSAGE = 1 << 22


class Listener:
    def __init__(self, addresses: Addresses, token: str) -> None:
        self.addresses = addresses
        self.headers = {"Authorization": f"Bearer {token}"}
        self.position = 0
        self.received: list[tuple[int, str, str]] = []
        self.closes: Counter[str] = Counter()
        self.socket: ClientConnection | None = None
        self.may_read = asyncio.Event()
        self.may_read.set()

    async def listen(self) -> None:
        while True:
            url = f"{self.addresses.url.replace('http', 'ws', 1)}/ws?since={self.position}"
            try:
                async with connect(
                    url,
                    additional_headers=self.headers,
                    open_timeout=OPEN_SECONDS,
                    close_timeout=1,
                    max_size=LONGEST_MESSAGE,
                ) as self.socket:
                    async for message in self.socket:
                        self._receive(json.loads(message))
                        await self.may_read.wait()
                self.closes[str(self.socket.close_code)] += 1
            except ConnectionClosed as closed:
                self.closes[str(closed.rcvd.code if closed.rcvd else "broken")] += 1
            except (OSError, EOFError, TimeoutError, InvalidHandshake) as error:
                self.closes[type(error).__name__] += 1
            await self.addresses.lost()

    def _receive(self, message: dict[str, Any]) -> None:
        if message.get("seq") is not None and message["event"] != "STREAM_LIVE":
            self.position = message["seq"]
            self.received.append((message["seq"], message["event"], message["workspace_id"]))


class Listeners:
    def __init__(self, urls: list[str], seed: int, token: str, count: int) -> None:
        self.listeners = [Listener(Addresses(urls, random.Random(f"{seed} listener {n}")), token) for n in range(count)]
        self.tasks = [asyncio.create_task(listener.listen()) for listener in self.listeners]

    async def positions(self) -> list[int]:
        for task in self.tasks:
            if task.done():
                task.result()
        return [listener.position for listener in self.listeners]

    async def drop(self) -> int:
        """Abort every connection."""
        for listener in self.listeners:
            if listener.socket is not None:
                listener.socket.transport.abort()
        return len(self.listeners)

    async def stall(self, count: int) -> int:
        """Let `count` of them stop reading, as a client on a bad connection does."""
        for listener in self.listeners[:count]:
            listener.may_read.clear()
        return count

    async def resume(self) -> int:
        for listener in self.listeners:
            listener.may_read.set()
        return len(self.listeners)

    async def report(self) -> list[dict[str, Any]]:
        return [{"received": listener.received, "closes": listener.closes} for listener in self.listeners]


async def main(arguments: dict[str, Any]) -> None:
    listeners = Listeners(**arguments)
    await serve({name: getattr(listeners, name) for name in ("positions", "drop", "stall", "resume", "report")})


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
