"""Heartbeats per second in batches of 500 over HTTP, each with its own token."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from tests.bench import limits
from tests.bench.agents import Seeded
from tests.bench.bench import Bench
from tests.bench.heartbeats import NAIVE
from tests.bench.load import Unavailable, request
from tests.bench.table import Figure

SIZE = 500
CONNECTIONS = 8
TARGET = 20_000
PATH = "/registry/heartbeats"


def measure(bench: Bench) -> Iterator[Figure]:
    bodies = [_body(bench.agents[at : at + SIZE]) for at in range(0, len(bench.agents), SIZE)]
    answer = bench.post(PATH, bodies[0], "")
    if answer.status_code in (404, 405):
        raise Unavailable(f"{PATH} does not exist yet")
    results = answer.json()["results"]
    if {result["status"] for result in results} != {"ok"} or len(results) != len(bodies[0]["beats"]):
        raise RuntimeError(f"a batch was answered {answer.text[:500]}")
    requests = [request("POST", PATH, "", body) for body in bodies]
    began = bench.now()
    size = len(bench.agents) // len(bodies)
    what = f"heartbeats in batches of {size}, {CONNECTIONS} connections"
    figure = bench.load(what, requests, connections=CONNECTIONS, each=size)
    rows_written = bench.one("SELECT count(*) FROM workspaces WHERE last_heartbeat_at >= %s", began)
    if rows_written < len(bench.agents):
        raise RuntimeError(f"{what}: only {rows_written} of {len(bench.agents)} rows have a heartbeat")
    yield replace(
        figure,
        target=TARGET,
        naive=bench.found.get(NAIVE),
        postgres=limits.updates_of_many(bench),
        redis=limits.sets(bench),
    )


def _body(agents: Sequence[Seeded]) -> dict[str, Any]:
    return {"beats": [{**agent.beat(), "token": agent.token} for agent in agents]}
