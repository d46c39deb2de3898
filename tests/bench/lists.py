"""GET /workspaces with all workspaces: time and size, compressed, and when nothing has changed."""

import statistics
import time
from collections.abc import Iterator
from typing import Any

import httpx

from tests.bench.bench import Bench
from tests.bench.machine import Cpu
from tests.bench.table import Figure

TIMES = 5
RAW = {"Accept-Encoding": "identity"}


def measure(bench: Bench) -> Iterator[Figure]:
    count = len(bench.agents)
    raw = _get(bench, RAW)
    assert len(raw.json()) == count, len(raw.json())
    yield _timed(bench, f"list of {count:,}, {_size(raw)}", RAW)
    packed = {"Accept-Encoding": "gzip"}
    small = _get(bench, packed)
    if small.headers.get("Content-Encoding") == "gzip":
        yield _timed(bench, f"list of {count:,}, gzip, {_size(small)}", packed)
    if tag := raw.headers.get("ETag"):
        same = {**RAW, "If-None-Match": tag}
        if _get(bench, same).status_code == 304:
            yield _timed(bench, f"list of {count:,}, unchanged (304)", same)


def _timed(bench: Bench, what: str, headers: dict[str, str]) -> Figure:
    before = Cpu.now(bench.roots(bench.platform.web.pid))
    took = []
    for _ in range(TIMES):
        began = time.perf_counter()
        _get(bench, headers)
        took.append(time.perf_counter() - began)
    spent = Cpu.now(bench.roots(bench.platform.web.pid)).since(before)
    return Figure(what=what, value=1000 * statistics.median(took), unit="ms", cpu_ms=1000 * spent.total / TIMES)


def _get(bench: Bench, headers: dict[str, str]) -> Any:
    """The response; its `size` is the number of bytes received."""
    with bench.platform.api.stream("GET", "/workspaces", headers=headers, timeout=60) as answer:
        content = b"".join(answer.iter_raw())
        plain: Any = httpx.Response(answer.status_code, headers=answer.headers, content=content)
        plain.size = len(content)
        return plain


def _size(answer: Any) -> str:
    return f"{answer.size / 1e6:.1f} MB"
