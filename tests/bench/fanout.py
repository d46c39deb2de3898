"""How many messages per second one web process sends to many sockets, and how much CPU that takes.

`python -m tests.bench.fanout --sockets 500 --rate 200 --batch 10`: real PostgreSQL and Redis, real events
through record(), and a client that counts messages without parsing them. Not a test: figures depend on the machine.
"""

import argparse
import os
import selectors
import socket
import subprocess
import sys
import time
from pathlib import Path

from tests.e2e.stack import ROOT, Platform, running_platform

MARK = b'{"event":"WORKSPACE_UPDATED"'
SETTLE_SECONDS = 3.0

WRITER = """
import sys, time, uuid
from django.db import transaction
from activity.events import NewEvent, record
rate, batch, seconds = float(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
new = [NewEvent(event_type="WORKSPACE_UPDATED", workspace_id=uuid.uuid4(), payload={"changes": {"name": ["a", "b"]}})]
began, sent = time.monotonic(), 0
while (now := time.monotonic() - began) < seconds:
    with transaction.atomic():
        record(new * batch, actor="bench")
    sent += batch
    time.sleep(max(0, sent / rate - (time.monotonic() - began)))
print(sent, time.monotonic() - began)
"""


class Counter:
    """Raw sockets; messages are counted, not parsed."""

    def __init__(self, platform: Platform, sockets: int) -> None:
        self.selector = selectors.DefaultSelector()
        self.count = 0
        for _ in range(sockets):
            client = handshake(platform)
            self.selector.register(client, selectors.EVENT_READ, [b""])

    def read(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            for key, _ in self.selector.select(left):
                data = key.fileobj.recv(1 << 18)  # type: ignore[union-attr]
                if not data:
                    raise SystemExit("a socket was closed")
                seen = key.data[0] + data
                self.count += seen.count(MARK)
                key.data[0] = seen[-len(MARK) + 1 :]


def handshake(platform: Platform) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", int(platform.port)))
    lines = [
        "GET /ws HTTP/1.1", f"Host: 127.0.0.1:{platform.port}", "Upgrade: websocket", "Connection: Upgrade",
        "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        f"Authorization: Bearer {platform.operator_token}", "", "",
    ]  # fmt: skip
    client.sendall("\r\n".join(lines).encode())
    answer = b""
    while b"\r\n\r\n" not in answer:
        answer += client.recv(4096)
    assert answer.startswith(b"HTTP/1.1 101"), answer
    return client


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sockets", type=int, default=500)
    parser.add_argument("--rate", type=float, default=200.0, help="events per second")
    parser.add_argument("--batch", type=int, default=10, help="events in one transaction")
    parser.add_argument("--seconds", type=float, default=10.0)
    given = parser.parse_args()
    with running_platform() as platform:
        counter = Counter(platform, given.sockets)
        counter.read(SETTLE_SECONDS)
        measure(platform, counter, given)


def measure(platform: Platform, counter: Counter, given: argparse.Namespace) -> None:
    script = WRITER.replace("sys.argv", repr(["", given.rate, given.batch, given.seconds]))
    command = [sys.executable, "manage.py", "shell", "-v0", "-c", script]
    print("web is process", platform.web.pid, flush=True)
    with subprocess.Popen(command, cwd=ROOT, env=platform.environment, stdout=subprocess.PIPE, text=True) as writer:
        used, own, began = -cpu_seconds(platform.web.pid), -time.process_time(), time.monotonic()
        while writer.poll() is None:
            counter.read(0.1)
        took = time.monotonic() - began
        used, own = used + cpu_seconds(platform.web.pid), own + time.process_time()
        sent, seconds = writer.communicate()[0].split()
    counter.read(SETTLE_SECONDS)
    due = int(sent) * given.sockets
    print(f"{sent} events in {float(seconds):.1f} s, {given.sockets} sockets: {counter.count} of {due} messages")
    speed = counter.count / float(seconds)
    print(f"{speed:,.0f} messages/s; web {used / took:.0%} of a core, client {own / took:.0%}")


if __name__ == "__main__":
    main()
