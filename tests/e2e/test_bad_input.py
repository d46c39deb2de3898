"""Bad input to any route is answered with a 4xx and a JSON error, and changes nothing. Over real sockets."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import psycopg
import pytest

from tests.e2e.stack import Agent, Platform

JSON = "application/json"
CARD = {"name": "a"}
REFUSALS = ["refused_at", "refused_count", "refused_reason", "refused_address"]
# Fixed: it is part of the tests' names, which must be the same in every process of pytest-xdist.
UNKNOWN = "7d3f0c1e-5a52-4c58-9f0e-2b6d8a1c4e90"


@dataclass(frozen=True)
class Case:
    """A request that must be refused. `who`: operator, agent or anonymous; {id}: the agent's workspace."""

    status: int
    method: str
    path: str
    body: Any = None
    who: str = "operator"
    raw: bytes | None = None
    content_type: str | None = JSON
    headers: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        shown = self.raw[:30] if self.raw is not None else json.dumps(self.body)[:60]
        return f"{self.status} {self.who} {self.method} {self.path} {shown!r}"


def create(status: int, **body: Any) -> Case:
    return Case(status, "POST", "/workspaces", body)


def patch(**body: Any) -> Case:
    return Case(400, "PATCH", "/workspaces/{id}", body)


def beat(**body: Any) -> Case:
    return Case(400, "POST", "/registry/heartbeat", {"workspace_id": "{id}", **body}, who="agent")


def register(status: int = 400, **body: Any) -> Case:
    complete = {"id": "{id}", "url": "http://a:1", "agent_card": CARD}
    given = {name: value for name, value in (complete | body).items() if value is not ...}
    return Case(status, "POST", "/registry/register", given, who="agent")


def report(body: Any, status: int = 400) -> Case:
    return Case(status, "POST", "/workspaces/{id}/activity", body, who="agent")


def raw(status: int, content: bytes, content_type: str | None = JSON, path: str = "/workspaces") -> Case:
    return Case(status, "POST", path, raw=content, content_type=content_type)


LISTS = b"[" + b"[]," * 349_000 + b"[]]"
FORGED = (("Authorization", f"Bearer mol_ws_000000000000_{'x' * 43}"),)
CASES = [
    # create
    create(400),
    create(400, name=""),
    create(400, name="   "),
    create(400, name="x" * 256),
    create(400, name="two\nlines"),
    create(400, name=None),
    create(400, name=["x"]),
    create(400, name={"x": 1}),
    create(400, name=True),
    create(400, name="nul\u0000"),
    create(400, name="x", role="r" * 10_001),
    create(400, name="x", role="a\u202eb"),
    create(400, name="x", tier=5),
    create(400, name="x", tier=-1),
    create(400, name="x", tier="high"),
    create(400, name="x", tier=1.5),
    create(400, name="x", runtime="r" * 101),
    create(400, name="x", parent_id="not-a-uuid"),
    create(400, name="x", parent_id=UNKNOWN),
    create(400, name="x", model="m" * 101),
    create(400, name="x", template="t" * 256),
    create(400, name="x", external="perhaps"),
    create(400, name="x", external=True, url="not a url"),
    create(400, name="x", canvas={"x": 1}),
    create(400, name="x", canvas={"x": 1e8, "y": 0}),
    create(400, name="x", canvas={"x": "nan", "y": 0}),
    create(400, name="x", canvas=[1, 2]),
    # update
    patch(name=""),
    patch(name=None),
    patch(tier=9),
    patch(x=1),
    patch(y=1),
    patch(x="inf", y=0),
    patch(x=2e7, y=0),
    patch(collapsed="perhaps"),
    patch(parent_id="{id}"),
    patch(parent_id=UNKNOWN),
    Case(400, "PATCH", "/workspaces/not-a-uuid", {"name": "x"}),
    Case(404, "PATCH", f"/workspaces/{UNKNOWN}", {"name": "x"}),
    Case(403, "PATCH", "/workspaces/{id}", {"tier": 4}, who="agent"),
    Case(401, "PATCH", "/workspaces/{id}", {"name": "x"}, who="anonymous"),
    # remove
    Case(400, "DELETE", "/workspaces/{id}?confirm=perhaps"),
    Case(400, "DELETE", "/workspaces/{id}?forward_to=x"),
    Case(400, "DELETE", "/workspaces/{id}?forward_to={id}"),
    Case(400, "DELETE", f"/workspaces/{{id}}?forward_to={UNKNOWN}"),
    Case(409, "DELETE", "/workspaces/{parent}"),
    Case(404, "DELETE", f"/workspaces/{UNKNOWN}"),
    # read
    Case(400, "GET", "/workspaces/12345"),
    Case(400, "GET", "/workspaces/{id}%00"),
    Case(400, "GET", "/workspaces?limit=many"),
    Case(400, "GET", "/workspaces?after=x"),
    Case(400, "GET", f"/workspaces?after={UNKNOWN}"),
    Case(404, "GET", f"/workspaces/{UNKNOWN}"),
    Case(404, "GET", f"/workspaces/{UNKNOWN}/state"),
    Case(404, "GET", f"/workspaces/{UNKNOWN}/activity"),
    Case(400, "GET", "/workspaces/{id}/activity?since=yesterday"),
    Case(400, "GET", "/events?after=-1"),
    Case(400, "GET", "/events?after=99999999999999999999"),
    Case(400, "GET", "/events/not-a-uuid"),
    Case(401, "GET", "/workspaces", who="anonymous"),
    Case(403, "GET", "/workspaces", who="agent"),
    Case(403, "GET", "/events", who="agent"),
    Case(404, "GET", "/no/such/route"),
    Case(404, "GET", "/workspaces/"),
    # register
    register(id="x"),
    register(id=...),
    register(url=...),
    register(url=""),
    register(url="a:1"),
    register(url="http://"),
    register(url="http://a:99999"),
    register(url="http://a b"),
    register(url="http://" + "a" * 2048),
    register(agent_card=...),
    register(agent_card=None),
    register(agent_card=[]),
    register(agent_card="card"),
    register(agent_card={}),
    register(agent_card={"name": ""}),
    register(agent_card={"name": 7}),
    register(413, agent_card={"name": "a", "x": "y" * 64 * 1024}),
    raw(413, b'{"id": "' + b"x" * (256 * 1024) + b'"}', path="/registry/register"),
    Case(401, "POST", "/registry/register", {"id": "{id}", "url": "http://a:1", "agent_card": CARD}, who="anonymous"),
    Case(403, "POST", "/registry/register", {"id": "{other}", "url": "http://a:1", "agent_card": CARD}, who="agent"),
    Case(400, "POST", "/registry/update-card", {"workspace_id": "{id}", "agent_card": {}}, who="agent"),
    Case(403, "POST", "/registry/update-card", {"workspace_id": "{other}", "agent_card": CARD}, who="agent"),
    Case(401, "POST", "/registry/update-card", {"workspace_id": "{id}", "agent_card": CARD}, who="anonymous"),
    # heartbeat
    beat(error_rate=1.1),
    beat(error_rate=-0.1),
    beat(error_rate="nan"),
    beat(error_rate="much"),
    beat(active_tasks=-1),
    beat(active_tasks=2**31),
    beat(active_tasks=1.5),
    beat(uptime_seconds=-1),
    beat(uptime_seconds="long"),
    beat(current_task=["a"]),
    beat(current_task="nul\u0000"),
    beat(sample_error={"a": 1}),
    Case(403, "POST", "/registry/heartbeat", {"workspace_id": "{other}"}, who="agent"),
    Case(400, "POST", "/registry/heartbeat", {}, who="agent"),
    Case(400, "POST", "/registry/heartbeat", {"workspace_id": 7}, who="agent"),
    Case(401, "POST", "/registry/heartbeat", {}, who="anonymous"),
    Case(403, "POST", "/registry/heartbeat", {"workspace_id": "{id}"}, who="operator"),
    Case(401, "POST", "/registry/heartbeat", {"workspace_id": "{id}"}, who="anonymous"),
    Case(
        403,
        "POST",
        "/registry/heartbeat",
        {"workspace_id": "{id}"},
        who="agent",
        headers=(("X-Workspace-ID", UNKNOWN),),
    ),
    Case(400, "POST", "/registry/heartbeat", {"workspace_id": "{id}"}, who="agent", headers=(("X-Workspace-ID", "x"),)),
    # activity
    report({}),
    report({"activity_type": "gossip"}),
    report({"activity_type": "error", "status": "fine"}),
    report({"activity_type": "error", "source_id": "webhook:1"}),
    report({"activity_type": "error", "target_id": 7.5}),
    report({"activity_type": "error", "duration_ms": -1}),
    report({"activity_type": "error", "duration_ms": 2**31}),
    report({"activity_type": "error", "request_body": {"deep": ["nul\u0000"]}}),
    report({"activity_type": "error", "method": "m" * 256}),
    report([{"activity_type": "error"}, {"activity_type": "gossip"}]),
    report([{"activity_type": "error"}] * 501),
    report([]),
    report("text"),
    report({"activity_type": "error", "source_id": "{other}"}, status=403),
    Case(403, "POST", "/workspaces/{other}/activity", {"activity_type": "error"}, who="agent"),
    Case(404, "POST", f"/workspaces/{UNKNOWN}/activity", {"activity_type": "error"}),
    Case(400, "POST", "/workspaces/{id}/notify", {}, who="agent"),
    Case(403, "POST", "/workspaces/{id}/notify", {"message": "x"}),
    # viewport
    Case(400, "PUT", "/canvas/viewport", {"x": 1, "y": 1}),
    Case(400, "PUT", "/canvas/viewport", {"x": 1, "y": 1, "zoom": 0}),
    Case(400, "PUT", "/canvas/viewport", {"x": 1, "y": 1, "zoom": 11}),
    Case(400, "PUT", "/canvas/viewport", {"x": 1, "y": "nan", "zoom": 1}),
    Case(403, "PUT", "/canvas/viewport", {"x": 1, "y": 1, "zoom": 1}, who="agent"),
    # methods and bodies
    Case(405, "PUT", "/workspaces", {}),
    Case(405, "DELETE", "/health"),
    Case(405, "POST", "/events", {}),
    Case(405, "GET", "/registry/register"),
    raw(400, b"{"),
    raw(400, b'{"name": NaN}'),
    raw(400, b'{"name": 1e999}'),
    raw(400, b'{"name": "\\ud800"}'),
    raw(400, b'{"name": "\xff"}'),
    raw(413, b"[" * 100_000),
    raw(400, b"[" * 70 + b"]" * 70),
    raw(400, b"[]"),
    raw(400, b'"text"'),
    raw(400, b"9" * 5000),
    raw(415, b"name=x", "application/x-www-form-urlencoded"),
    raw(415, b"{}", "text/plain"),
    raw(413, b'{"name": "' + b"x" * (1024 * 1024) + b'"}'),
    Case(413, "POST", "/registry/heartbeat", raw=LISTS, who="anonymous", headers=FORGED),
    Case(413, "POST", "/registry/heartbeats", raw=b'{"beats":' + LISTS + b"}", who="anonymous"),
    Case(401, "POST", "/workspaces/{id}/activity", raw=LISTS, who="anonymous"),
    Case(401, "POST", "/workspaces/{id}/activity", raw=LISTS, who="anonymous", headers=FORGED),
    Case(401, "POST", "/registry/register", raw=LISTS[: 200 * 1024], who="anonymous", headers=FORGED),
    Case(413, "POST", "/workspaces/{id}/activity", raw=LISTS, who="agent"),
    Case(401, "GET", "/workspaces", who="anonymous", headers=(("Authorization", "Basic b3A6b3A="),)),
    Case(401, "GET", "/workspaces", who="anonymous", headers=(("Authorization", "Bearer mol_op_0_forged"),)),
    Case(401, "GET", "/workspaces", who="anonymous", headers=(("Authorization", "Bearer"),)),
]


@dataclass(frozen=True)
class Target:
    platform: Platform
    agent: Agent
    names: dict[str, str]
    connection: psycopg.Connection[Any]

    def send(self, case: Case) -> httpx.Response:
        tokens = {"operator": self.platform.operator_token, "agent": self.agent.token}
        headers = dict(case.headers)
        if case.who in tokens:
            headers["Authorization"] = f"Bearer {tokens[case.who]}"
        content = case.raw
        if content is None and case.body is not None:
            content = self._fill(json.dumps(case.body)).encode()
        if content is not None and case.content_type:
            headers["Content-Type"] = case.content_type
        url = self.platform.url + self._fill(case.path)
        return httpx.request(case.method, url, content=content, headers=headers)

    def rows(self) -> dict[str, Any]:
        """All rows that a request could change; of tokens only whether they are revoked.

        Without the columns that count refused credentials: these are written later, and mean to change.
        """
        tables = ("workspaces", "agents", "structure_events", "activity_logs", "canvas_layouts", "canvas_viewport")
        queries = {table: f"SELECT to_jsonb(t) - %s::text[] FROM {table} t ORDER BY 1" for table in tables}
        queries["tokens"] = "SELECT jsonb_build_array(id, revoked_at) - %s::text[] FROM workspace_tokens ORDER BY 1"
        return {name: self.connection.execute(query, [REFUSALS]).fetchall() for name, query in queries.items()}

    def _fill(self, text: str) -> str:
        for name, value in self.names.items():
            text = text.replace(f"{{{name}}}", value)
        return text


@pytest.fixture(scope="module")
def target(platform: Platform) -> Iterator[Target]:
    parent = platform.create("parent")["id"]
    agent, other = platform.agent("agent", parent_id=parent), platform.create("other")["id"]
    names = {"id": agent.id, "other": other, "parent": parent}
    with psycopg.connect(platform.environment["DATABASE_URL"], autocommit=True) as connection:
        yield Target(platform, agent, names, connection)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_bad_input_is_refused_and_changes_nothing(target: Target, case: Case) -> None:
    before = target.rows()
    answer = target.send(case)
    assert answer.status_code == case.status, answer.text
    assert answer.headers["content-type"] == JSON
    if not case.path.endswith("/state"):
        assert answer.json()["error"]
    assert target.rows() == before


def test_a_chunked_body_is_read_and_limited(target: Target) -> None:
    """Without a Content-Length the whole body is read, and its size is limited."""
    headers = {"Authorization": f"Bearer {target.platform.operator_token}", "Content-Type": JSON}
    url = f"{target.platform.url}/workspaces"
    small = httpx.post(url, content=iter([b'{"name":', b'"in chunks"}']), headers=headers)
    assert small.status_code == 201, small.text
    large = httpx.post(url, content=(b"x" * 65536 for _ in range(20)), headers=headers)
    assert large.status_code == 413
    assert large.json() == {"error": "body too large"}


def test_an_absent_body_is_an_empty_object(target: Target) -> None:
    headers = {"Authorization": f"Bearer {target.platform.operator_token}", "Content-Type": JSON}
    answer = httpx.post(f"{target.platform.url}/workspaces", headers=headers)
    assert (answer.status_code, answer.json()["field"]) == (400, "name")
