"""The life of an agent on a real platform: it registers, sends heartbeats, is killed, and is shown as offline."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import httpx
import psycopg
import pytest
import redis
from playwright.sync_api import Browser, Page, expect
from websockets.sync.client import ClientConnection, connect

from tests.e2e.conftest import signed_in
from tests.e2e.stack import ROOT, Agent, Platform, running_platform, until

LEASE_SECONDS = 2.0
PATIENCE_SECONDS = 20


@pytest.fixture(scope="module")
def short_leases() -> Iterator[Platform]:
    """A platform with short leases, so that a killed agent is offline soon."""
    with running_platform(LEASE_SECONDS=str(LEASE_SECONDS)) as running:
        yield running


@pytest.fixture
def canvas(short_leases: Platform, browser: Browser) -> Iterator[Page]:
    for page in signed_in(short_leases, browser):
        page.goto(short_leases.url)
        yield page


@contextmanager
def example_agent(platform: Platform, workspace: dict[str, str]) -> Iterator["subprocess.Popen[bytes]"]:
    command = [sys.executable, "examples/agent.py", "--platform", platform.url, "--interval", "0.5", "--name", "Writer"]
    environment = {
        "PATH": os.environ["PATH"],
        "WORKSPACE_ID": workspace["id"],
        "ENROLMENT_TOKEN": workspace["enrolment_token"],
    }
    agent = subprocess.Popen(command, cwd=ROOT, env=environment)
    try:
        yield agent
    finally:
        agent.kill()
        agent.wait()


def until_event(socket: ClientConnection, event: str, workspace_id: str) -> dict[str, object]:
    while True:
        message: dict[str, object] = json.loads(socket.recv(timeout=PATIENCE_SECONDS))
        if (message["event"], message["workspace_id"]) == (event, workspace_id):
            return message


def expect_status(page: Page, workspace_id: str, status: str) -> None:
    card = page.locator(f'[data-id="{workspace_id}"]').first
    expect(card).to_have_attribute("data-status", status, timeout=PATIENCE_SECONDS * 1000)
    expect(card).to_contain_text(status, ignore_case=True)


@pytest.mark.parametrize("redis_is_flushed", [False, True], ids=["quiet", "redis flushed"])
def test_a_killed_agent_is_shown_offline(short_leases: Platform, canvas: Page, redis_is_flushed: bool) -> None:
    workspace = short_leases.create("Writer")
    bearer = {"Authorization": f"Bearer {short_leases.operator_token}"}
    with connect(f"ws://127.0.0.1:{short_leases.port}/ws", additional_headers=bearer) as socket:
        with example_agent(short_leases, workspace) as agent:
            until_event(socket, "WORKSPACE_ONLINE", workspace["id"])
            expect_status(canvas, workspace["id"], "online")
            until(
                lambda: _has_outlived_a_lease(short_leases, workspace["id"]),
                "heartbeats to keep it online for longer than a lease",
            )
            agent.send_signal(signal.SIGKILL)
            agent.wait()
            if redis_is_flushed:
                with redis.Redis.from_url(short_leases.environment["REDIS_URL"]) as client:
                    client.flushall()
        offline = until_event(socket, "WORKSPACE_OFFLINE", workspace["id"])
    assert short_leases.status(workspace["id"]) == "offline"
    assert offline["payload"]["reason"] == "lease expired"  # type: ignore[index]
    expect_status(canvas, workspace["id"], "offline")


def _has_outlived_a_lease(platform: Platform, workspace_id: str) -> bool:
    row = platform.api.get(f"/workspaces/{workspace_id}").json()
    assert row["status"] in ("online", "provisioning"), row
    return bool(row["uptime_seconds"] > LEASE_SECONDS)


# --- Waiting for an agent ----------------------------------------------------------------------------

# No agent registered for a day, and the enrolment token has expired. The web process has served for that long.
A_DAY_LATER = """
UPDATE workspaces SET created_at = created_at - interval '1 day',
  lease_expires_at = lease_expires_at - interval '1 day',
  enrolment_expires_at = enrolment_expires_at - interval '1 day';
UPDATE workspace_tokens SET expires_at = expires_at - interval '1 day';
UPDATE loop_ticks SET since = since - interval '1 day' WHERE name = 'web'
"""


def test_a_workspace_waits_for_its_agent_and_can_be_enrolled_again(platform: Platform) -> None:
    created, witness = platform.create("Waiting"), platform.agent("Silent")
    path = f"/workspaces/{created['id']}"
    with psycopg.connect(platform.environment["DATABASE_URL"]) as database:
        database.execute(A_DAY_LATER)
    until(lambda: platform.status(witness.id) == "offline", "the supervisor to check all leases")
    row = platform.api.get(path).json()
    assert row["status"] == "provisioning"
    assert datetime.fromisoformat(row["enrolment_expires_at"]) < datetime.now(UTC)
    assert register(platform, created["id"], created["enrolment_token"]).status_code == 401
    former, latest = (platform.api.post(f"{path}/enrolment").json()["enrolment_token"] for _ in range(2))
    assert register(platform, created["id"], former).status_code == 401
    assert register(platform, created["id"], latest).status_code == 200
    row = platform.api.get(path).json()
    assert (row["status"], row["enrolment_expires_at"]) == ("online", None)


def test_canvases_hear_of_an_enrolment_and_agents_do_not(platform: Platform) -> None:
    agent, bearer = platform.agent("Lead"), "Authorization"
    address = f"ws://127.0.0.1:{platform.port}/ws"
    with (
        connect(address, additional_headers={bearer: f"Bearer {platform.operator_token}"}) as canvas,
        connect(address, additional_headers={bearer: f"Bearer {agent.token}"}) as member,
    ):
        created = platform.create("Below", parent_id=agent.id)
        issued = until_event(canvas, "ENROLMENT_UPDATED", created["id"])
        row = platform.api.get(f"/workspaces/{created['id']}").json()
        assert issued["payload"] == {"enrolment_expires_at": row["enrolment_expires_at"]}
        assert register(platform, created["id"], created["enrolment_token"]).status_code == 200
        assert until_event(canvas, "ENROLMENT_UPDATED", created["id"])["payload"] == {"enrolment_expires_at": None}
        heard: list[str] = []
        while not heard or heard[-1] != "WORKSPACE_ONLINE":
            heard.append(json.loads(member.recv(timeout=PATIENCE_SECONDS))["event"])
    assert heard == ["WORKSPACE_PROVISIONING", "WORKSPACE_ONLINE"]


def test_restart_of_an_agent_that_runs_elsewhere_is_refused(platform: Platform) -> None:
    created = platform.create("Elsewhere", external=True, url="http://127.0.0.1:9")
    path = f"/workspaces/{created['id']}"
    token = platform.api.post(f"{path}/tokens", json={}).json()["auth_token"]
    agent = Agent(id=created["id"], token=token, url=platform.url)
    assert agent.beat(error_rate=0.9).status_code == 200
    before, events = platform.api.get(path).json(), platform.api.get(f"/events/{created['id']}").json()
    assert before["status"] == "degraded"
    answer = platform.api.post(f"{path}/restart")
    assert answer.status_code == 409
    assert "where it runs" in answer.json()["error"]
    assert platform.api.get(path).json() == before
    assert platform.api.get(f"/events/{created['id']}").json() == events


def register(platform: Platform, workspace_id: str, token: str) -> httpx.Response:
    body = {"id": workspace_id, "url": "remote://no-inbound", "agent_card": {"name": "Agent"}}
    return httpx.post(f"{platform.url}/registry/register", json=body, headers={"Authorization": f"Bearer {token}"})
