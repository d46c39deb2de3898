"""A transaction elsewhere holds a row or the lock of the log."""

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import httpx

from tests.e2e.stack import Agent, Platform, until
from tests.hostile.attacks import locked_log, locked_row
from tests.hostile.conftest import LEASE_SECONDS

OTHERS = 20
WRITERS = 10
# Answers must come while the lock is still held: no bound on time is needed but one that ends the test.
PATIENCE_SECONDS = 15.0


def test_a_locked_row_makes_no_other_agent_wait_or_go_offline(platform: Platform) -> None:
    victim, *others = [platform.agent(f"beside a lock {number}") for number in range(OTHERS + 1)]
    for agent in (victim, *others):
        assert agent.beat().status_code == 200
    with ThreadPoolExecutor(OTHERS + 1) as senders, locked_row(platform.environment["DATABASE_URL"], victim.id):
        held = senders.submit(_beat_for_two_leases, victim)
        answers = list(senders.map(_beat_for_two_leases, others))
        history = platform.api.get("/events?limit=1000").json()
    assert set(held.result()) <= {200, 503}
    assert [set(each) for each in answers] == [{200}] * OTHERS
    offline = {event["workspace_id"] for event in history if event["event_type"] == "WORKSPACE_OFFLINE"}
    assert offline.isdisjoint(agent.id for agent in others)
    until(lambda: victim.beat().status_code == 200, "the agent of the locked row to be accepted again")
    assert platform.api.get(f"/workspaces/{victim.id}").json()["last_refusal"] is None


def _beat_for_two_leases(agent: Agent) -> list[int]:
    """The statuses of the heartbeats, one a second."""
    statuses = []
    over = time.monotonic() + 2 * LEASE_SECONDS
    headers = {"Authorization": f"Bearer {agent.token}"}
    with httpx.Client(base_url=agent.url, headers=headers, timeout=60) as client:
        while time.monotonic() < over:
            statuses.append(client.post("/registry/heartbeat", json={"workspace_id": agent.id}).status_code)
            time.sleep(1)
    return statuses


def test_registers_that_wait_for_a_row_leave_every_other_route_free(platform: Platform) -> None:
    victim, other = platform.agent("locked"), platform.agent("not locked")
    with locked_row(platform.environment["DATABASE_URL"], victim.id), ThreadPoolExecutor(WRITERS) as senders:
        given_up = [senders.submit(_register_and_hang_up, platform, victim) for _ in range(WRITERS)]
        for each in given_up:
            each.result()
        _assert_answers(platform, other)


def test_writers_that_wait_for_the_log_leave_every_reader_free(platform: Platform) -> None:
    other = platform.agent("reading")
    with ThreadPoolExecutor(2 * WRITERS) as senders, locked_log(platform.environment["DATABASE_URL"]):
        waiting = [senders.submit(_create, platform) for _ in range(2 * WRITERS)]
        _assert_answers(platform, other)
    assert {each.result() for each in waiting} <= {201, 503}


def _register_and_hang_up(platform: Platform, agent: Agent) -> None:
    body = {"id": agent.id, "url": "remote://no-inbound", "agent_card": {"name": "again"}}
    headers = {"Authorization": f"Bearer {agent.token}"}
    with suppress(httpx.TimeoutException):
        httpx.post(f"{platform.url}/registry/register", json=body, headers=headers, timeout=1)


def _create(platform: Platform) -> int:
    headers = {"Authorization": f"Bearer {platform.operator_token}"}
    return httpx.post(f"{platform.url}/workspaces", json={"name": "w"}, headers=headers, timeout=60).status_code


def _assert_answers(platform: Platform, agent: Agent) -> None:
    """Every kind of read is answered while the lock is held."""
    headers = {"Authorization": f"Bearer {platform.operator_token}"}
    with httpx.Client(base_url=platform.url, headers=headers, timeout=PATIENCE_SECONDS) as client:
        for path in ("/workspaces", "/events", "/health/ready", "/admin/login/", f"/workspaces/{agent.id}/state"):
            assert client.get(path).status_code == 200, path
    assert agent.beat().status_code == 200
