"""/ws over real sockets: who may subscribe, the envelope, resuming without gap or repeat."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import httpx
import pytest
import redis.asyncio
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from activity.bus import BROADCAST_CHANNEL
from tests.e2e.stack import Platform, manage

PATIENCE_SECONDS = 10


@asynccontextmanager
async def stream(platform: Platform, query: str = "", **headers: str) -> AsyncIterator[ClientConnection]:
    given = headers or {"Authorization": f"Bearer {platform.operator_token}"}
    named = {name.replace("_", "-"): value for name, value in given.items()}
    url = f"{platform.url.replace('http', 'ws')}/ws{query}"
    async with connect(url, additional_headers=named, origin=named.pop("Origin", None)) as socket:  # type: ignore[arg-type]
        yield socket


async def receive(socket: ClientConnection) -> dict[str, Any]:
    message: dict[str, Any] = json.loads(await asyncio.wait_for(socket.recv(), PATIENCE_SECONDS))
    return message


async def until_event(socket: ClientConnection, event: str, workspace_id: str) -> dict[str, Any]:
    while True:
        message = await receive(socket)
        if (message["event"], message["workspace_id"]) == (event, workspace_id):
            return message


async def close_code(platform: Platform, query: str = "", **headers: str) -> int:
    async with stream(platform, query, **headers) as socket:
        with pytest.raises(ConnectionClosed):
            await asyncio.wait_for(socket.recv(), PATIENCE_SECONDS)
        return socket.close_code or 0


async def test_an_operator_receives_every_event_in_the_envelope(platform: Platform) -> None:
    async with stream(platform) as socket:
        await socket.send('{"type":"ping"}')
        assert await receive(socket) == {"type": "pong"}
        agent = await asyncio.to_thread(platform.agent, "subscribed")
        created = await until_event(socket, "WORKSPACE_PROVISIONING", agent.id)
        assert set(created) == {"event", "workspace_id", "timestamp", "seq", "id", "payload"}
        assert created["timestamp"].endswith("Z")
        online = await until_event(socket, "WORKSPACE_ONLINE", agent.id)
        assert online["seq"] > created["seq"]
        await asyncio.to_thread(agent.beat, current_task="reading")
        task = await until_event(socket, "TASK_UPDATED", agent.id)
        assert (task["seq"], task["payload"]) == (None, {"current_task": "reading", "active_tasks": 0})
        await asyncio.to_thread(
            agent.post, f"/workspaces/{agent.id}/activity", {"activity_type": "error", "summary": "x"}
        )
        logged = await until_event(socket, "ACTIVITY_LOGGED", agent.id)
        assert (logged["seq"], logged["payload"]["source_id"]) == (None, agent.id)
        await asyncio.to_thread(agent.beat, current_task="reading")
        await asyncio.to_thread(agent.beat, error_rate=0.9)
        degraded = await until_event(socket, "WORKSPACE_DEGRADED", agent.id)
        assert degraded["payload"]["error_rate"] == 0.9


async def test_activity_and_tasks_are_broadcast_but_not_persisted(platform: Platform) -> None:
    agent = await asyncio.to_thread(platform.agent, "quiet")
    await asyncio.to_thread(agent.beat, current_task="a task")
    await asyncio.to_thread(agent.post, f"/workspaces/{agent.id}/activity", {"activity_type": "agent_log"})
    events = platform.api.get(f"/events/{agent.id}").json()
    assert [event["event_type"] for event in events] == ["WORKSPACE_ONLINE", "WORKSPACE_PROVISIONING"]


async def test_since_replays_every_event_once_and_then_goes_live(platform: Platform) -> None:
    """A client that reconnects repeatedly while events are written: no gap, no repeat, in order."""
    start = platform.api.get("/events?limit=1").json()[0]["seq"]
    writing = asyncio.create_task(asyncio.to_thread(_write_events, platform, 40))
    seen: list[int] = []
    while not writing.done() or seen[-1:] != [_latest(platform)]:
        async with stream(platform, f"?since={seen[-1] if seen else start}") as socket:
            for _ in range(7):
                try:
                    message = json.loads(await asyncio.wait_for(socket.recv(), 0.5))
                except TimeoutError:
                    break
                if message["event"] != "STREAM_LIVE" and message["seq"] is not None:
                    seen.append(message["seq"])
    written = [event["seq"] for event in platform.api.get(f"/events?after={start}&limit=1000").json()]
    assert seen == written


def _write_events(platform: Platform, count: int) -> None:
    workspace_id = platform.create("renamed")["id"]
    for number in range(count):
        assert platform.api.patch(f"/workspaces/{workspace_id}", json={"name": f"name {number}"}).status_code == 200


def _latest(platform: Platform) -> int:
    return int(platform.api.get("/events?limit=1").json()[0]["seq"])


async def test_stream_live_follows_the_replay(platform: Platform) -> None:
    platform.create("the newest")
    newest = platform.api.get("/events?limit=1").json()[0]
    async with stream(platform, f"?since={newest['seq']}&after_id={newest['id']}") as socket:
        assert await receive(socket) == {"event": "STREAM_LIVE", "seq": newest["seq"], "id": newest["id"]}


async def test_a_message_lost_on_the_bus_is_read_from_the_log(platform: Platform) -> None:
    """An event is not published: the next one makes the hub read the missed one from the log."""
    async with stream(platform) as socket:
        await socket.send('{"type":"ping"}')
        await receive(socket)
        lost = await asyncio.to_thread(_write_unpublished, platform)
        published = await asyncio.to_thread(platform.create, "published")
        came = []
        while published["id"] not in came:
            came.append((await receive(socket))["workspace_id"])
        assert lost in came


def _write_unpublished(platform: Platform) -> str:
    """Commit an event that is not published, as after a crash between commit and publish."""
    script = (
        "from registry.organisation import workspaces\nfrom registry.organisation.workspaces import NewWorkspace\n"
        "print(workspaces.create(NewWorkspace(name='unpublished'), actor='command:test').id)"
    )
    environment = {**platform.environment, "REDIS_URL": "unix:///nonexistent.sock"}
    return manage(environment, "shell", "-v0", "-c", script).strip()


async def test_every_event_is_on_the_redis_channel(platform: Platform) -> None:
    async with redis.asyncio.Redis.from_url(platform.environment["REDIS_URL"]) as client, client.pubsub() as pubsub:
        await pubsub.subscribe(BROADCAST_CHANNEL)
        await pubsub.get_message(timeout=5)
        created = await asyncio.to_thread(platform.create, "on the channel")
        message = await pubsub.get_message(timeout=5, ignore_subscribe_messages=True)
        assert message is not None
        assert b'": ' not in message["data"]
        assert json.loads(message["data"])["workspace_id"] == created["id"]


async def test_the_close_code_says_why_a_socket_is_refused(platform: Platform) -> None:
    agent = await asyncio.to_thread(platform.agent, "agent")
    assert await close_code(platform, X_Unknown="1") == 4401
    assert await close_code(platform, Authorization="Bearer mol_op_0_forged") == 4401
    assert await close_code(platform, X_Workspace_ID=agent.id) == 4401
    bearer, enrolment = f"Bearer {agent.token}", f"Bearer {platform.create('new')['enrolment_token']}"
    assert await close_code(platform, Authorization=enrolment) == 4403
    assert await close_code(platform, Authorization=bearer, X_Workspace_ID=str(uuid4())) == 4403
    assert await close_code(platform, Authorization=bearer, X_Workspace_ID="not-an-id") == 4400


async def test_a_session_is_accepted_only_from_our_own_pages(platform: Platform) -> None:
    cookies = await asyncio.to_thread(_sign_in, platform)
    ours = {"Cookie": cookies, "Origin": platform.url}
    async with stream(platform, **ours) as socket:
        await socket.send('{"type":"ping"}')
        assert await receive(socket) == {"type": "pong"}
    assert await close_code(platform, Cookie=cookies, Origin="http://evil.example") == 4403


def _sign_in(platform: Platform) -> str:
    with httpx.Client(base_url=platform.url) as client:
        token = client.get("/admin/login/").cookies["csrftoken"]
        form = {"username": platform.username, "password": platform.password, "csrfmiddlewaretoken": token}
        assert client.post("/admin/login/", data=form).status_code == 302
        return "; ".join(f"{name}={value}" for name, value in client.cookies.items())


@pytest.mark.parametrize("message", ["nonsense", "[]", '{"type":"shout"}', "7", '{"type":["ping"]}'])
async def test_an_unknown_message_is_answered_with_an_error(platform: Platform, message: str) -> None:
    async with stream(platform) as socket:
        await socket.send(message)
        answer = await receive(socket)
        assert (answer["type"], answer["code"]) == ("error", "invalid")


@pytest.mark.parametrize("text", ["x" * 70_000, "€" * 30_000], ids=["characters", "bytes"])
async def test_a_message_too_large_ends_the_stream(platform: Platform, text: str) -> None:
    async with stream(platform) as socket:
        await socket.send(text)
        with pytest.raises(ConnectionClosed):
            await asyncio.wait_for(socket.recv(), PATIENCE_SECONDS)
        assert socket.close_code == 4413


@pytest.mark.parametrize("since", ["-1", "x", "9" * 30])
async def test_an_invalid_position_is_refused(platform: Platform, since: str) -> None:
    assert await close_code(platform, f"?since={since}") == 4400


@pytest.mark.parametrize("path", ["/other", "/", "/ws/", "/ws/x", "/workspaces", "/%00"])
async def test_a_websocket_on_another_path_is_closed_with_a_word(platform: Platform, path: str) -> None:
    async with connect(platform.url.replace("http", "ws") + path) as opened:
        with pytest.raises(ConnectionClosed):
            await asyncio.wait_for(opened.recv(), PATIENCE_SECONDS)
    assert (opened.close_code, opened.close_reason) == (4404, "the event stream is at /ws")


async def test_heartbeats_are_sent_only_when_requested(platform: Platform) -> None:
    agent = await asyncio.to_thread(platform.agent, "requested")
    position = f"since={_latest(platform)}"
    async with stream(platform, f"?beats=1&{position}") as requested, stream(platform, f"?{position}") as other:
        for socket in (requested, other):
            assert (await receive(socket))["event"] == "STREAM_LIVE"
        await asyncio.to_thread(agent.beat, active_tasks=3)
        beat = await until_event(requested, "HEARTBEAT", agent.id)
        assert (beat["seq"], beat["payload"]["active_tasks"]) == (None, 3)
        await asyncio.to_thread(agent.beat, current_task="reading")
        task = await next_about(other, agent.id)
        assert task["event"] == "TASK_UPDATED", "no heartbeat before it"
        both = [await next_about(requested, agent.id) for _ in range(2)]
        assert {message["event"] for message in both} == {"HEARTBEAT", "TASK_UPDATED"}
        assert {message["timestamp"] for message in both} == {task["timestamp"]}, "both have the same time"


async def next_about(socket: ClientConnection, workspace_id: str) -> dict[str, Any]:
    while (message := await receive(socket))["workspace_id"] != workspace_id:
        pass
    return message
