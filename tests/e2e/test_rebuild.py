"""manage.py rebuild --fix while a platform runs: its processes go on from the repaired tables at once."""

from typing import Any

import httpx
import psycopg
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tests.e2e.stack import Agent, manage, running_platform

DAMAGE = "UPDATE workspaces SET parent_id = %s WHERE id = %s"


def discover(caller: Agent, target: Agent) -> httpx.Response:
    headers = {"Authorization": f"Bearer {caller.token}", "X-Workspace-ID": caller.id}
    return httpx.get(f"{caller.url}/registry/discover/{target.id}", headers=headers)


def read_on(socket: ClientConnection) -> None:
    while True:
        socket.recv(timeout=10)


def test_an_agent_outside_the_team_may_not_talk_any_longer() -> None:
    with running_platform() as platform:
        teams: list[dict[str, Any]] = [platform.create(name) for name in ("one", "other")]
        insider, stranger = (platform.agent("agent", parent_id=team["id"]) for team in teams)
        with psycopg.connect(platform.environment["DATABASE_OWNER_URL"]) as owner:
            owner.execute(DAMAGE, [teams[0]["id"], stranger.id])
        assert discover(stranger, insider).status_code == 200
        assert discover(insider, insider).status_code == 200
        headers = {"Authorization": f"Bearer {platform.operator_token}"}
        with connect(f"{platform.url.replace('http', 'ws')}/ws", additional_headers=headers) as socket:
            assert "1 rows repaired" in manage(platform.environment, "rebuild", "--fix")
            assert discover(stranger, insider).status_code == 403
            with pytest.raises(ConnectionClosed):
                read_on(socket)
        manage(platform.environment, "rebuild", "--check")
