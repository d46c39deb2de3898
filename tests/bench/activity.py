"""Activity rows per second: one entry per request, and lists."""

from collections.abc import Iterator
from dataclasses import replace

from tests.bench import limits
from tests.bench.agents import Seeded
from tests.bench.bench import Bench, naive
from tests.bench.load import request
from tests.bench.table import Figure

CONNECTIONS = 64
LIST = 100
LISTS = 2000
TARGET = 5000


def measure(bench: Bench) -> Iterator[Figure]:
    single = [_request(agent, _entry()) for agent in bench.agents]
    lists = [_request(agent, [_entry()] * LIST) for agent in bench.agents[:LISTS]]
    first = bench.agents[0]
    answer = bench.post(f"/workspaces/{first.id}/activity", [_entry()] * LIST, first.token)
    assert answer.json() == {"status": "logged", "count": LIST}, answer.text
    inserts = limits.inserts(bench)
    yield Figure(what=f"limit: INSERT of one row, pgbench, {limits.CLIENTS} connections", value=inserts)
    with naive(bench) as server:
        plain = bench.load(
            f"naive view: activity, {CONNECTIONS} connections", single, connections=CONNECTIONS, server=server
        )
    yield plain
    before = bench.one("SELECT count(*) FROM activity_logs")
    figures = [
        bench.load(f"activity, one entry a request, {CONNECTIONS} connections", single, connections=CONNECTIONS),
        bench.load(f"activity, lists of {LIST}, 8 connections, rows", lists, connections=8, each=LIST),
    ]
    written = bench.one("SELECT count(*) FROM activity_logs") - before
    acknowledged = sum(figure.value * bench.seconds for figure in figures)
    if written < 0.95 * acknowledged:
        raise RuntimeError(f"about {acknowledged:.0f} activity rows were acknowledged, but only {written} were written")
    for figure in figures:
        yield replace(figure, target=TARGET, naive=plain.value, postgres=inserts)


def _request(agent: Seeded, body: object) -> bytes:
    return request("POST", f"/workspaces/{agent.id}/activity", agent.token, body)


def _entry() -> dict[str, object]:
    return {
        "activity_type": "a2a_send",
        "method": "message/send",
        "summary": "Asked for the figures",
        "request_body": {"text": "What were the figures of the last quarter?"},
        "duration_ms": 120,
    }
