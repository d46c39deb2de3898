"""Heartbeats per second over `/ws`: one socket per agent, one heartbeat at a time on each."""

from collections.abc import Iterator
from dataclasses import replace

from tests.bench import limits
from tests.bench.bench import Bench, Server, instead, serving
from tests.bench.heartbeats import NAIVE
from tests.bench.load import Unavailable
from tests.bench.machine import Cpu
from tests.bench.raw import Clients
from tests.bench.table import Figure

CONNECTIONS = (64, 256)


def measure(bench: Bench) -> Iterator[Figure]:
    with serving(bench, command=instead("tests.bench.talkative:application")) as server:
        for connections in CONNECTIONS:
            yield _with_sockets(bench, connections, server)


def _with_sockets(bench: Bench, connections: int, server: Server) -> Figure:
    agents = bench.agents[-connections:]
    lines = [{"token": agent.token, "message": {"type": "heartbeat", **agent.beat()}} for agent in agents]
    began = bench.now()
    with Clients(server.url, "beat", [lines]) as clients:
        before = Cpu.now(bench.roots(server.pid))
        (came,) = clients.measure(bench.seconds)
        spent = Cpu.now(bench.roots(server.pid)).since(before)
    what = f"heartbeats over /ws, {connections} sockets"
    rows_written = bench.one("SELECT count(*) FROM workspaces WHERE last_heartbeat_at >= %s", began)
    if came["code"]:
        raise Unavailable(f"{what}: sockets were closed with {came['code']}")
    if came["refused"] or came["closed"] or rows_written < connections:
        raise RuntimeError(f"{what}: {rows_written} rows have a heartbeat, the clients counted {came}")
    figure = bench.figure(what, came["count"], came["seconds"], spent, clients=[came["cpu"]])
    return replace(
        figure,
        latency_ms=(came["p50"], came["p99"]),
        naive=bench.found.get(NAIVE),
        postgres=limits.single_updates(bench),
        redis=limits.sets(bench),
    )
