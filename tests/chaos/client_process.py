"""A process with many clients, which takes commands on standard input and answers on standard output.

Each command and each answer is one JSON line: {"do": name, …} → whatever `name` returned.
"""

import asyncio
import json
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any

Commands = dict[str, Callable[..., Awaitable[Any]]]
LINE_LIMIT = 1 << 26


class ClientProcess:
    """Starts `python -m module ARGUMENTS` and calls its commands."""

    def __init__(self, module: str, **arguments: Any) -> None:
        self.module = module
        self.process = subprocess.Popen(
            [sys.executable, "-m", module, json.dumps(arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.calling = threading.Lock()

    def __enter__(self) -> "ClientProcess":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.process.kill()
        self.process.communicate()

    def call(self, do: str, **values: Any) -> Any:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        with self.calling:
            self.process.stdin.write(json.dumps({"do": do, **values}) + "\n")
            self.process.stdin.flush()
            answer = self.process.stdout.readline()
        if not answer:
            raise RuntimeError(f"{self.module} ended with {self.process.wait()}")
        return json.loads(answer)


async def serve(commands: Commands) -> None:
    """In that process: run commands until standard input ends."""
    loop = asyncio.get_running_loop()
    # Ctrl-C reaches the whole process group; the parent decides when this process ends.
    loop.add_signal_handler(signal.SIGINT, lambda: None)
    reader = asyncio.StreamReader(limit=LINE_LIMIT)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        values = json.loads(line)
        print(json.dumps(await commands[values.pop("do")](**values)), flush=True)


class Addresses:
    """The addresses of the web processes. After a lost connection a client waits a moment and uses the next one."""

    def __init__(self, urls: list[str], chance: random.Random) -> None:
        self.urls = urls
        self.chance = chance
        self.at = chance.randrange(len(urls))

    @property
    def url(self) -> str:
        return self.urls[self.at]

    async def lost(self) -> None:
        self.at = (self.at + 1) % len(self.urls)
        await asyncio.sleep(self.chance.uniform(0.1, 0.6))
