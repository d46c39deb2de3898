"""Agents that register and send heartbeats over real connections, and remember which were acknowledged.

    python -m tests.chaos.agents '{"urls": [...], "seed": 1, "interval": 1.0}'

A heartbeat's number is its uptime_seconds, one more with every attempt. A row with a smaller number than the last
acknowledged one has lost a heartbeat, unless it is the number of one that timed out and was written late.
"""

import asyncio
import json
import random
import sys
from collections import Counter
from typing import Any
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from tests.chaos.client_process import Addresses, serve

ANSWER_SECONDS = 10.0
FAILURE_PROBABILITY = 0.04
"""That a heartbeat reports a high error rate."""
GONE = 410
ENROLMENT = "mol_en_"
REFUSED = (4401, 4403)
STATUS = {"removed": GONE, "throttled": 429, "overloaded": 503, "unavailable": 503}
"""The HTTP status that matches the code of an error on a socket."""
Unreachable = (OSError, EOFError, TimeoutError, ConnectionClosed, InvalidHandshake)


class HTTP:
    """One kept-alive connection, opened again when it is lost."""

    def __init__(self, addresses: Addresses, token: str) -> None:
        self.addresses = addresses
        self.token = token
        self.streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def post(self, path: str, body: dict[str, Any]) -> tuple[int, str]:
        """Returns status and text. Raises the errors in Unreachable."""
        address = urlsplit(self.addresses.url)
        if self.streams is None:
            self.streams = await asyncio.open_connection(address.hostname, address.port)
        reader, writer = self.streams
        content = json.dumps(body).encode()
        head = f"POST {path} HTTP/1.1\r\nHost: {address.netloc}\r\nAuthorization: Bearer {self.token}\r\n"
        head += f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
        writer.write(head.encode() + content)
        await writer.drain()
        lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines[1:] if line)
        text = await reader.readexactly(int(headers.get("content-length", 0)))
        if headers.get("connection") == "close":
            self.drop()
        return int(lines[0].split()[1]), text.decode()

    async def beat(self, body: dict[str, Any]) -> tuple[int, str]:
        return await self.post("/registry/heartbeat", body)

    def drop(self) -> None:
        if self.streams is not None:
            self.streams[1].transport.abort()
            self.streams = None


class Socket(HTTP):
    """Registers over HTTP and sends heartbeats over `/ws`. When `/ws` refuses it, it asks over HTTP for the reason."""

    socket: ClientConnection | None = None

    async def beat(self, body: dict[str, Any]) -> tuple[int, str]:
        try:
            return await self._beat(body)
        except ConnectionClosed as closed:
            if closed.rcvd is None or closed.rcvd.code not in REFUSED:
                raise
        self.socket = None
        return await super().beat(body)

    async def _beat(self, body: dict[str, Any]) -> tuple[int, str]:
        if self.socket is None:
            url = f"{self.addresses.url.replace('http', 'ws', 1)}/ws"
            headers = {"Authorization": f"Bearer {self.token}"}
            self.socket = await connect(url, additional_headers=headers, open_timeout=ANSWER_SECONDS, close_timeout=1)
        await self.socket.send(json.dumps({"type": "heartbeat", **body}))
        while True:
            text = str(await self.socket.recv())
            kind = json.loads(text).get("type")
            if kind == "heartbeat.ok":
                return 200, text
            if kind == "error":
                return STATUS.get(json.loads(text).get("code"), 400), text

    def drop(self) -> None:
        super().drop()
        if self.socket is not None:
            self.socket.transport.abort()
            self.socket = None


class Agent:
    def __init__(self, id: str, token: str, line: HTTP, interval: float) -> None:
        self.id = id
        self.line = line
        self.interval = interval
        self.chance = line.addresses.chance
        self.attempts = self.acknowledged = 0
        self.unanswered: list[int] = []
        """Heartbeats that timed out: they may still be written, even after a later one over another connection."""
        self.state = "alive"
        self.answers: Counter[str] = Counter()
        self.unexpected: list[str] = []
        self.busy = asyncio.Lock()
        """Held while an attempt is under way."""

    async def run(self, may_beat: asyncio.Event) -> None:
        while self.state == "alive" and not await self._register():
            await self.line.addresses.lost()
        await asyncio.sleep(self.chance.uniform(0, self.interval))
        while self.state == "alive":
            await may_beat.wait()
            if await self._beat(may_beat):
                await asyncio.sleep(self.interval * self.chance.uniform(0.8, 1.2))
            else:
                await self.line.addresses.lost()

    async def _register(self) -> bool:
        body = {"id": self.id, "url": "remote://no-inbound", "agent_card": {"name": f"Agent {self.id[-12:]}"}}
        answer = await self._attempt("/registry/register", body)
        if answer is not None:
            self.line.token = json.loads(answer).get("auth_token", self.line.token)
        elif self.answers["401"] and self.line.token.startswith(ENROLMENT):
            # The enrolment token was used up, but the answer with the workspace token was lost.
            self.state = "dead"
        return answer is not None

    async def _beat(self, may_beat: asyncio.Event) -> bool:
        async with self.busy:
            if self.state != "alive" or not may_beat.is_set():
                return True
            self.attempts += 1
            number = self.attempts
            if await self._attempt(None, self._body(number)) is None:
                self.unanswered.append(number)
                return False
            self.acknowledged = number
            return True

    def _body(self, number: int) -> dict[str, Any]:
        is_failing = self.chance.random() < FAILURE_PROBABILITY
        return {
            "workspace_id": self.id,
            "uptime_seconds": number,
            "active_tasks": number % 3,
            "error_rate": 0.9 if is_failing else 0.0,
            "sample_error": "timeout" if is_failing else "",
            "current_task": f"Task {number // 5}",
        }

    async def _attempt(self, path: str | None, body: dict[str, Any]) -> str | None:
        """The text of an acknowledgement, else None. Closes the connection on an error; 410 ends the agent."""
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                status, text = await (self.line.beat(body) if path is None else self.line.post(path, body))
        except Unreachable as error:
            self.answers[type(error).__name__] += 1
            self.line.drop()
            return None
        self.answers[str(status)] += 1
        if status == GONE:
            self.state = "removed"
        elif status not in (200, 429, 503) and not (status == 401 and self.line.token.startswith(ENROLMENT)):
            self.unexpected.append(f"{status} {text[:300]}")
        if status == 429:
            await asyncio.sleep(1)
        return text if status == 200 else None

    async def die(self) -> None:
        """Stop sending heartbeats, after one that is under way."""
        if self.state == "alive":
            self.state = "dead"
        async with self.busy:
            self.line.drop()

    def report(self) -> dict[str, Any]:
        names = ("attempts", "acknowledged", "unanswered", "state", "answers", "unexpected")
        return {name: getattr(self, name) for name in names}


class Agents:
    """The agents of one process."""

    def __init__(self, urls: list[str], seed: int, interval: float) -> None:
        self.urls = urls
        self.seed = seed
        self.interval = interval
        self.agents: dict[str, Agent] = {}
        self.tasks: set[asyncio.Task[None]] = set()
        self.may_beat = asyncio.Event()
        self.may_beat.set()

    async def join(self, agents: list[dict[str, Any]]) -> int:
        """Add agents, `{"id", "token", "socket"}` each, which register and then send heartbeats."""
        for one in agents:
            addresses = Addresses(self.urls, random.Random(f"{self.seed} {one['id']}"))
            line = (Socket if one["socket"] else HTTP)(addresses, one["token"])
            agent = self.agents[one["id"]] = Agent(one["id"], one["token"], line, self.interval)
            task = asyncio.create_task(agent.run(self.may_beat))
            self.tasks.add(task)
            task.add_done_callback(self._ended)
        return len(self.agents)

    async def hold(self) -> int:
        """Let no heartbeat begin; returns when none is under way."""
        self.may_beat.clear()
        for agent in self.agents.values():
            async with agent.busy:
                pass
        return len(self.agents)

    async def release(self) -> int:
        self.may_beat.set()
        return len(self.agents)

    async def die(self, ids: list[str]) -> int:
        await asyncio.gather(*(self.agents[i].die() for i in ids if i in self.agents))
        return len(ids)

    async def drop(self) -> int:
        """Abort every connection, whatever is under way on it."""
        for agent in self.agents.values():
            agent.line.drop()
        return len(self.agents)

    async def calm(self) -> int:
        """Report no more errors."""
        global FAILURE_PROBABILITY
        FAILURE_PROBABILITY = 0.0
        return 0

    async def report(self) -> dict[str, Any]:
        return {i: agent.report() for i, agent in self.agents.items()}

    def _ended(self, task: asyncio.Task[None]) -> None:
        self.tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            asyncio.get_running_loop().call_exception_handler({"message": "an agent crashed", "exception": error})
            sys.exit(1)


async def main(arguments: dict[str, Any]) -> None:
    agents = Agents(**arguments)
    names = ("join", "hold", "release", "die", "drop", "calm", "report")
    await serve({name: getattr(agents, name) for name in names})


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
