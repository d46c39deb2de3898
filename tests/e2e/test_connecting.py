"""The commands that connect an external agent run as they are pasted."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.stack import Platform, process, until

NAMES = ["Scout", "L'agent \"d'élite\" \\ $HOME `id` 🤖"]


def _is_online(platform: Platform, workspace: str) -> bool:
    return bool(platform.api.get(f"/workspaces/{workspace}").json()["status"] == "online")


@pytest.mark.parametrize("name", NAMES)
def test_the_shell_command_registers_the_agent(platform: Platform, name: str) -> None:
    created = platform.api.post("/workspaces", json={"name": name, "external": True}).json()
    command = created["connection"]["curl_register_template"]
    answer = subprocess.run(["bash", "-c", command], check=True, capture_output=True, text=True).stdout
    assert "auth_token" in answer
    assert _is_online(platform, created["id"])
    assert platform.api.get(f"/workspaces/{created['id']}").json()["agent_card"] == {"name": name}


@pytest.mark.parametrize("name", NAMES)
def test_the_python_program_registers_the_agent_and_sends_heartbeats(
    platform: Platform, tmp_path: Path, name: str
) -> None:
    created = platform.api.post("/workspaces", json={"name": name, "runtime": "external"}).json()
    program = tmp_path / "agent.py"
    program.write_text(created["connection"]["python_snippet"])
    with process([sys.executable, str(program)], {}):
        row = f"/workspaces/{created['id']}"
        until(lambda: platform.api.get(row).json()["last_heartbeat_at"], "a heartbeat of the pasted program")
        assert _is_online(platform, created["id"])
