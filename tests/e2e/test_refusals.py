"""An operator sees that an agent's credential is refused, whichever way it comes, until the agent's next heartbeat."""

import asyncio
import re
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from tests.e2e.stack import Agent, Platform, until
from tests.e2e.test_sockets import receive, stream

Send = Callable[[Platform, Agent, str], Any]


async def _upgrade(platform: Platform, token: str) -> None:
    headers = {"Authorization": f"Bearer {token}"}
    with pytest.raises(ConnectionClosed) as closed:
        async with connect(f"{platform.url.replace('http', 'ws')}/ws", additional_headers=headers) as opened:
            await opened.recv()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 4401


def _post(platform: Platform, path: str, token: str, body: dict[str, Any]) -> None:
    headers = {"Authorization": f"Bearer {token}"}
    assert httpx.post(f"{platform.url}{path}", json=body, headers=headers).status_code == 401


def _batch(platform: Platform, body: dict[str, Any]) -> None:
    [result] = httpx.post(f"{platform.url}/registry/heartbeats", json={"beats": [body]}).json()["results"]
    assert result["status"] == "error"


WAYS: dict[str, Send] = {
    "heartbeat": lambda platform, agent, token: _post(
        platform, "/registry/heartbeat", token, {"workspace_id": agent.id}
    ),
    "batch": lambda platform, agent, token: _batch(platform, {"workspace_id": agent.id, "token": token}),
    "register": lambda platform, agent, token: _post(
        platform, "/registry/register", token, {"id": agent.id, "url": agent.url, "agent_card": {"name": "a"}}
    ),
    "activity": lambda platform, agent, token: _post(
        platform, f"/workspaces/{agent.id}/activity", token, {"activity_type": "error"}
    ),
    "socket": lambda platform, agent, token: asyncio.run(_upgrade(platform, token)),
}


def last_refusal(platform: Platform, agent: Agent) -> Any:
    return platform.api.get(f"/workspaces/{agent.id}").json()["last_refusal"]


def refused_total(platform: Platform) -> float:
    text = platform.api.get("/metrics").text
    return sum(
        float(value) for value in re.findall(r'^molecule_refused_total\{reason="token revoked"\} (.+)$', text, re.M)
    )


@pytest.mark.parametrize("way", WAYS)
def test_a_revoked_token_is_shown_until_the_next_good_heartbeat(platform: Platform, way: str) -> None:
    agent, before = platform.agent(way), refused_total(platform)
    issued = agent.post(f"/workspaces/{agent.id}/tokens", {}).json()
    httpx.delete(
        f"{platform.url}/workspaces/{agent.id}/tokens/{issued['id']}",
        headers={"Authorization": f"Bearer {agent.token}"},
    )
    assert last_refusal(platform, agent) is None
    WAYS[way](platform, agent, issued["auth_token"])
    shown = until(lambda: last_refusal(platform, agent), "the refusal to be shown")
    assert {**shown, "at": None} == {"at": None, "count": 1, "reason": "token revoked", "address": "127.0.0.1"}
    assert refused_total(platform) == before + 1
    assert agent.beat().status_code == 200
    assert last_refusal(platform, agent) is None


async def test_canvases_hear_of_it_and_agents_do_not(platform: Platform) -> None:
    agent = await asyncio.to_thread(platform.agent, "agent")
    async with stream(platform.url, platform.operator_token) as operator, stream(platform.url, agent.token) as own:
        for opened in (operator, own):
            await opened.send('{"type":"ping"}')
            while "type" not in await receive(opened):
                pass
        httpx.post(f"{platform.url}/registry/heartbeat", json={"workspace_id": agent.id})
        assert (await _next_refusal(operator, agent))["reason"] == "no token"
        assert (await asyncio.to_thread(agent.beat, current_task="good")).status_code == 200
        assert await _next_refusal(operator, agent) is None
        await asyncio.to_thread(agent.beat, current_task="last")
        heard = []
        while (message := await receive(own))["payload"].get("current_task") != "last":
            heard.append(message["event"])
        assert "WORKSPACE_REFUSED" not in heard


async def _next_refusal(operator: Any, agent: Agent) -> Any:
    while True:
        message = await receive(operator)
        if (message["event"], message["workspace_id"]) == ("WORKSPACE_REFUSED", agent.id):
            return message["payload"]["last_refusal"]
