"""examples/agent.py as a separate process, against a running platform."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.e2e.stack import ROOT, Platform, until

AGENT = ROOT / "examples" / "agent.py"
Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(platform: Platform, tmp_path: Path) -> Iterator[Start]:
    """Run the agent as this workspace, with these environment variables."""
    with ExitStack() as stack:

        def run(workspace_id: str, *options: str, **environment: str) -> "subprocess.Popen[str]":
            command = [sys.executable, str(AGENT), "--id", workspace_id, "--name", "Example", "--interval", "0.5"]
            known = {"MOLECULE_URL": platform.url, "PATH": "/usr/bin:/bin"}
            process = subprocess.Popen(
                [*command, *options],
                env=known | environment,
                cwd=tmp_path,
                stdin=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            stack.enter_context(process)
            stack.callback(process.kill)
            return process

        yield run


def workspace(platform: Platform, workspace_id: str) -> dict[str, Any]:
    row: dict[str, Any] = platform.api.get(f"/workspaces/{workspace_id}").json()
    return row


def status_becomes(platform: Platform, workspace_id: str, status: str) -> None:
    until(lambda: platform.status(workspace_id) == status, f"status {status}")


def ended(process: "subprocess.Popen[str]") -> tuple[int, str]:
    """Its exit code, and its last line of output."""
    _, output = process.communicate(timeout=20)
    return process.returncode, output.splitlines()[-1]


def test_it_enrols_and_uses_its_stored_token_after_a_restart(platform: Platform, start: Start, tmp_path: Path) -> None:
    made = platform.create("Example")
    first = start(made["id"], "--token-file", "token", ENROLMENT_TOKEN=made["enrolment_token"])
    status_becomes(platform, made["id"], "online")
    until(lambda: workspace(platform, made["id"])["uptime_seconds"] >= 1, "its uptime")
    first.terminate()
    assert first.wait(10) == 0
    stored = tmp_path / "token"
    assert stored.stat().st_mode & 0o777 == 0o600
    before = workspace(platform, made["id"])["last_heartbeat_at"]
    start(made["id"], "--token-file", "token")
    until(lambda: workspace(platform, made["id"])["last_heartbeat_at"] > before, "another heartbeat")


def test_it_reports_what_it_reads_on_standard_input(platform: Platform, start: Start) -> None:
    made = platform.create("Example")
    agent = start(made["id"], "--stdin", ENROLMENT_TOKEN=made["enrolment_token"])
    assert agent.stdin
    stdin = agent.stdin
    trouble = {"current_task": "Count", "active_tasks": 2, "error_rate": 0.8, "sample_error": "ouch"}
    stdin.write(json.dumps({"activity": "Began"}) + "\n" + json.dumps(trouble) + "\n")
    stdin.flush()
    status_becomes(platform, made["id"], "degraded")
    row = workspace(platform, made["id"])
    assert (row["current_task"], row["active_tasks"], row["last_sample_error"]) == ("Count", 2, "ouch")
    summaries = [entry["summary"] for entry in platform.api.get(f"/workspaces/{made['id']}/activity").json()]
    assert summaries == ["Began"]
    stdin.write(json.dumps({"error_rate": 0.0}) + "\n")
    stdin.flush()
    status_becomes(platform, made["id"], "online")


def test_when_removed_it_stops_with_exit_code_0(platform: Platform, start: Start) -> None:
    made = platform.create("Example")
    agent = start(made["id"], ENROLMENT_TOKEN=made["enrolment_token"])
    status_becomes(platform, made["id"], "online")
    platform.api.delete(f"/workspaces/{made['id']}?confirm=true").raise_for_status()
    code, last = ended(agent)
    assert code == 0
    assert "410" in last


def test_with_an_invalid_token_it_reports_401_and_fails(platform: Platform, start: Start) -> None:
    made = platform.create("Example")
    code, last = ended(start(made["id"], WORKSPACE_TOKEN="mol_ws_000000000000_none"))
    assert code == 1
    assert "401" in last


def test_an_invalid_stored_token_is_replaced_by_enrolling_again(platform: Platform, start: Start) -> None:
    made = platform.create("Example")
    start(made["id"], WORKSPACE_TOKEN="mol_ws_000000000000_none", ENROLMENT_TOKEN=made["enrolment_token"])
    status_becomes(platform, made["id"], "online")


def test_while_the_platform_is_unreachable_it_retries(start: Start) -> None:
    agent = start(str(uuid4()), MOLECULE_URL="http://127.0.0.1:9", ENROLMENT_TOKEN="mol_en_0_0")
    assert agent.stderr
    assert "trying again" in agent.stderr.readline()
    assert "trying again" in agent.stderr.readline()
    agent.terminate()
    assert agent.wait(10) == 0
