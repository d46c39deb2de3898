"""Discoveries per second: agents look up their parent."""

from collections.abc import Iterator
from dataclasses import replace

import httpx

from tests.bench import limits
from tests.bench.bench import Bench
from tests.bench.load import request
from tests.bench.table import Figure

CONNECTIONS = 64
TARGET = 4000


def measure(bench: Bench) -> Iterator[Figure]:
    pairs = [(agent, bench.agents[agent.parent]) for agent in bench.agents if agent.parent is not None]
    caller, target = pairs[0]
    headers = {"Authorization": f"Bearer {caller.token}", "X-Forwarded-Proto": "https"}
    answer = httpx.get(f"{bench.platform.url}/registry/discover/{target.id}", headers=headers)
    assert answer.json().get("id") == target.id, answer.text
    requests = [request("GET", f"/registry/discover/{target.id}", caller.token) for caller, target in pairs]
    selects = limits.selects(bench)
    yield Figure(what=f"limit: SELECT of one row, pgbench, {limits.CLIENTS} connections", value=selects)
    figure = bench.load(f"discover, {CONNECTIONS} connections", requests, connections=CONNECTIONS)
    yield replace(figure, target=TARGET, postgres=selects)
