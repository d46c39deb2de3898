"""/ws under failure: two web processes, Redis restarts, clients that are slow, silent or disconnect."""

import asyncio
import json
import os
import socket
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
import redis
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from molecule.embedded import running_redis
from tests.e2e.stack import Agent, Platform, manage, running_platform, until, web

PATIENCE_SECONDS = 20
CARD_BYTES = 60_000
CARDS = 200


@asynccontextmanager
async def stream(url: str, token: str, query: str = "", **options: Any) -> AsyncIterator[ClientConnection]:
    headers = {"Authorization": f"Bearer {token}"}
    address = f"{url.replace('http', 'ws')}/ws{query}"
    # With an unlimited queue the client reads the close frame at once.
    async with connect(
        address, additional_headers=headers, **{"max_size": None, "max_queue": None, **options}
    ) as opened:
        yield opened


async def receive(opened: ClientConnection) -> dict[str, Any]:
    message: dict[str, Any] = json.loads(await asyncio.wait_for(opened.recv(), PATIENCE_SECONDS))
    return message


async def closed_with(opened: ClientConnection) -> tuple[list[dict[str, Any]], int | None]:
    """The messages until the close, and its code."""
    came: list[dict[str, Any]] = []
    try:
        while True:
            came.append(await receive(opened))
    except ConnectionClosed:
        return came, opened.close_code


# --- No gap, no repeat ------------------------------------------------------------------------------------


class RestartableRedis:
    def __init__(self, state: Path) -> None:
        self.state = state
        self.running = ExitStack()
        self.url = self.running.enter_context(running_redis(state))

    def restart(self) -> None:
        self.running.close()
        self.running.enter_context(running_redis(self.state))


@pytest.fixture
def restartable() -> Iterator[tuple[Platform, RestartableRedis]]:
    """A platform whose Redis can be restarted."""
    with tempfile.TemporaryDirectory(prefix="molecule-e2e-redis-") as folder:
        state = Path(folder)
        state.chmod(0o711)
        engine = RestartableRedis(state)
        with engine.running, running_platform(REDIS_URL=engine.url) as platform:
            yield platform, engine


async def test_streams_of_two_web_processes_have_no_gap_and_no_repeat_when_redis_fails(
    restartable: tuple[Platform, RestartableRedis],
) -> None:
    platform, engine = restartable
    with web(platform) as (other, _process):
        urls = [platform.url, other]
        start = _latest(platform)
        is_over = asyncio.Event()
        permanent = [asyncio.create_task(_listen(url, platform, start, is_over, each=None)) for url in urls]
        reconnecting = [
            asyncio.create_task(_listen(urls[n % 2], platform, start, is_over, each=11 + 7 * n)) for n in range(4)
        ]
        writers = [asyncio.create_task(asyncio.to_thread(_write, platform, url, 60)) for url in urls]
        await _until_written(platform, start, 30)
        await asyncio.to_thread(_kill_subscriptions, engine.url)
        await _until_written(platform, start, 60)
        await asyncio.to_thread(engine.restart)
        await asyncio.gather(*writers)
        written = [event["seq"] for event in platform.api.get(f"/events?after={start}&limit=1000").json()]
        is_over.set()
        async with asyncio.timeout(PATIENCE_SECONDS * 3):
            for received in await asyncio.gather(*permanent, *reconnecting):
                assert received == written


async def _listen(url: str, platform: Platform, since: int, is_over: asyncio.Event, *, each: int | None) -> list[int]:
    """Positions received until the end of the log, reconnecting after `each` messages."""
    seen: list[int] = []
    while not (is_over.is_set() and seen[-1:] == [_latest(platform)]):
        async with stream(url, platform.operator_token, f"?since={seen[-1] if seen else since}") as opened:
            received = 0
            while each is None or received < each:
                try:
                    message = json.loads(await asyncio.wait_for(opened.recv(), 0.5))
                except TimeoutError:
                    if is_over.is_set() and seen[-1:] == [_latest(platform)]:
                        break
                    continue
                received += 1
                if message["event"] != "STREAM_LIVE" and message["seq"] is not None:
                    seen.append(message["seq"])
    return seen


def _write(platform: Platform, url: str, count: int) -> None:
    headers = {"Authorization": f"Bearer {platform.operator_token}"}
    with httpx.Client(base_url=url, headers=headers, timeout=30) as api:
        created = api.post("/workspaces", json={"name": "renamed"}).json()["id"]
        for number in range(count):
            assert api.patch(f"/workspaces/{created}", json={"name": f"name {number}"}).status_code == 200


async def _until_written(platform: Platform, start: int, count: int) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS * 3):
        while _latest(platform) < start + count:
            await asyncio.sleep(0.05)


def _kill_subscriptions(url: str) -> None:
    """Close the connection of every subscription, as a proxy or a failover does."""
    with redis.Redis.from_url(url) as client:
        client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")


def _latest(platform: Platform) -> int:
    newest = platform.api.get("/events?limit=1").json()
    return int(newest[0]["seq"]) if newest else 0


async def test_an_unpublished_event_arrives_without_a_later_event(platform: Platform) -> None:
    """The hub reads the log regularly while there are sockets."""
    async with stream(platform.url, platform.operator_token, f"?since={_latest(platform)}") as opened:
        assert (await receive(opened))["event"] == "STREAM_LIVE"
        script = (
            "from registry.organisation import workspaces\nfrom registry.organisation.workspaces import NewWorkspace\n"
            "print(workspaces.create(NewWorkspace(name='unpublished'), actor='command:test').id)"
        )
        environment = {**platform.environment, "REDIS_URL": "unix:///nonexistent.sock"}
        lost = (await asyncio.to_thread(manage, environment, "shell", "-v0", "-c", script)).strip()
        while (await receive(opened))["workspace_id"] != lost:
            pass


async def test_a_position_beyond_the_log_means_start_over(platform: Platform) -> None:
    async with stream(platform.url, platform.operator_token, f"?since={_latest(platform) + 1000}") as opened:
        assert await closed_with(opened) == ([], 4409)


# --- Agents ------------------------------------------------------------------------------------------------


async def until_marked(opened: ClientConnection, mark: str) -> list[tuple[str, str]]:
    """The messages until the task named `mark`, as (event, workspace)."""
    received = []
    while True:
        message = await receive(opened)
        received.append((message["event"], message["workspace_id"]))
        if message["payload"].get("current_task") == mark:
            return received


async def beat(agent: Agent, task: str) -> None:
    assert (await asyncio.to_thread(agent.beat, current_task=task)).status_code == 200


async def test_an_agent_receives_events_of_its_peers_and_a_move_takes_effect_at_once(platform: Platform) -> None:
    def build() -> dict[str, Agent]:
        made = {"one": platform.agent("one"), "two": platform.agent("two")}
        for name, parent in (("mine", "one"), ("sibling", "one"), ("foreign", "two"), ("below", "foreign")):
            made[name] = platform.agent(name, parent_id=made[parent].id)
        return made

    agents = await asyncio.to_thread(build)
    mine = agents["mine"]
    async with stream(platform.url, mine.token) as opened:
        await opened.send('{"type":"ping"}')
        assert await receive(opened) == {"type": "pong"}
        for name in ("foreign", "below", "two", "one", "sibling", "mine"):
            await beat(agents[name], f"{name} is busy")
        received = await until_marked(opened, "mine is busy")
        assert received == [("TASK_UPDATED", agents[name].id) for name in ("one", "sibling", "mine")]
        moved = {"parent_id": agents["two"].id}
        assert (await asyncio.to_thread(platform.api.patch, f"/workspaces/{mine.id}", json=moved)).status_code == 200
        for name in ("one", "sibling", "below", "two", "foreign", "mine"):
            await beat(agents[name], f"{name} goes on")
        received = await until_marked(opened, "mine goes on")
        assert received == [("WORKSPACE_MOVED", mine.id)] + [
            ("TASK_UPDATED", agents[name].id) for name in ("two", "foreign", "mine")
        ]
        await asyncio.to_thread(platform.api.put, "/canvas/viewport", json={"x": 1, "y": 2, "zoom": 1})
        await asyncio.to_thread(platform.api.patch, f"/workspaces/{mine.id}", json={"x": 5, "y": 6})
        await asyncio.to_thread(platform.api.delete, f"/workspaces/{mine.id}?confirm=true")
        came, code = await closed_with(opened)
        assert ([message["event"] for message in came], code) == (["WORKSPACE_REMOVED"], 4403)
    async with stream(platform.url, mine.token) as opened:
        assert await closed_with(opened) == ([], 4403)


async def test_a_replay_has_only_what_the_agent_may_receive(platform: Platform) -> None:
    start = _latest(platform)
    one = await asyncio.to_thread(platform.agent, "one")
    mine = await asyncio.to_thread(platform.agent, "mine", parent_id=one.id)
    foreign = await asyncio.to_thread(platform.agent, "foreign", parent_id=mine.id)
    below = await asyncio.to_thread(platform.agent, "below", parent_id=foreign.id)
    async with stream(platform.url, one.token, f"?since={start}") as opened:
        received = []
        while (message := await receive(opened))["event"] != "STREAM_LIVE":
            received.append(message)
    subjects = {message["workspace_id"] for message in received}
    assert {one.id, mine.id} <= subjects
    assert subjects.isdisjoint({foreign.id, below.id})
    assert [message["seq"] for message in received] == sorted({message["seq"] for message in received})


async def test_revoking_a_token_closes_its_sockets_and_no_others(platform: Platform) -> None:
    agent = await asyncio.to_thread(platform.agent, "agent")
    issued = (await asyncio.to_thread(agent.post, f"/workspaces/{agent.id}/tokens", {})).json()
    async with stream(platform.url, agent.token) as stays, stream(platform.url, issued["auth_token"]) as goes:
        for opened in (stays, goes):
            await opened.send('{"type":"ping"}')
            assert await receive(opened) == {"type": "pong"}
        revoked = await asyncio.to_thread(
            httpx.delete,
            f"{platform.url}/workspaces/{agent.id}/tokens/{issued['id']}",
            headers={"Authorization": f"Bearer {agent.token}"},
        )
        assert revoked.status_code == 200
        assert (await closed_with(goes))[1] == 4403
        await stays.send('{"type":"ping"}')
        while "type" not in (message := await receive(stays)):
            pass
        assert message == {"type": "pong"}


async def test_an_agent_sends_heartbeats_over_its_socket(platform: Platform) -> None:
    agent = await asyncio.to_thread(platform.agent, "beating")
    async with stream(platform.url, agent.token) as opened:
        beats: list[tuple[dict[str, Any], dict[str, Any]]] = [
            ({"current_task": "over the socket", "error_rate": 0.1}, {"type": "heartbeat.ok"}),
            ({"workspace_id": "", "sample_error": None}, {"type": "heartbeat.ok"}),
            ({"workspace_id": None, "runtime_state": ""}, {"type": "heartbeat.ok"}),
            ({"workspace_id": agent.id, "active_tasks": 2}, {"type": "heartbeat.ok"}),
            ({"workspace_id": str(uuid4())}, {"type": "error", "code": "not_allowed"}),
            ({"error_rate": 7}, {"type": "error", "code": "max_value"}),
            ({"active_tasks": "many"}, {"type": "error", "code": "invalid"}),
            ({"sample_error": "\x00"}, {"type": "error", "code": "invalid"}),
        ]
        for beat_, expected in beats:
            await opened.send(json.dumps({"type": "heartbeat", **beat_}))
            while "type" not in (answer := await receive(opened)):
                pass
            assert expected.items() <= answer.items()
        row = platform.api.get(f"/workspaces/{agent.id}").json()
        assert (row["active_tasks"], row["current_task"]) == (2, "")
        assert row["last_heartbeat_at"] is not None
    async with stream(platform.url, platform.operator_token) as opened:
        await opened.send(json.dumps({"type": "heartbeat", "workspace_id": agent.id}))
        while "type" not in (answer := await receive(opened)):
            pass
        assert (answer["type"], answer["code"]) == ("error", "not_allowed")


async def test_in_open_mode_a_workspace_id_without_a_token_gets_that_workspaces_events(platform: Platform) -> None:
    with web(platform, MOLECULE_OPEN="true") as (url, _process):
        parent = platform.create("without an agent")["id"]
        child = platform.create("child", parent_id=parent)["id"]
        grandchild = platform.create("grandchild", parent_id=child)["id"]
        address = f"{url.replace('http', 'ws')}/ws?since={_latest(platform)}"
        async with (
            connect(address, additional_headers={"X-Workspace-ID": parent}) as agents,
            connect(address) as operators,
        ):
            for opened in (agents, operators):
                assert (await receive(opened))["event"] == "STREAM_LIVE"
            for renamed in (grandchild, child):
                platform.api.patch(f"/workspaces/{renamed}", json={"name": "new"})
            assert (await receive(operators))["workspace_id"] == grandchild
            assert (await receive(agents))["workspace_id"] == child


async def test_an_unknown_host_name_is_refused(platform: Platform) -> None:
    """DNS rebinding: a browser takes a page of evil.example and this server for the same origin."""
    with web(platform, MOLECULE_OPEN="true") as (url, _process):
        port = url.rpartition(":")[2]
        for token in ("", platform.operator_token):
            client = raw(port, token, host="evil.example")
            assert await asyncio.to_thread(drain, client) == b"\x88\x02" + (4403).to_bytes(2, "big")
            client.close()


async def test_refused_handshakes_have_the_limit_of_refused_credentials(platform: Platform) -> None:
    """By address, and with that of REST. A good credential from there is not affected."""
    forged = "mol_op_000000000000_" + "x" * 43
    with web(platform, RATE_LIMIT_STRANGERS="6") as (url, _process):
        codes = []
        for token in ["", forged] * 5:
            async with AsyncExitStack() as stack:
                headers = {"Authorization": f"Bearer {token}"} if token else {}
                address = f"{url.replace('http', 'ws')}/ws"
                opened = await stack.enter_async_context(connect(address, additional_headers=headers))
                codes.append((await closed_with(opened))[1])
        assert codes[-3:] == [4429] * 3
        assert set(codes) <= {4401, 4429}
        guessing = await asyncio.to_thread(
            httpx.get, f"{url}/workspaces", headers={"Authorization": f"Bearer {forged}"}
        )
        assert guessing.status_code == 429
        async with stream(url, platform.operator_token) as opened:
            await opened.send('{"type":"ping"}')
            while await receive(opened) != {"type": "pong"}:
                pass


# --- Slow, silent and many clients ------------------------------------------------------------------------


def raw(port: int | str, token: str, query: str = "", *, buffer: int = 4096, host: str = "127.0.0.1") -> socket.socket:
    """A client that completes the handshake and then does nothing by itself."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    client.settimeout(PATIENCE_SECONDS)
    client.connect(("127.0.0.1", int(port)))
    lines = [
        f"GET /ws{query} HTTP/1.1", f"Host: {host}:{port}", "Upgrade: websocket", "Connection: Upgrade",
        "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        *([f"Authorization: Bearer {token}"] if token else []), "", "",
    ]  # fmt: skip
    client.sendall("\r\n".join(lines).encode())
    answer = b""
    while not answer.endswith(b"\r\n\r\n"):
        answer += client.recv(1)
    assert answer.startswith(b"HTTP/1.1 101"), answer
    return client


def sockets_of(pid: int, port: int) -> int:
    """How many TCP connections on that port the process holds."""
    held = set()
    for name in os.listdir(f"/proc/{pid}/fd"):
        with suppress(FileNotFoundError):  # closed since it was listed
            held.add(os.readlink(f"/proc/{pid}/fd/{name}"))
    inodes = {link[8:-1] for link in held if link.startswith("socket:[")}
    rows = (line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:])
    return sum(1 for row in rows if row[9] in inodes and row[1].endswith(f":{port:04X}") and row[3] != "0A")


def drain(client: socket.socket) -> bytes:
    """Everything up to the end of the connection."""
    data = bytearray()
    try:
        while part := client.recv(1 << 20):
            data += part
    except ConnectionResetError:
        pass
    return bytes(data)


async def test_a_client_that_reads_nothing_is_closed_and_the_others_receive_everything(platform: Platform) -> None:
    with web(platform) as (url, started):
        port = int(url.rpartition(":")[2])
        stuck = raw(port, platform.operator_token)
        also = raw(port, platform.operator_token)
        async with stream(url, platform.operator_token, f"?since={_latest(platform)}") as reader:
            assert (await receive(reader))["event"] == "STREAM_LIVE"
            agent = await asyncio.to_thread(platform.agent, "talkative")
            filling = asyncio.create_task(asyncio.to_thread(_fill, agent, CARDS))
            cards = 0
            while cards < CARDS:
                cards += (await receive(reader))["event"] == "AGENT_CARD_UPDATED"
            await filling
            held = await asyncio.to_thread(
                until, lambda: sockets_of(started.pid, port) == 1, "the sockets that do not read to be closed"
            )
            assert held
            await asyncio.to_thread(agent.beat, current_task="another task")
            while (await receive(reader))["event"] != "TASK_UPDATED":
                pass
        # A client that reads late still gets what was sent before the close.
        left = await asyncio.to_thread(drain, also)
        assert left
        stuck.close()
        also.close()


async def test_a_slow_client_is_closed_with_4408_and_resumes_without_loss(platform: Platform) -> None:
    with web(platform) as (url, _process):
        start = _latest(platform)
        async with stream(url, platform.operator_token, f"?since={start}", max_queue=1) as slow:
            assert (await receive(slow))["event"] == "STREAM_LIVE"
            slow.transport.pause_reading()
            agent = await asyncio.to_thread(platform.agent, "talkative")
            filling = asyncio.create_task(asyncio.to_thread(_fill, agent, CARDS))
            # The server waits only some seconds for a client that does not read its close.
            await asyncio.to_thread(until, lambda: closed_as_slow(platform, url), "the slow socket to be closed")
            slow.transport.resume_reading()
            came, code = await closed_with(slow)
            await filling
        assert code == 4408
        seqs = [message["seq"] for message in came if message["seq"] is not None]
        written = _positions_after(platform, start)
        async with stream(url, platform.operator_token, f"?since={seqs[-1]}") as back:
            while (message := await receive(back))["event"] != "STREAM_LIVE":
                seqs.append(message["seq"])
        assert seqs[: len(written)] == written


def _positions_after(platform: Platform, start: int) -> list[int]:
    """Of all events after that position, whose pages are short where events are large."""
    found, url = [], f"/events?after={start}&limit=1000"
    while url:
        answer = platform.api.get(url)
        found += [event["seq"] for event in answer.json()]
        url = answer.links.get("next", {}).get("url", "")
    return found


def closed_as_slow(platform: Platform, url: str) -> bool:
    """Whether this web process has closed a socket because its client read too slowly."""
    headers = {"Authorization": f"Bearer {platform.operator_token}"}
    metrics = httpx.get(f"{url}/metrics", headers=headers, timeout=30).raise_for_status().text
    return "\nmolecule_stream_slow_closed_total 1.0\n" in metrics


def _fill(agent: Agent, count: int) -> None:
    """Large events, more than the buffers can hold."""
    for number in range(count):
        card = {"name": "talkative", "number": number, "text": "x" * CARD_BYTES}
        assert agent.post("/registry/update-card", {"workspace_id": agent.id, "agent_card": card}).status_code == 200


async def test_a_client_that_answers_no_ping_is_closed(platform: Platform) -> None:
    with web(platform, "--ws-ping-interval", "0.3", "--ws-ping-timeout", "0.3") as (url, _process):
        silent = raw(url.rpartition(":")[2], platform.operator_token)
        async with stream(url, platform.operator_token) as answers:
            assert b"keepalive ping timeout" in await asyncio.to_thread(drain, silent)
            await answers.send('{"type":"ping"}')
            while "type" not in (message := await receive(answers)):
                pass
            assert message == {"type": "pong"}
        silent.close()


async def test_a_message_over_1_mib_is_not_read(platform: Platform) -> None:
    """The close arrives although the client is still sending: ten times, as it depends on who is faster."""
    for _ in range(10):
        async with stream(platform.url, platform.operator_token) as opened:
            with suppress(ConnectionClosed):
                await opened.send("x" * 2_000_000)
            assert (await closed_with(opened))[1] == 1009


async def test_a_stopping_server_closes_all_sockets_with_1012_and_does_not_wait(platform: Platform) -> None:
    with web(platform, "--timeout-graceful-shutdown", "60") as (url, started):
        async with AsyncExitStack() as stack:
            opened = [await stack.enter_async_context(stream(url, platform.operator_token)) for _ in range(200)]
            stuck = raw(url.rpartition(":")[2], platform.operator_token)
            agent = await asyncio.to_thread(platform.agent, "talkative")
            await asyncio.to_thread(_fill, agent, CARDS // 2)
            started.terminate()
            codes = {(await closed_with(one))[1] for one in opened}
            assert codes == {1012}
            assert await asyncio.to_thread(started.wait, PATIENCE_SECONDS) is not None
            stuck.close()


async def test_a_server_without_our_websocket_protocol_works(platform: Platform) -> None:
    """It sends one message at a time, as ASGI specifies."""
    with web(platform, "--ws", "websockets-sansio") as (url, _process):
        async with stream(url, platform.operator_token, f"?since={_latest(platform)}") as opened:
            assert (await receive(opened))["event"] == "STREAM_LIVE"
            created = await asyncio.to_thread(platform.create, "received")
            while (await receive(opened))["workspace_id"] != created["id"]:
                pass
            await opened.send("x" * 70_000)
            assert (await closed_with(opened))[1] == 4413
