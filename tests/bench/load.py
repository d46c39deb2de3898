"""wrk with prepared requests: a client that is not the bottleneck, which its own CPU shows."""

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


class NotThere(Exception):
    """What is to be measured, or what measures it, does not exist here."""


@dataclass(frozen=True)
class Load:
    """What came of it. `cpu` is the client's own, in seconds; latencies are in ms."""

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
    """A request as it goes over the wire. The proxy in front said https."""
    content = b"" if body is None else json.dumps(body, separators=(",", ":")).encode()
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", "X-Forwarded-Proto: https"]
    if token:
        lines.append(f"Authorization: Bearer {token}")
    if content:
        lines += ["Content-Type: application/json", f"Content-Length: {len(content)}"]
    return "\r\n".join([*lines, "", ""]).encode() + content


def run(url: str, requests: Sequence[bytes], *, connections: int, seconds: float) -> Load:
    """Send `requests` in turn, over and over, for so long."""
    wrk = shutil.which("wrk")
    if wrk is None:
        raise NotThere("wrk is not installed: apt-get install wrk")
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
