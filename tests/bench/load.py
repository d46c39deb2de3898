"""Load by wrk with prepared requests. Its CPU time is measured, to show that the client is not the bottleneck."""

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

SCRIPT = Path(__file__).with_name("requests.lua")


class Unavailable(Exception):
    """The feature to measure, or the tool that measures it, is not installed."""


@dataclass(frozen=True)
class Load:
    """The result. `cpu` is the client's, in seconds; latencies are in ms."""

    requests: int
    seconds: float
    refused: int
    broken: int
    p50: float
    p99: float
    cpu: float

    @property
    def rate(self) -> float:
        return self.requests / self.seconds


def request(method: str, path: str, token: str, body: object = None) -> bytes:
    """The bytes of an HTTP request, with the header of a TLS proxy."""
    content = b"" if body is None else json.dumps(body, separators=(",", ":")).encode()
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", "X-Forwarded-Proto: https"]
    if token:
        lines.append(f"Authorization: Bearer {token}")
    if content:
        lines += ["Content-Type: application/json", f"Content-Length: {len(content)}"]
    return "\r\n".join([*lines, "", ""]).encode() + content


def run(url: str, requests: Sequence[bytes], *, connections: int, seconds: float) -> Load:
    """Send `requests` in turn, repeatedly, for `seconds`. Raises Unavailable without wrk."""
    wrk = shutil.which("wrk")
    if wrk is None:
        raise Unavailable("wrk is not installed: apt-get install wrk")
    with tempfile.NamedTemporaryFile(prefix="molecule-bench-") as prepared:
        prepared.write(b"".join(each + b"\0" for each in requests))
        prepared.flush()
        address = "http://{0.hostname}:{0.port}".format(urlsplit(url))
        command = [wrk, "-t1", f"-c{connections}", f"-d{seconds:.0f}s", "--timeout", "10s", "-s", str(SCRIPT), address]
        process = subprocess.Popen([*command, "--", prepared.name], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        output = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"wrk ended with {process.returncode}:\n{output}")
    return Load(**json.loads(output.strip().splitlines()[-1]), cpu=usage.ru_utime + usage.ru_stime)
