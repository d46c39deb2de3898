"""What hostile or broken clients send to a running server."""

import os
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from urllib.parse import urlsplit

import psycopg

from activity import cache_versions
from tests.e2e.stack import Platform, manage

PING_BYTES = 125
"""The most that a control frame may carry."""
IDLE_SECONDS = 20.0


@contextmanager
def locked_row(database_url: str, workspace_id: str) -> Iterator[None]:
    """A transaction from elsewhere that holds the row of one workspace, such as a report or a person with psql."""
    with psycopg.connect(database_url) as holder:
        holder.execute("SELECT FROM workspaces WHERE id = %s FOR UPDATE", [workspace_id])
        yield
        holder.rollback()


@contextmanager
def locked_log(database_url: str) -> Iterator[None]:
    """A session that holds the lock under which events are recorded."""
    with psycopg.connect(database_url, autocommit=True) as holder:
        holder.execute("SELECT pg_advisory_lock(%s)", [cache_versions.LOG.lock_id])
        yield


def post(url: str, path: str, body: bytes, token: str = "") -> bytes:
    """A POST as it goes over the connection."""
    head = f"POST {path} HTTP/1.1\r\nHost: {urlsplit(url).netloc}\r\nContent-Type: application/json\r\n"
    head += f"Authorization: Bearer {token}\r\n" if token else ""
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


class Flood:
    """`connections` clients that send the same request again and again until the flood is left.

    `answers` counts the statuses that came; "cut" is a connection that was closed without one.
    """

    def __init__(self, url: str, request: bytes, connections: int) -> None:
        self.address = (urlsplit(url).hostname or "", urlsplit(url).port or 0)
        self.request = request
        self.answers: Counter[str] = Counter()
        self.over = threading.Event()
        self.threads = [threading.Thread(target=self._run) for _ in range(connections)]

    def __enter__(self) -> "Flood":
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.over.set()
        for thread in self.threads:
            thread.join()

    def _run(self) -> None:
        while not self.over.is_set():
            try:
                with socket.create_connection(self.address, IDLE_SECONDS) as client:
                    while not self.over.is_set():
                        self.answers[self._ask(client)] += 1
            except OSError:
                self.answers["cut"] += 1
                self.over.wait(0.01)

    def _ask(self, client: socket.socket) -> str:
        """Send the request and read the whole answer. Raises ConnectionError if none comes."""
        with suppress(ConnectionError):  # the answer may come before the body is read
            client.sendall(self.request)
        received = b""
        while b"\r\n\r\n" not in received:
            if not (part := client.recv(65536)):
                raise ConnectionError("closed")
            received += part
        head, _, body = received.partition(b"\r\n\r\n")
        headers = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
        missing = int(headers.get(b"content-length", b"0")) - len(body)
        while missing > 0 and (part := client.recv(65536)):
            missing -= len(part)
        if headers.get(b"connection") == b"close":
            client.close()
        return head.split()[1].decode()


def ping_without_reading(client: socket.socket, limit: int) -> int:
    """Send pings and read none of the pongs, until `limit` bytes are sent or the server cuts the connection.

    Returns the bytes sent. A server that stops reading makes the client wait; that counts as the end too.
    """
    mask = os.urandom(4)
    payload = bytes(byte ^ mask[n % 4] for n, byte in enumerate(b"p" * PING_BYTES))
    burst = (bytes((0x89, 0x80 | PING_BYTES)) + mask + payload) * 512
    client.settimeout(5)
    sent = 0
    with suppress(OSError):
        while sent < limit:
            client.sendall(burst)
            sent += len(burst)
    return sent


def write_heavy_events(platform: Platform, workspace_id: str, count: int, size: int) -> None:
    """Append events with a card of `size` bytes each, more than the API takes: old logs have them."""
    script = (
        "from uuid import UUID\n"
        "from django.db import transaction\n"
        "from activity.events import NewEvent, record\n"
        "from registry.structure import projection\n"
        f"owner, size = UUID({workspace_id!r}), {size}\n"
        f"for number in range({count}):\n"
        "    card = {'name': f'heavy {number}', 'text': chr(97 + number % 26) * size}\n"
        "    with transaction.atomic():\n"
        "        projection.apply(record([NewEvent(event_type='AGENT_CARD_UPDATED', workspace_id=owner,"
        " payload={'agent_card': card})], actor=None))\n"
    )
    manage(platform.environment, "shell", "-v0", "-c", script)


def nested(size: int, around: str = "%s") -> bytes:
    """A JSON body of about `size` bytes that is all structure: [[],[],…]."""
    return (around % f"[{','.join(['[]'] * (size // 3))}]").encode()
