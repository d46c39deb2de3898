"""Another transaction holds one agent's row, or the log: only the agents that need it wait."""

import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import httpx
import psycopg
import pytest

from activity.cache_versions import LOG
from tests.e2e.stack import Agent, Platform, running_platform, until

PATIENCE_SECONDS = 60
LEASE_SECONDS = 15
WAITING = "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%WITH given AS%'"


@pytest.fixture
def senders() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(16) as pool:
        yield pool


@contextmanager
def held(platform: Platform, statement: str, *values: object) -> Iterator[None]:
    """Another session runs the statement in a transaction that stays open meanwhile."""
    with psycopg.connect(platform.environment["DATABASE_URL"]) as holder:
        holder.execute(statement, values)
        yield
        holder.rollback()


def row_of(agent: Agent) -> tuple[str, str]:
    return "SELECT FROM workspaces WHERE id = %s FOR UPDATE", agent.id


def send(agent: Agent, path: str, body: Any) -> httpx.Response:
    headers = {"Authorization": f"Bearer {agent.token}"}
    return httpx.post(f"{agent.url}{path}", json=body, headers=headers, timeout=PATIENCE_SECONDS)


def beat(agent: Agent, **fields: object) -> httpx.Response:
    return send(agent, "/registry/heartbeat", {"workspace_id": agent.id, **fields})


def report(agent: Agent, summary: str) -> httpx.Response:
    return send(agent, f"/workspaces/{agent.id}/activity", {"activity_type": "agent_log", "summary": summary})


def summaries(platform: Platform, agent: Agent) -> list[str]:
    return [row["summary"] for row in platform.api.get(f"/workspaces/{agent.id}/activity").json()]


def test_a_held_row_delays_only_its_own_agent(platform: Platform, senders: ThreadPoolExecutor) -> None:
    victim, other = platform.agent("held"), platform.agent("beside it")
    with held(platform, *row_of(victim)):
        late: list[Future[httpx.Response]] = [
            senders.submit(beat, victim, uptime_seconds=5),
            senders.submit(report, victim, "late"),
        ]
        for number in range(5):
            assert beat(other).status_code == 200
            assert report(other, f"{number}").status_code == 200
        assert not any(answer.done() for answer in late)
    assert [answer.result().status_code for answer in late] == [200, 200]
    assert platform.api.get(f"/workspaces/{victim.id}").json()["uptime_seconds"] == 5
    assert summaries(platform, victim) == ["late"]


def test_what_was_answered_503_did_not_happen_and_was_not_refused(
    platform: Platform, senders: ThreadPoolExecutor
) -> None:
    victim, other = platform.agent("held for long"), platform.agent("of the same host")
    beats = [{"workspace_id": each.id, "token": each.token, "uptime_seconds": 6} for each in (victim, other)]
    with held(platform, *row_of(victim)):
        together = senders.submit(send, victim, "/registry/heartbeats", {"beats": beats})
        answers = [senders.submit(beat, victim, uptime_seconds=6), senders.submit(report, victim, "never")]
        for answer in answers:
            assert answer.result().status_code == 503
            assert int(answer.result().headers["Retry-After"]) > 0
            assert answer.result().json()["code"] == "busy"
        assert [result.get("code", "ok") for result in together.result().json()["results"]] == ["busy", "ok"]
    assert beat(victim, uptime_seconds=7).status_code == 200
    assert report(victim, "afterwards").status_code == 200
    assert summaries(platform, victim) == ["afterwards"]
    shown = platform.api.get(f"/workspaces/{victim.id}").json()
    assert (shown["uptime_seconds"], shown["last_refusal"]) == (7, None)


def test_a_held_log_delays_only_agents_whose_heartbeat_is_an_event(
    platform: Platform, senders: ThreadPoolExecutor
) -> None:
    steady, degrading = platform.agent("steady"), platform.agent("degrading")
    with held(platform, "SELECT pg_advisory_xact_lock(%s)", LOG.lock_id):
        late = senders.submit(beat, degrading, error_rate=0.9)
        for _ in range(3):
            assert beat(steady).status_code == 200
        assert not late.done()
    assert late.result().status_code == 200
    assert platform.status(degrading.id) == "degraded"


def test_no_agent_goes_offline_because_of_a_row_that_is_not_its_own(senders: ThreadPoolExecutor) -> None:
    """The victim's lease ends while its row is held, and so would everybody's, if its batch waited."""
    with running_platform(LEASE_SECONDS="4") as platform:
        victim, *others = [platform.agent(f"agent {number}") for number in range(5)]
        since = position(platform)
        with held(platform, *row_of(victim)):
            until_time = time.monotonic() + 12
            while time.monotonic() < until_time:
                list(senders.map(beat_for_a_second, [victim, *others]))
        assert {event["workspace_id"] for event in offline(platform, since)} <= {victim.id}


def test_no_agent_goes_offline_while_the_thread_that_writes_heartbeats_hangs(senders: ThreadPoolExecutor) -> None:
    """PostgreSQL's process behind the thread that writes heartbeats is stopped; everything else goes on."""
    with running_platform(LEASE_SECONDS=f"{LEASE_SECONDS}") as platform:
        agents = [platform.agent(f"agent {number}") for number in range(5)]
        with psycopg.connect(platform.environment["DATABASE_URL"], autocommit=True) as looking:
            with held(platform, "LOCK TABLE workspace_tokens"):
                senders.submit(beat, agents[0])
                [pid] = until(lambda: looking.execute(WAITING).fetchone(), "a batch to be written")
                os.kill(pid, signal.SIGSTOP)
            since = position(platform)
            try:
                until_time = time.monotonic() + LEASE_SECONDS + 5
                while time.monotonic() < until_time:
                    list(senders.map(beat_for_a_second, agents))
            finally:
                os.kill(pid, signal.SIGCONT)
        until(lambda: beat_for_a_second(agents[0]), "heartbeats to get in again")
        assert offline(platform, since) == []


def beat_for_a_second(agent: Agent) -> bool:
    """As an agent that gives up after a second."""
    began = time.monotonic()
    body, headers = {"workspace_id": agent.id}, {"Authorization": f"Bearer {agent.token}"}
    try:
        answer = httpx.post(f"{agent.url}/registry/heartbeat", json=body, headers=headers, timeout=1)
    except httpx.TimeoutException:
        return False
    time.sleep(max(0, began + 1 - time.monotonic()))
    return answer.is_success


def position(platform: Platform) -> int:
    return int(platform.api.get("/workspaces").headers["X-Event-Seq"])


def offline(platform: Platform, since: int) -> list[dict[str, Any]]:
    query: dict[str, str | int] = {"after": since, "limit": 1000, "type": "WORKSPACE_OFFLINE"}
    events: list[dict[str, Any]] = platform.api.get("/events", params=query).json()
    assert isinstance(events, list), events
    return events
