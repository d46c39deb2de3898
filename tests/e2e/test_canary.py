"""An agent puts its secrets into all that it sends, by every route that takes an agent: the values appear nowhere."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import psycopg
import pytest
import redis
from psycopg import sql
from websockets.sync.client import ClientConnection, connect

from molecule.policy import POLICY
from tests.e2e.stack import Agent, Platform, free_port, process, running_platform, until, web_command

OWN, SHARED, PIN = "canary-own-5f1d", "canary-shared-9c7a", 7041776543
TEXT = f"{OWN} {SHARED} {PIN}"
JSON = {"text": TEXT, TEXT: [PIN, {"deep": TEXT}], "escaped": json.dumps({"a": TEXT})}
AGENTS = {"W", "C", "P", "E", "open", "-"}


@pytest.fixture(scope="module")
def platform() -> Iterator[Platform]:
    with running_platform() as running:
        yield running


@pytest.fixture(scope="module")
def log(platform: Platform, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """What a second web process writes to its log; `platform.url` is its address from now on."""
    path = tmp_path_factory.mktemp("web") / "log"
    port = free_port()
    with (
        path.open("wb") as output,
        process(web_command(port), {**platform.environment, "PORT": str(port), "LOG_LEVEL": "DEBUG"}, output),
    ):
        platform.url = f"http://127.0.0.1:{port}"
        until(lambda: _is_up(platform.url), "the second web process to answer")
        yield path


def _is_up(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health").status_code == 200
    except httpx.TransportError:
        return False


def requests_of(agent: Agent, token_id: str) -> dict[tuple[str, str], list[tuple[str, str, Any]]]:
    """For each policy row that admits an agent: requests with the values wherever a text is taken."""
    own = f"/workspaces/{agent.id}"
    card = {"name": f"agent {OWN}", "description": TEXT, "url": f"http://a:1/{OWN}", **JSON}
    beat = {"workspace_id": agent.id, "error_rate": 0.9, "sample_error": TEXT, "current_task": TEXT}
    entry = {"activity_type": "error", "method": OWN, "summary": TEXT, "error_detail": TEXT, "metadata": JSON,
             "request_body": JSON, "response_body": JSON}  # fmt: skip
    register = {"id": agent.id, "url": "http://a:1/x", "agent_card": card}
    return {
        ("register", "POST"): [
            ("POST", "/registry/register", register),
            ("POST", "/registry/register", register | {"url": f"http://a:1/?key={OWN}"}),
            ("POST", "/registry/register", register | {"heartbeat_interval": OWN}),
        ],
        ("heartbeat", "POST"): [
            ("POST", "/registry/heartbeat", beat),
            ("POST", "/registry/heartbeat", beat | {"sample_error": f" {TEXT} ", "current_task": f" {TEXT}"}),
            ("POST", "/registry/heartbeat", beat | {"active_tasks": OWN}),
            ("POST", "/registry/heartbeat", beat | {"error_rate": 0, "sample_error": ""}),
        ],
        ("heartbeats", "POST"): [
            ("POST", "/registry/heartbeats", {"beats": [beat | {"token": agent.token}]}),
            ("POST", "/registry/heartbeats", {"beats": [beat | {"token": OWN, "workspace_id": OWN}]}),
        ],
        ("update-card", "POST"): [("POST", "/registry/update-card", {"workspace_id": agent.id, "agent_card": card})],
        ("workspace-activity", "POST"): [
            ("POST", f"{own}/activity", entry),
            ("POST", f"{own}/activity", [entry, entry | {"summary": f" {TEXT} ", "status": "error"}]),
            ("POST", f"{own}/activity", entry | {"activity_type": OWN}),
        ],
        ("workspace-notify", "POST"): [("POST", f"{own}/notify", {"message": TEXT})],
        ("check-access", "POST"): [("POST", "/registry/check-access", {"caller_id": agent.id, "target_id": OWN})],
        ("tokens", "POST"): [
            ("POST", f"{own}/tokens", {"label": TEXT}),
            ("POST", f"{own}/tokens", {"expires_at": OWN}),
        ],
        ("token", "DELETE"): [("DELETE", f"{own}/tokens/{OWN}", None), ("DELETE", f"{own}/tokens/{token_id}", None)],
        ("workspace", "GET"): [("GET", own, None), ("GET", f"/workspaces/{OWN}", None)],
        ("workspace-state", "GET"): [("GET", f"{own}/state", None), ("GET", f"/workspaces/{OWN}/state", None)],
        ("workspace-activity", "GET"): [("GET", f"{own}/activity?since={OWN}", None)],
        ("discover", "GET"): [("GET", f"/registry/discover/{OWN}", None)],
        ("peers", "GET"): [("GET", f"/registry/{agent.id}/peers?q={OWN}", None)],
        ("workspace-secrets", "GET"): [("GET", f"{own}/secrets", None)],
        ("secret-values", "GET"): [],  # the one answer that has them
        ("model", "GET"): [("GET", f"{own}/model", None)],
        # A file is kept as it was sent, so its content is the one place where an agent may put a secret.
        ("files", "GET"): [("GET", f"{own}/files?q={OWN}", None)],
        ("files", "PUT"): [
            ("PUT", f"{own}/files", {"files": {"a.md": "plain"}}),
            ("PUT", f"{own}/files", {"files": {f"{OWN}.md": "plain"}}),
        ],
        ("file", "GET"): [("GET", f"{own}/files/a.md", None), ("GET", f"{own}/files/{OWN}.md", None)],
        ("file", "PUT"): [
            ("PUT", f"{own}/files/b.md", {"content": "plain"}),
            ("PUT", f"{own}/files/{OWN}.md", {"content": "plain"}),
        ],
        ("file", "DELETE"): [("DELETE", f"{own}/files/b.md", None), ("DELETE", f"{own}/files/{OWN}.md", None)],
        ("file-revisions", "GET"): [("GET", f"{own}/file-revisions?path={OWN}", None)],
        ("file-revision", "GET"): [("GET", f"{own}/file-revisions/{OWN}", None)],
        ("restore-file", "POST"): [("POST", f"{own}/file-revisions/{OWN}/restore", {})],
        ("shared-context", "GET"): [("GET", f"{own}/shared-context?q={OWN}", None)],
        ("agent-settings", "GET"): [("GET", f"{own}/config?q={OWN}", None)],
        ("agent-settings", "PATCH"): [("PATCH", f"{own}/config", {OWN: OWN})],
        ("tokens", "GET"): [("GET", f"{own}/tokens", None)],
        ("health", "GET"): [("GET", f"/health?q={OWN}", None)],
        ("health-ready", "GET"): [("GET", "/health/ready", None)],
        ("test-token", "GET"): [("GET", f"/admin/workspaces/{OWN}/test-token", None)],
    }


def test_every_route_that_takes_an_agent_is_driven() -> None:
    taken = {(name, method) for name, rules in POLICY.items() for method, rule in rules.items()
             if AGENTS & set(rule.who.split())}  # fmt: skip
    driven = requests_of(Agent(id="id", token="token", url=""), "token").keys() | {("stream", "CONNECT")}
    assert driven == taken


def test_the_values_appear_nowhere(platform: Platform, log: Path) -> None:
    agent, peer = platform.agent("holder"), platform.agent("peer")
    for path, key, value in (
        (f"/workspaces/{agent.id}/secrets", "OWN", OWN),
        (f"/workspaces/{agent.id}/secrets", "PIN", str(PIN)),
        ("/settings/secrets", "SHARED", SHARED),
    ):
        assert platform.api.post(path, json={"key": key, "value": value}).status_code == 200
    agent.url = platform.url
    token_id = platform.api.post(f"/workspaces/{agent.id}/tokens", json={}).json()["id"]
    store = redis.Redis.from_url(platform.environment["REDIS_URL"])
    with (
        listener(platform, platform.operator_token) as operator,
        listener(platform, peer.token) as neighbour,
        store.pubsub(ignore_subscribe_messages=True) as bus,
        httpx.Client(base_url=platform.url, headers={"Authorization": f"Bearer {agent.token}"}) as client,
    ):
        bus.psubscribe("*")
        heard, told = [], []
        for requests in requests_of(agent, token_id).values():
            for method, path, body in requests:
                answer = client.request(
                    method, path, json=body, headers={"User-Agent": OWN, "X-Workspace-ID": agent.id}
                )
                assert answer.status_code != 500, (method, path, answer.text)
                told.append(answer.status_code)
        told.append(client.get(f"/{OWN}", headers={"X-Workspace-ID": quote(OWN)}).status_code)
        _talk(platform, agent)
        frames = [*_frames(operator), *_frames(neighbour)]
        while (message := bus.get_message(timeout=0.5)) is not None:
            heard.append(message["data"])
    assert 200 in told
    assert any("[secret OWN]" in str(frame) for frame in frames), "the socket heard what was masked"
    places = {
        "sockets": str(frames),
        "Redis channels": str(heard),
        "Redis keys": str([_value(store, key) for key in store.scan_iter()]),
        "metrics": platform.api.get("/metrics").text,
        "log": log.read_text(),
        **{path: platform.api.get(path).text for path in ("/workspaces", "/activity", "/events", "/canvas/snapshot")},
        **dict(_tables(platform.environment["DATABASE_URL"])),
    }
    found = [(name, value) for name, text in places.items() for value in (OWN, SHARED, str(PIN)) if value in text]
    assert found == []
    assert "[secret OWN]" in places["workspaces"]
    assert "[secret OWN]" in places["activity_logs"]
    assert "[secret OWN]" in places["workspace_tokens"]


def listener(platform: Platform, token: str) -> ClientConnection:
    return connect(f"ws{platform.url[4:]}/ws", additional_headers={"Authorization": f"Bearer {token}"})


def _talk(platform: Platform, agent: Agent) -> None:
    """Messages over the agent's own socket, good and bad ones."""
    with listener(platform, agent.token) as own:
        for message in (
            {"type": "heartbeat", "error_rate": 0.9, "sample_error": TEXT, "current_task": f"socket {TEXT}"},
            {"type": "heartbeat", "sample_error": f" {TEXT} ", "current_task": f" other {TEXT} "},
            {"type": "heartbeat", "active_tasks": OWN},
            {"type": "heartbeat", "workspace_id": OWN},
            {"type": OWN, OWN: TEXT},
        ):
            own.send(json.dumps(message))
            answers = [json.loads(own.recv(timeout=10))]
            while answers[-1].get("type") not in ("heartbeat.ok", "error") and "error" not in answers[-1]:
                answers.append(json.loads(own.recv(timeout=10)))
        own.send(f"not JSON {TEXT}")


def _frames(socket: ClientConnection) -> Iterator[str]:
    """What the socket heard, until it has been silent for a while."""
    while True:
        try:
            yield str(socket.recv(timeout=2))
        except TimeoutError:
            return


def _value(store: "redis.Redis", key: bytes) -> Any:
    kind = store.type(key)
    if kind == b"string":
        return key, store.get(key)
    return key, store.dump(key)


def _tables(url: str) -> Iterator[tuple[str, str]]:
    with psycopg.connect(url) as database:
        names = database.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
        for (name,) in names:
            rows = database.execute(sql.SQL("SELECT t::text FROM {} t").format(sql.Identifier(name))).fetchall()
            yield name, str(rows)
