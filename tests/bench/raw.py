"""Many WebSocket clients in one process with little CPU: raw sockets, epoll, answers found in the bytes.

    python -m tests.bench.raw URL beat|listen   # one JSON line per socket on standard input, then commands

Frames to the server use the mask 0, which is valid and leaves the bytes unchanged. Frames from the server are not
parsed: the byte patterns that are counted occur nowhere else in them.
"""

import base64
import json
import os
import re
import resource
import selectors
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

OK = b'"heartbeat.ok"'
WRONG = b'"type":"error"'
# Marks the time in the summary of an activity entry; nanoseconds of the monotonic clock follow.
STAMP = b"sent-at-"
STAMP_DIGITS = 20
ROOM = 1 << 18
TEXT = 1
CLOSE = 0x88
PING = b"\x89"
PONG = 0x8A
MASK = b"\0\0\0\0"
SAMPLED = 32
QUIET_SECONDS = 3.0


class Clients:
    """Client processes, each with its own sockets, that measure on command."""

    def __init__(self, url: str, what: str, sockets: Sequence[Sequence[dict[str, Any]]]) -> None:
        command = [sys.executable, "-m", "tests.bench.raw", url, what]
        pipe: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.processes = [subprocess.Popen(command, **pipe) for _ in sockets]
        for process, lines in zip(self.processes, sockets, strict=True):
            self._send(process, *(json.dumps(line) for line in lines), "go")
        for process in self.processes:
            assert self._read(process) == "ready"

    def start(self, seconds: float) -> None:
        for process in self.processes:
            self._send(process, str(seconds))

    def results(self) -> list[dict[str, Any]]:
        return [json.loads(self._read(process)) for process in self.processes]

    def measure(self, seconds: float) -> list[dict[str, Any]]:
        """What each process counted within `seconds`."""
        self.start(seconds)
        return self.results()

    def __enter__(self) -> "Clients":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for process in self.processes:
            process.kill()
            process.communicate()

    def _send(self, process: "subprocess.Popen[str]", *lines: str) -> None:
        assert process.stdin is not None
        process.stdin.write("".join(f"{line}\n" for line in lines))
        process.stdin.flush()

    def _read(self, process: "subprocess.Popen[str]") -> str:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise RuntimeError(f"a client process ended with {process.wait()}")
        return line.strip()


def connect(url: str, token: str) -> tuple[socket.socket, bytes]:
    """An open WebSocket, and the bytes received after the handshake."""
    address = urlsplit(url)
    connection = socket.create_connection((address.hostname or "", address.port or 80), timeout=30)
    key = base64.b64encode(os.urandom(16)).decode()
    head = f"GET /ws HTTP/1.1\r\nHost: {address.netloc}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    head += f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\nX-Forwarded-Proto: https\r\n"
    connection.sendall(f"{head}Authorization: Bearer {token}\r\n\r\n".encode())
    answer = b""
    while b"\r\n\r\n" not in answer:
        received = connection.recv(4096)
        if not received:
            raise ConnectionError(f"closed while connecting: {answer!r}")
        answer += received
    first, _, rest = answer.partition(b"\r\n\r\n")
    if b" 101 " not in first:
        raise ConnectionError(first.decode())
    return connection, rest


def frame(text: bytes) -> bytes:
    """A text frame, as a client sends it."""
    size = len(text)
    head = struct.pack("!BB", 0x81, 0x80 | size) if size < 126 else struct.pack("!BBH", 0x81, 0xFE, size)
    return head + MASK + text


class Beating:
    """Each socket sends its heartbeat again as soon as the last one is acknowledged."""

    def __init__(self, url: str, lines: Sequence[dict[str, Any]]) -> None:
        self.selector = selectors.DefaultSelector()
        for line in lines:
            connection, _ = connect(url, line["token"])
            connection.setblocking(False)
            beat = frame(json.dumps(line["message"], separators=(",", ":")).encode())
            self.selector.register(connection, selectors.EVENT_READ, [connection, beat, 0.0])
        self.began = False

    def measure(self, seconds: float) -> dict[str, Any]:
        count, refused, closed, code = 0, 0, 0, 0
        took: list[float] = []
        now = time.perf_counter()
        end = now + seconds
        if not self.began:
            for key in self.selector.get_map().values():
                self._send(key.data, now)
        self.began = True
        while now < end:
            for key, _ in self.selector.select(0.5):
                data = _receive(key.data[0])
                now = time.perf_counter()
                refused += data.count(WRONG)
                if OK in data:
                    count += 1
                    took.append(now - key.data[2])
                    self._send(key.data, now)
                elif not data:
                    closed += 1
                    self.selector.unregister(key.data[0])
                elif data[0] == CLOSE:
                    code = int.from_bytes(data[2:4], "big")
            now = time.perf_counter()
        return {"count": count, "refused": refused, "closed": closed, "code": code, **_percentiles(took)}

    def _send(self, state: list[Any], now: float) -> None:
        state[2] = now
        state[0].send(state[1])


class Listening:
    """Counts STAMPs for the given time, and then until none has arrived for QUIET_SECONDS.

    In one of SAMPLED reads the last stamp is used to measure the latency.
    """

    def __init__(self, url: str, lines: Sequence[dict[str, Any]]) -> None:
        self.selector = selectors.DefaultSelector()
        for line in lines:
            connection, rest = connect(url, line["token"])
            connection.setblocking(False)
            self.selector.register(connection, selectors.EVENT_READ, [connection, rest[-len(STAMP) :]])

    def measure(self, seconds: float) -> dict[str, Any]:
        count, closed, reads = 0, 0, 0
        first = last = now = time.monotonic()
        end = now + seconds
        took: list[float] = []
        while now < max(end, last + QUIET_SECONDS):
            for key, _ in self.selector.select(0.2):
                state = key.data
                data = _receive(state[0])
                if not data:
                    closed += 1
                    self.selector.unregister(state[0])
                    continue
                if PING in data:
                    _answer_pings(state[0], data)
                # The end of a read may cut a stamp in two: keep the part, and nothing of a complete one.
                text = state[1] + data
                found = text.count(STAMP)
                state[1] = text[-len(STAMP) + 1 :]
                if not found:
                    continue
                last = time.monotonic()
                first = last if not count else first
                count += found
                reads += 1
                if reads % SAMPLED == 0:
                    took += _under_way(text)
            now = time.monotonic()
        return {"count": count, "closed": closed, "first": first, "last": last, **_percentiles(took)}


def _answer_pings(connection: socket.socket, data: bytes) -> None:
    """Without a pong the server closes the socket. No text here has that byte; a ping cut in two is sent again."""
    for found in re.finditer(rb"\x89([\0-\x7d])", data):
        size, end = found[1][0], found.end()
        connection.send(bytes([PONG, 0x80 | size]) + MASK + data[end : end + size])


def _under_way(text: bytes) -> list[float]:
    """Seconds since the last stamp in a text was made; empty if it is cut off."""
    digits = text[text.rfind(STAMP) + len(STAMP) :][:STAMP_DIGITS]
    if len(digits) < STAMP_DIGITS:
        return []
    return [(time.monotonic_ns() - int(digits)) / 1e9]


def stamp() -> str:
    """A summary with the time, for Listening to find."""
    return f"{STAMP.decode()}{time.monotonic_ns():0{STAMP_DIGITS}d}"


def frames(connection: socket.socket, received: bytes) -> Iterator[bytes]:
    """The messages of the server, until it closes or the socket times out."""
    while True:
        while (found := _first(received)) is None:
            more = connection.recv(ROOM)
            if not more:
                return
            received += more
        opcode, text, received = found
        if opcode == TEXT:
            yield text


def _first(received: bytes) -> tuple[int, bytes, bytes] | None:
    """(opcode, content, rest) of the first frame, None while it is incomplete."""
    size, head = received[1] if len(received) > 1 else 0, 2
    if size == 126:
        size, head = int.from_bytes(received[2:4], "big"), 4
    elif size == 127:
        size, head = int.from_bytes(received[2:10], "big"), 10
    if len(received) < head + size or len(received) < 2:
        return None
    return received[0] & 0x0F, received[head : head + size], received[head + size :]


def _receive(connection: socket.socket) -> bytes:
    """Bytes received; empty if the other side closed."""
    try:
        return connection.recv(ROOM)
    except ConnectionResetError:
        return b""


def _percentiles(seconds: list[float]) -> dict[str, float]:
    """In milliseconds; 0 without values."""
    ordered = sorted(seconds) or [0.0]
    return {f"p{p}": 1000 * ordered[min(len(ordered) - 1, len(ordered) * p // 100)] for p in (50, 99)}


def main(url: str, what: str) -> None:
    lines = []
    for text in iter(sys.stdin.readline, "go\n"):
        lines.append(json.loads(text))
    clients = Beating(url, lines) if what == "beat" else Listening(url, lines)
    print("ready", flush=True)
    for text in sys.stdin:
        began, spent = time.perf_counter(), _cpu()
        found = clients.measure(float(text))
        print(json.dumps({**found, "seconds": time.perf_counter() - began, "cpu": _cpu() - spent}), flush=True)


def _cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    main(*sys.argv[1:])
