"""Messages per second to the sockets of 500 operators: the maximum, and the latency at steady rates.

The messages are real: each entry of a posted list of activity is one ACTIVITY_LOGGED to every socket.
"""

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import httpx

from tests.bench import raw
from tests.bench.bench import Bench
from tests.bench.machine import Cpu
from tests.bench.raw import Clients
from tests.bench.table import Figure

SOCKETS = 500
PROCESSES = 2
TARGET = 100_000
BURST = 500
STEADY = (25_000, 110_000, 220_000)
PACE = 10
"""Posts per second at a steady rate."""


def measure(bench: Bench) -> Iterator[Figure]:
    line = {"token": bench.platform.operator_token}
    with Clients(bench.platform.url, "listen", [[line] * (SOCKETS // PROCESSES)] * PROCESSES) as clients:
        _wait_for_all_sockets(bench, clients)
        fastest = _at_maximum(bench, clients)
        yield fastest
        for rate in STEADY:
            figure = _at_rate(bench, clients, rate)
            yield replace(figure, target=TARGET if rate > TARGET else None)


def _wait_for_all_sockets(bench: Bench, clients: Clients) -> None:
    """Send one message, which every socket must receive before anything is measured."""
    with _agent(bench) as post:
        clients.start(0.0)
        post(1)
        came = clients.results()
    if (received := sum(each["count"] for each in came)) != SOCKETS:
        raise RuntimeError(f"{received} of {SOCKETS} sockets received a message: {came}")


def _at_maximum(bench: Bench, clients: Clients) -> Figure:
    """Post lists for half of the time; the other half is for messages still under way."""
    with _agent(bench) as post:
        before = Cpu.now(bench.roots(bench.platform.web.pid))
        clients.start(bench.seconds)
        end = time.perf_counter() + bench.seconds / 2
        posted = 0
        while time.perf_counter() < end:
            post(BURST)
            posted += BURST
        came = clients.results()
        spent = Cpu.now(bench.roots(bench.platform.web.pid)).since(before)
    lost = 1 - sum(each["count"] for each in came) / (posted * SOCKETS)
    return _figure(bench, f"fan-out to {SOCKETS} sockets, overloaded, {lost:.0%} lost", came, spent)


def _at_rate(bench: Bench, clients: Clients, rate: int) -> Figure:
    """`rate` messages per second for half of the time."""
    size = max(1, round(rate / SOCKETS / PACE))
    with _agent(bench) as post:
        before = Cpu.now(bench.roots(bench.platform.web.pid))
        clients.start(bench.seconds)
        began = time.perf_counter()
        posts = round(bench.seconds / 2 * PACE)
        for number in range(posts):
            time.sleep(max(0.0, began + number / PACE - time.perf_counter()))
            post(size)
        came = clients.results()
        spent = Cpu.now(bench.roots(bench.platform.web.pid)).since(before)
    what = f"fan-out to {SOCKETS} sockets, {size * PACE * SOCKETS:,} messages/s"
    if sum(each["count"] for each in came) != posts * size * SOCKETS:
        raise RuntimeError(f"{what}: {posts * size} events for each socket, but the clients say {came}")
    return _figure(bench, what, came, spent)


def _figure(bench: Bench, what: str, came: list[dict[str, Any]], spent: Cpu) -> Figure:
    count = sum(each["count"] for each in came)
    if any(each["closed"] for each in came):
        raise RuntimeError(f"{what}: sockets were closed: {came}")
    seconds = max(each["last"] for each in came) - min(each["first"] for each in came)
    figure = bench.figure(what, count, seconds, spent, clients=[each["cpu"] for each in came])
    latency = (max(each["p50"] for each in came), max(each["p99"] for each in came))
    return replace(figure, latency_ms=latency)


class _agent:
    """Posts activity of one agent: a list of `count` entries, each with the time in its summary."""

    def __init__(self, bench: Bench) -> None:
        agent = bench.agents[0]
        headers = {"Authorization": f"Bearer {agent.token}", "X-Forwarded-Proto": "https"}
        self.path = f"/workspaces/{agent.id}/activity"
        self.client = httpx.Client(base_url=bench.platform.url, headers=headers, timeout=60)

    def __enter__(self) -> "_agent":
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()

    def __call__(self, count: int) -> None:
        entry = {"activity_type": "agent_log", "summary": raw.stamp()}
        answer = self.client.post(self.path, json=[entry] * count)
        assert answer.status_code == 200, answer.text
