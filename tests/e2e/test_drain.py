"""On SIGTERM a web process answers the requests it has accepted, and what it answers is committed."""

import signal
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import httpx
import psycopg

from tests.e2e.stack import Platform, until, web

AGENTS = 12


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
        sent = [senders.submit(beat, url, agent.id, agent.token) for agent in agents]
        until(lambda: waiting(platform, url) == AGENTS, "all to wait for their rows")
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


def waiting(platform: Platform, url: str, gate: str = "heartbeats") -> float:
    text = httpx.get(f"{url}/metrics", headers={"Authorization": f"Bearer {platform.operator_token}"}).text
    [line] = [line for line in text.splitlines() if line.startswith(f'molecule_group_commit_waiting{{gate="{gate}"}}')]
    return float(line.split()[-1])


def listens(url: str) -> bool:
    try:
        httpx.get(f"{url}/health", timeout=1)
    except httpx.TransportError:
        return False
    return True


def test_what_cannot_be_written_before_the_end_is_503_in_json(platform: Platform) -> None:
    """One agent's row stays locked: its heartbeat, report and registration are answered, and so are the others'."""
    victim, other = platform.agent("held at the end"), platform.agent("free at the end")
    with (
        web(platform) as (url, process),
        psycopg.connect(platform.environment["DATABASE_URL"]) as holder,
        ThreadPoolExecutor(AGENTS) as senders,
    ):
        assert beat(url, other.id, other.token).status_code == 200
        holder.execute("SELECT FROM workspaces WHERE id = %s FOR UPDATE", [victim.id])
        sent = [
            senders.submit(beat, url, victim.id, victim.token),
            senders.submit(post, url, f"/workspaces/{victim.id}/activity", victim.token, {"activity_type": "error"}),
            senders.submit(post, url, "/registry/register", victim.token, registration(victim.id)),
        ]
        until(lambda: waiting(platform, url, "heartbeats") == waiting(platform, url, "activity") == 1, "both to wait")
        process.send_signal(signal.SIGTERM)
        free = [senders.submit(beat, url, other.id, other.token) for _ in range(3)]
        answers = [answer.result() for answer in sent]
        assert [answer.status_code for answer in answers] == [503] * 3
        assert all(int(answer.headers["Retry-After"]) > 0 and answer.json()["error"] for answer in answers)
        process.wait(20)
        assert {code(answer) for answer in free} <= {200, None}
        holder.rollback()
    rows = platform.api.get(f"/workspaces/{victim.id}/activity").json()
    assert (rows, platform.api.get(f"/workspaces/{victim.id}").json()["uptime_seconds"]) == ([], 0)


def code(answer: "Future[httpx.Response]") -> int | None:
    """The status; None if the connection was refused."""
    try:
        return answer.result().status_code
    except httpx.TransportError:
        return None


def registration(workspace_id: str) -> dict[str, Any]:
    return {"id": workspace_id, "url": "remote://elsewhere", "agent_card": {"name": "again"}}


def post(url: str, path: str, token: str, body: Any) -> httpx.Response:
    return httpx.post(f"{url}{path}", json=body, headers={"Authorization": f"Bearer {token}"}, timeout=30)
