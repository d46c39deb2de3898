"""On SIGTERM a web process answers the requests it has accepted, and what it answers is committed."""

import signal
from concurrent.futures import ThreadPoolExecutor

import httpx
import psycopg

from tests.e2e.stack import Platform, until
from tests.e2e.test_sockets import web

AGENTS = 12
# PostgreSQL keeps the beginning of a query.
LOCKED = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%WITH given AS%'"


def test_heartbeats_that_wait_at_sigterm_are_committed_and_answered(platform: Platform) -> None:
    agents = [platform.agent(f"draining {number}") for number in range(AGENTS)]
    with (
        web(platform) as (url, process),
        psycopg.connect(platform.environment["DATABASE_URL"]) as holder,
        psycopg.connect(platform.environment["DATABASE_URL"], autocommit=True) as looking,
        ThreadPoolExecutor(AGENTS) as senders,
    ):
        ids = [agent.id for agent in agents]
        holder.execute("SELECT FROM workspaces WHERE id = ANY(%s::uuid[]) FOR UPDATE", [ids])
        sent = [senders.submit(beat, url, agents[0].id, agents[0].token)]
        until(lambda: looking.execute(LOCKED).fetchone() == (1,), "a batch to wait for the rows")
        sent += [senders.submit(beat, url, agent.id, agent.token) for agent in agents[1:]]
        until(lambda: waiting(platform, url) == AGENTS - 1, "the others to wait for the next batch")
        process.send_signal(signal.SIGTERM)
        until(lambda: not listens(url), "it to accept no new connections")
        holder.rollback()
        assert [answer.result().status_code for answer in sent] == [200] * AGENTS
        process.wait(20)
        rows = looking.execute("SELECT uptime_seconds FROM workspaces WHERE id = ANY(%s::uuid[])", [ids]).fetchall()
        assert rows == [(77,)] * AGENTS


def beat(url: str, workspace_id: str, token: str) -> httpx.Response:
    body = {"workspace_id": workspace_id, "uptime_seconds": 77}
    return httpx.post(f"{url}/registry/heartbeat", json=body, headers={"Authorization": f"Bearer {token}"}, timeout=30)


def waiting(platform: Platform, url: str) -> float:
    text = httpx.get(f"{url}/metrics", headers={"Authorization": f"Bearer {platform.operator_token}"}).text
    [line] = [line for line in text.splitlines() if line.startswith('molecule_group_commit_waiting{gate="heartbeats"}')]
    return float(line.split()[-1])


def listens(url: str) -> bool:
    try:
        httpx.get(f"{url}/health", timeout=1)
    except httpx.TransportError:
        return False
    return True
