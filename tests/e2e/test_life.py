"""The main job on real input: an agent registers, beats, is killed, and is seen going offline everywhere."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import redis
from playwright.sync_api import Browser, Page, expect
from websockets.sync.client import ClientConnection, connect

from tests.e2e.conftest import signed_in
from tests.e2e.stack import ROOT, Platform, running_platform, until

LEASE_SECONDS = 2.0
PATIENCE_SECONDS = 20


@pytest.fixture(scope="module")
def brisk() -> Iterator[Platform]:
    """A platform whose leases are short, so that a death is seen soon."""
    with running_platform(LEASE_SECONDS=str(LEASE_SECONDS)) as running:
        yield running


@pytest.fixture
def canvas(brisk: Platform, browser: Browser) -> Iterator[Page]:
    for page in signed_in(brisk, browser):
        page.goto(brisk.url)
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
def test_a_killed_agent_is_seen_going_offline(brisk: Platform, canvas: Page, redis_is_flushed: bool) -> None:
    workspace = brisk.create("Writer")
    bearer = {"Authorization": f"Bearer {brisk.operator_token}"}
    with connect(f"ws://127.0.0.1:{brisk.port}/ws", additional_headers=bearer) as socket:
        with example_agent(brisk, workspace) as agent:
            until_event(socket, "WORKSPACE_ONLINE", workspace["id"])
            expect_status(canvas, workspace["id"], "online")
            until(lambda: _has_outlived_a_lease(brisk, workspace["id"]), "beats to keep it online for a lease")
            agent.send_signal(signal.SIGKILL)
            agent.wait()
            if redis_is_flushed:
                with redis.Redis.from_url(brisk.environment["REDIS_URL"]) as client:
                    client.flushall()
        offline = until_event(socket, "WORKSPACE_OFFLINE", workspace["id"])
    assert brisk.status(workspace["id"]) == "offline"
    assert offline["payload"]["reason"] == "lease expired"  # type: ignore[index]
    expect_status(canvas, workspace["id"], "offline")


def _has_outlived_a_lease(platform: Platform, workspace_id: str) -> bool:
    row = platform.api.get(f"/workspaces/{workspace_id}").json()
    assert row["status"] in ("online", "provisioning"), row
    return bool(row["uptime_seconds"] > LEASE_SECONDS)
