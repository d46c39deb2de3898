"""From the end of a lease to the event on a socket, when all leases end within one second."""

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from tests.bench import raw
from tests.bench.bench import Bench
from tests.bench.machine import Cpu
from tests.bench.table import Figure

TARGET_SECONDS = 3.0
AHEAD_SECONDS = 4.0
WITHIN_SECONDS = 1.0
PATIENCE_SECONDS = 120.0


def measure(bench: Bench) -> Iterator[Figure]:
    connection, rest = raw.connect(bench.platform.url, bench.platform.operator_token)
    with connection:
        connection.settimeout(PATIENCE_SECONDS)
        messages = raw.frames(connection, rest)
        ends = _end_all_leases(bench)
        yield _measured(bench, f"{len(ends):,} go offline", messages, "WORKSPACE_OFFLINE", ends)


def _end_all_leases(bench: Bench) -> dict[str, float]:
    """Returns when each lease ends, in seconds since the epoch. Its Redis key expires at the same time."""
    first = time.time() + AHEAD_SECONDS
    step = WITHIN_SECONDS / len(bench.agents)
    ends = {agent.id: first + number * step for number, agent in enumerate(bench.agents)}
    bench.database.execute(
        "UPDATE workspaces w SET lease_expires_at = to_timestamp(b.at)"
        " FROM unnest(%s::uuid[], %s::float[]) AS b(id, at) WHERE w.id = b.id",
        [list(ends), list(ends.values())],
    )
    with bench.redis.pipeline(transaction=False) as pipe:
        for who, end in ends.items():
            pipe.set(f"ws:{who}", "online", pxat=int(1000 * end))
        pipe.execute()
    if time.time() > first:
        raise RuntimeError(f"leases could not be set within {AHEAD_SECONDS:g} s")
    return ends


def _measured(bench: Bench, what: str, messages: Iterator[bytes], event: str, since: dict[str, float]) -> Figure:
    """The delay of each event after its lease; the figure is the time from the last lease to the last event."""
    before = Cpu.now(bench.roots(bench.platform.web.pid))
    waiting = dict(since)
    late: list[float] = []
    while waiting:
        message: dict[str, Any] = json.loads(next(messages))
        if message["event"] == event:
            late.append(time.time() - waiting.pop(message["workspace_id"]))
    spent = Cpu.now(bench.roots(bench.platform.web.pid)).since(before)
    seconds = time.time() - max(since.values())
    figure = bench.figure(what, len(since), max(seconds, 0.001), spent)
    late.sort()
    p50, p99 = (1000 * late[len(late) * p // 100] for p in (50, 99))
    return replace(
        figure,
        what=f"{what}, last event {1000 * late[-1]:.0f} ms after its lease",
        value=seconds,
        unit="s",
        target=TARGET_SECONDS,
        at_most=True,
        latency_ms=(p50, p99),
    )
