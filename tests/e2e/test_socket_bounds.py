"""What one client of /ws can cost: seen from outside, on a real web process."""

import asyncio
import json
import socket
from collections.abc import Iterator
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.e2e.stack import Platform, until, web
from tests.e2e.test_sockets import PATIENCE_SECONDS, closed_as_slow, drain, raw, receive, sockets_of, stream

MIB = 1024 * 1024
# A flood of this size would be seen in the memory of a process that keeps its answers.
FLOOD_BYTES = 64 * MIB
# What the process may grow by for other reasons: allocators, caches, threads.
MARGIN_BYTES = 24 * MIB
PING = b"\x89\xfd\x00\x00\x00\x00" + b"p" * 125
ONE_MESSAGE = b"\x81\x8f\x00\x00\x00\x00" + b'{"type":"ping"}'


@pytest.fixture
def serving(platform: Platform) -> Iterator[tuple[str, Any]]:
    """A web process of its own, that has served a socket already."""
    with web(platform) as (url, started):
        client = raw(url.rpartition(":")[2], platform.operator_token)
        client.close()
        yield url, started


def memory(pid: int) -> int:
    """Resident bytes of the process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    [kibibytes] = [line.split()[1] for line in lines if line.startswith("VmRSS:")]
    return int(kibibytes) * 1024


def flood(client: socket.socket, frame: bytes, size: int = FLOOD_BYTES) -> int:
    """Send frames without reading. Returns how many bytes the server took before the connection broke or stalled."""
    client.settimeout(PATIENCE_SECONDS)
    part, sent = frame * (64 * 1024 // len(frame)), 0
    with suppress(OSError):
        while sent < size:
            client.sendall(part)
            sent += len(part)
    return sent


def handshake(port: str, lines: tuple[str, ...] = ()) -> socket.socket:
    """A socket that has sent the whole upgrade request and has read no answer."""
    client = socket.socket()
    client.settimeout(PATIENCE_SECONDS)
    client.connect(("127.0.0.1", int(port)))
    head = [
        "GET /ws HTTP/1.1", f"Host: 127.0.0.1:{port}", "Upgrade: websocket", "Connection: Upgrade",
        "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", *lines, "", "",
    ]  # fmt: skip
    client.sendall("\r\n".join(head).encode())
    return client


@pytest.mark.parametrize("who", ["an operator", "an agent", "a stranger"])
async def test_pings_of_a_client_that_reads_nothing_cost_no_memory(
    platform: Platform, serving: tuple[str, Any], who: str
) -> None:
    url, started = serving
    port = url.rpartition(":")[2]
    agent = await asyncio.to_thread(platform.agent, "pinging")
    token = {"an operator": platform.operator_token, "an agent": agent.token, "a stranger": ""}[who]
    async with stream(url, platform.operator_token) as other, AsyncExitStack() as stack:
        before = memory(started.pid)
        clients = [stack.enter_context(raw(port, token)) for _ in range(2)]
        taken = [await asyncio.to_thread(flood, client, PING) for client in clients]
        grown = memory(started.pid) - before
        assert max(taken) < FLOOD_BYTES
        assert grown < MARGIN_BYTES, f"{grown / MIB:.0f} MiB more after pings of {sum(taken) / MIB:.0f} MiB"
        await asyncio.to_thread(
            until, lambda: sockets_of(started.pid, int(port)) == 1, "the sockets that do not read to be closed"
        )
        await other.send('{"type":"ping"}')
        while await receive(other) != {"type": "pong"}:
            pass


async def test_a_client_that_reads_its_pongs_may_ping_on(platform: Platform, serving: tuple[str, Any]) -> None:
    url, _started = serving
    async with stream(url, platform.operator_token) as opened:
        for _ in range(2000):
            await (await opened.ping(b"p" * 125))
        await opened.send('{"type":"ping"}')
        while await receive(opened) != {"type": "pong"}:
            pass


async def test_answers_that_a_client_does_not_read_count_as_well(platform: Platform) -> None:
    """Replies are small: with a small bound the permitted hundred messages exceed it."""
    with web(platform, SOCKET_UNSENT_BYTES="1000") as (url, started):
        port = int(url.rpartition(":")[2])
        with raw(port, platform.operator_token) as client:
            flooding = asyncio.create_task(asyncio.to_thread(flood, client, PING, 8 * MIB))
            # The server waits only some seconds for a client that does not read its close.
            await asyncio.to_thread(until, lambda: closed_as_slow(platform, url), "the server to close the socket")
            data = await asyncio.to_thread(drain, client)
            with suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)
            await flooding
        assert data.endswith((4408).to_bytes(2, "big"))
        await asyncio.to_thread(until, lambda: sockets_of(started.pid, port) == 0, "the socket to be closed")


async def test_of_a_refused_client_no_more_than_its_close_is_read(platform: Platform, serving: tuple[str, Any]) -> None:
    """What it sends stays in the kernel's buffers until the connection is cut."""
    url, started = serving
    with handshake(url.rpartition(":")[2]) as client:
        taken = await asyncio.to_thread(flood, client, ONE_MESSAGE)
    assert taken < FLOOD_BYTES
    assert json.loads((await asyncio.to_thread(platform.api.get, "/health")).text)["status"] == "ok"
    await asyncio.to_thread(
        until, lambda: sockets_of(started.pid, int(url.rpartition(":")[2])) == 0, "the socket to be closed"
    )


async def test_a_handshake_that_cannot_be_settled_is_refused_and_nothing_is_read_meanwhile(platform: Platform) -> None:
    """The table of tokens is locked, so the server cannot authenticate the client."""
    waiting = "SELECT true FROM pg_locks WHERE relation = 'operator_tokens'::regclass AND NOT granted"
    with (
        web(platform, SOCKET_HANDSHAKE_SECONDS="2") as (url, started),
        psycopg.connect(platform.environment["DATABASE_URL"]) as other,
        psycopg.connect(platform.environment["DATABASE_URL"], autocommit=True) as watcher,
    ):
        before = memory(started.pid)
        other.execute("LOCK TABLE operator_tokens IN ACCESS EXCLUSIVE MODE")
        with handshake(url.rpartition(":")[2], ("Authorization: Bearer mol_op_0123456789ab_" + "x" * 43,)) as client:
            # What comes in one packet with the request is lost: clients must wait for the answer.
            until(lambda: watcher.execute(waiting).fetchone(), "the server to look the token up")
            taken = await asyncio.to_thread(flood, client, PING)
            answer = await asyncio.to_thread(drain, client)
        other.rollback()
        assert b" 101 " in answer
        assert answer.endswith(b"\x88\x02" + (1013).to_bytes(2, "big"))
        assert taken < FLOOD_BYTES
        assert memory(started.pid) - before < MARGIN_BYTES
