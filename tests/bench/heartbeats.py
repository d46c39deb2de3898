"""Heartbeats per second over HTTP, one per request: the product, the naive view, and PostgreSQL and Redis alone."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from tests.bench import limits
from tests.bench.bench import Bench, Server, naive, serving
from tests.bench.load import request
from tests.bench.table import Figure

CONNECTIONS = (64, 256)
TARGET = 4000
CPU_TARGET_MS = 0.2
NAIVE = "naive heartbeats"


def measure(bench: Bench) -> Iterator[Figure]:
    assert bench.post("/registry/heartbeat", bench.agents[0].beat(), bench.agents[0].token).json() == {"status": "ok"}
    requests = [request("POST", "/registry/heartbeat", agent.token, agent.beat()) for agent in bench.agents]
    single, keys = limits.single_updates(bench), limits.sets(bench)
    yield Figure(what=f"limit: UPDATE of one row, pgbench, {limits.CLIENTS} connections", value=single)
    yield Figure(what=f"limit: UPDATE of {limits.ROWS} rows at a time, rows", value=limits.updates_of_many(bench))
    yield Figure(what=f"limit: SET in Redis, {limits.ROWS} in a pipeline", value=keys)
    with naive(bench) as server:
        plain = {n: _load(bench, "naive view: heartbeats", requests, n, server) for n in CONNECTIONS}
    yield from plain.values()
    bench.found[NAIVE] = max(figure.value for figure in plain.values())
    for connections in CONNECTIONS:
        figure = _load(bench, "heartbeats over HTTP", requests, connections)
        wanted = (TARGET, CPU_TARGET_MS) if connections == max(CONNECTIONS) else (None, CPU_TARGET_MS)
        yield replace(
            figure,
            target=wanted[0],
            cpu_target_ms=wanted[1],
            naive=plain[connections].value,
            postgres=single,
            redis=keys,
        )
    with serving(bench, "--workers", "2") as server:
        connections = max(CONNECTIONS)
        figure = _load(bench, "two web processes: heartbeats", requests, connections, server)
        yield replace(figure, naive=plain[connections].value, postgres=single, redis=keys)


def _load(bench: Bench, what: str, requests: Sequence[bytes], connections: int, server: Server | None = None) -> Figure:
    """Send load, then check that the rows have the heartbeats that were acknowledged."""
    began = bench.now()
    figure = bench.load(f"{what}, {connections} connections", requests, connections=connections, server=server)
    rows_written = bench.one("SELECT count(*) FROM workspaces WHERE last_heartbeat_at >= %s", began)
    sent = figure.value * bench.seconds
    if rows_written < 0.95 * min(sent, len(bench.agents)):
        raise RuntimeError(
            f"{what}: about {sent:.0f} heartbeats were acknowledged, but only {rows_written} rows have one"
        )
    return figure
