"""The reference agent as a process of its own: registered at a running platform, and called by the official client."""

import asyncio
import socket
import subprocess
import sys
from pathlib import Path

import httpx
from a2a.client import ClientConfig, create_client
from a2a.helpers import new_text_message
from a2a.types import Role, SendMessageRequest

from tests.e2e.stack import ROOT, Platform, until


async def pieces(url: str, text: str) -> list[str]:
    """What it streams."""
    async with httpx.AsyncClient() as http:
        client = await create_client(url, ClientConfig(httpx_client=http))
        request = SendMessageRequest(message=new_text_message(text, role=Role.ROLE_USER))
        events = [event async for event in client.send_message(request)]
    updates = [event.artifact_update for event in events if event.HasField("artifact_update")]
    return [part.text for update in updates for part in update.artifact.parts]


def test_it_registers_answers_and_ends(platform: Platform, tmp_path: Path) -> None:
    made = platform.create("Example")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {"PATH": "/usr/bin:/bin", "MOLECULE_URL": platform.url, "CONFIGS_DIR": str(tmp_path)}
    environment |= {"WORKSPACE_ID": made["id"], "ENROLMENT_TOKEN": made["enrolment_token"], "AGENT_PORT": str(port)}
    command = [sys.executable, str(ROOT / "examples" / "templates" / "agent" / "agent.py")]
    with subprocess.Popen(command, env=environment) as agent:
        try:
            until(lambda: platform.status(made["id"]) == "online", "online")
            url = f"http://127.0.0.1:{port}"
            assert asyncio.run(pieces(url, "echo hi there")) == ["hi", " there"]
            [thought] = asyncio.run(pieces(url, "what do you think?"))
            assert "no OPENAI_API_KEY" in thought
            workspace = platform.api.get(f"/workspaces/{made['id']}").json()
            assert (workspace["url"], workspace["agent_card_problems"]) == (url, [])
            assert (tmp_path / ".auth_token").stat().st_mode & 0o777 == 0o600
            agent.terminate()
            assert agent.wait(20) == 0
        finally:
            agent.kill()
