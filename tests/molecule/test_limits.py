"""Request bodies: their limits for each route, and what is read and parsed without a known caller."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import httpx
import pytest
from channels.db import database_sync_to_async
from django.db import OperationalError, connections
from django.test import Client
from rest_framework.serializers import JSONField

from activity import strict_json
from molecule import limits
from molecule.asgi import application, fast_path
from registry.identity import enrolment, rate_limits, tokens
from registry.models import Workspace, WorkspaceToken
from registry.organisation import removal

pytestmark = pytest.mark.django_db(transaction=True)
Make = Callable[..., Workspace]
BOGUS = "mol_ws_000000000000_" + "x" * 43
KIB = 1024
HOSTILE = b"[" + b"[]," * (1024 * KIB // 3 - 10) + b"[]]"
HOSTILE_BATCH = b'{"beats":' + HOSTILE[: 1000 * KIB] + b"[]]}"


@pytest.fixture(autouse=True)
def _leave_no_connection() -> Iterator[None]:
    yield
    fast_path.callers.remembered.clear()
    for gate in (fast_path.beats, fast_path.reports, fast_path.lookups, fast_path.callers.lookups):
        gate.thread.submit(connections.close_all).result()


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of the texts that were parsed, in bytes."""
    sizes: list[int] = []
    decode = strict_json.DECODER.decode

    def counting(text: str) -> Any:
        sizes.append(len(text))
        return decode(text)

    monkeypatch.setattr(strict_json.DECODER, "decode", counting)
    return sizes


class Agent:
    def __init__(self, make_workspace: Make) -> None:
        self.workspace = make_workspace()
        self.id = str(self.workspace.id)
        self.token = tokens.issue_workspace_token(self.workspace.id).text

    def beat(self, **fields: Any) -> dict[str, Any]:
        return {"workspace_id": self.id, **fields}


@pytest.fixture
def mine(make_workspace: Make) -> Agent:
    return Agent(make_workspace)


@asynccontextmanager
async def client(token: str | None = None, address: str = "10.0.0.1") -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app=application, client=(address, 1))
    given = {"Authorization": f"Bearer {token}"} if token else {}
    headers = {"Content-Type": "application/json", **given}
    async with httpx.AsyncClient(transport=transport, base_url="http://testserver", headers=headers) as opened:
        yield opened


async def post(token: str | None, path: str, content: bytes | dict[str, Any], **options: Any) -> httpx.Response:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    async with client(token, **options) as opened:
        return await opened.post(path, content=body)


def padded(body: dict[str, Any], size: int) -> bytes:
    """The body with an unknown field that makes it this many bytes long."""
    empty = json.dumps(body | {"pad": ""}).encode()
    return empty[:-2] + b"x" * (size - len(empty)) + empty[-2:]


@pytest.mark.parametrize(
    ("path", "most"),
    [
        ("/registry/heartbeat", 64 * KIB),
        ("/registry/register", 256 * KIB),
        ("/registry/update-card", 256 * KIB),
        ("/workspaces/{id}/activity", 1024 * KIB),
        ("/registry/heartbeats", 1024 * KIB),
    ],
)
async def test_each_route_takes_bodies_up_to_its_own_size(mine: Agent, path: str, most: int) -> None:
    beats = {"beats": [mine.beat(token=mine.token)]}
    body = mine.beat(id=mine.id, url="http://a:1", agent_card={"name": "a"}, activity_type="error", **beats)
    path = path.replace("{id}", mine.id)
    fits = await post(mine.token, path, padded(body, most))
    assert fits.status_code == 200, fits.text
    large = await post(mine.token, path, padded(body, most + 1))
    assert (large.status_code, large.json()) == (413, {"error": "body too large"})
    assert large.headers["content-type"] == "application/json"


@pytest.mark.parametrize("path", ["/workspaces", "/registry/register", "/admin/login/"])
async def test_a_cookie_alone_does_not_make_a_large_body_readable(path: str, admin_client: Client) -> None:
    """A mebibyte for each connection of whoever sends some cookie would be held until the body is complete."""
    body = b"x" * (64 * KIB + 1)
    async with client() as stranger:
        stranger.cookies["sessionid"] = "a" * 32
        answer = await stranger.post(path, content=body)
        assert (answer.status_code, answer.json()) == (401, {"error": "authentication required"})
        assert answer.headers["connection"] == "close", "refused while it was read"
        stranger.cookies["sessionid"] = admin_client.cookies["sessionid"].value
        assert (await stranger.post(path, content=body)).status_code != 401


@pytest.mark.parametrize("token", [None, "nonsense", "mol_ws_0_0", BOGUS, "mol_op" + BOGUS[6:]])
@pytest.mark.parametrize("path", ["register", "update-card", "heartbeat", "activity"])
async def test_large_bodies_of_unknown_callers_are_neither_read_nor_parsed(
    mine: Agent, parsed: list[int], token: str | None, path: str
) -> None:
    path = f"/workspaces/{mine.id}/activity" if path == "activity" else f"/registry/{path}"
    read = 0

    async def parts() -> AsyncIterator[bytes]:
        nonlocal read
        for start in range(0, len(HOSTILE), 16 * KIB):
            read += 16 * KIB
            yield HOSTILE[start : start + 16 * KIB]

    async with client(token) as opened:
        for content in (HOSTILE[: 60 * KIB], HOSTILE[: 200 * KIB], parts()):
            answer = await opened.post(path, content=content)
            assert answer.status_code in (401, 413), answer.text
            assert answer.headers["content-type"] == "application/json"
    assert parsed == []


async def test_a_large_batch_needs_a_known_token(mine: Agent, parsed: list[int]) -> None:
    bogus = json.dumps({"beats": [mine.beat(token=BOGUS)] * 490, "pad": "x" * 100}).encode()
    assert len(bogus) > 64 * KIB
    for hostile in (bogus, HOSTILE_BATCH):
        answer = await post(None, "/registry/heartbeats", hostile)
        assert (answer.status_code, answer.headers["content-type"]) == (413, "application/json")
    assert parsed == []
    good = {"beats": [mine.beat(token=BOGUS)] * 100 + [mine.beat(token=mine.token)] * 390}
    answer = await post(None, "/registry/heartbeats", good)
    assert [one["status"] for one in answer.json()["results"]] == ["error"] * 100 + ["ok"] * 390


async def test_a_list_is_counted_before_its_items_are_looked_at(mine: Agent, monkeypatch: Any) -> None:
    looked_at = 0
    validate = JSONField.run_validation

    def counting(self: Any, data: Any = None) -> Any:
        nonlocal looked_at
        looked_at += 1
        return validate(self, data)

    monkeypatch.setattr(JSONField, "run_validation", counting)
    many = json.dumps({"beats": [[]] * 5000, "token": mine.token}).encode()
    answer = await post(None, "/registry/heartbeats", many)
    assert (answer.status_code, answer.json()["field"], answer.json()["code"]) == (400, "beats", "max_length")
    assert looked_at == 0
    assert rate_limits.STRANGERS.counts["10.0.0.1"] == 1


async def test_an_agents_body_has_a_bounded_number_of_values(mine: Agent, parsed: list[int], settings: Any) -> None:
    settings.MAX_JSON_VALUES = 20_000
    path = f"/workspaces/{mine.id}/activity"

    async def report(metadata: Any) -> httpx.Response:
        return await post(mine.token, path, {"activity_type": "agent_log", "metadata": metadata})

    refused = await report([[]] * 20_000)
    assert (refused.status_code, refused.json()) == (413, {"error": "more than 20000 values"})
    assert parsed == []
    assert (await report([[]] * 19_000)).status_code == 200
    assert (await report('[{,"' * 60_000)).status_code == 200, "in a text they are no values"
    assert (await report('\\"[' * 60_000)).status_code == 200


async def test_large_bodies_are_parsed_in_a_thread(mine: Agent, monkeypatch: Any) -> None:
    on_loop: list[int] = []
    parse = strict_json.parse

    def noting(body: bytes, **options: Any) -> Any:
        try:
            asyncio.get_running_loop()
            on_loop.append(len(body))
        except RuntimeError:
            pass
        return parse(body, **options)

    monkeypatch.setattr(strict_json, "parse", noting)
    for size in (200, 30 * KIB):
        assert (await post(mine.token, "/registry/heartbeat", padded(mine.beat(), size))).status_code == 200
    for path in (f"/workspaces/{mine.id}/activity", "/registry/heartbeats"):
        body = {"activity_type": "error", "beats": [mine.beat(token=mine.token)]}
        assert (await post(mine.token, path, padded(body, 500 * KIB))).status_code == 200
    assert on_loop == [200]


async def test_unknown_callers_do_not_slow_good_agents(mine: Agent, parsed: list[int]) -> None:
    """Four clients keep sending 1 MiB of lists while an agent sends heartbeats. Only its heartbeats are parsed."""
    done = asyncio.Event()

    async def attack(number: int) -> None:
        async with client(BOGUS, address=f"10.0.1.{number}") as stranger:
            while not done.is_set():
                answer = await stranger.post("/registry/heartbeat", content=HOSTILE)
                assert answer.status_code == 413
                answer = await stranger.post("/registry/heartbeats", content=HOSTILE_BATCH)
                assert answer.status_code in (413, 429)

    attacks = [asyncio.create_task(attack(number)) for number in range(4)]
    async with client(mine.token) as opened:
        answers = [await opened.post("/registry/heartbeat", json=mine.beat()) for _ in range(50)]
    done.set()
    await asyncio.gather(*attacks)
    assert {answer.status_code for answer in answers} == {200}
    assert len(parsed) == 50
    assert max(parsed) < 200


async def test_over_the_limit_unknown_callers_are_refused_and_known_ones_are_not(
    mine: Agent, make_workspace: Make, make_user: Any, parsed: list[int], settings: Any
) -> None:
    settings.RATE_LIMIT_STRANGERS = 3
    settings.METRICS_TOKEN = "m" * 16
    body = {"workspace_id": mine.id}
    for token in (BOGUS, None, "nonsense"):
        assert (await post(token, "/registry/heartbeat", body)).status_code == 401
    del parsed[:]
    path = f"/workspaces/{mine.id}/activity"
    for token in (BOGUS, None, "nonsense", "mol_op" + BOGUS[6:]):
        for route in ("/registry/heartbeat", "/registry/register", "/registry/update-card", path):
            answer = await post(token, route, body)
            assert answer.status_code == 429
            assert 1 <= answer.json()["retry_after"] <= 60
            assert answer.headers["retry-after"] == str(answer.json()["retry_after"])
    batch = {"beats": [mine.beat(token=BOGUS)]}
    assert (await post(None, "/registry/heartbeats", batch)).status_code == 429
    assert parsed == []
    assert (await post(BOGUS, "/registry/heartbeat", body, address="10.0.0.2")).status_code == 401

    new = await database_sync_to_async(make_workspace)()
    enrolling = await database_sync_to_async(enrolment.issue)(new.id)
    operator = await database_sync_to_async(lambda: tokens.issue_operator_token(make_user("viewer")))()
    assert (await post(mine.token, "/registry/heartbeat", body)).status_code == 200
    batch["beats"].append(mine.beat(token=mine.token))
    assert (await post(None, "/registry/heartbeats", batch)).status_code == 200
    registration = {"id": str(new.id), "url": "http://a:1", "agent_card": {"name": "a"}}
    assert (await post(enrolling.token, "/registry/register", registration)).status_code == 200
    assert (await post(enrolling.token, "/registry/register", registration)).status_code == 200, "repeated at once"
    for token, route in ((operator, "/workspaces"), (settings.METRICS_TOKEN, "/metrics"), (None, "/admin/login/")):
        async with client(token) as opened:
            assert (await opened.get(route)).status_code == 200
    async with client(BOGUS) as opened:
        assert (await opened.get("/workspaces")).status_code == 429


async def test_known_and_unknown_tokens_are_looked_up_once(mine: Agent, settings: Any) -> None:
    settings.RATE_LIMIT_STRANGERS = 1
    rate_limits.STRANGERS.add("10.0.0.1")
    for token in (mine.token, BOGUS):
        await post(token, "/registry/heartbeat", mine.beat())
    asked = fast_path.callers.lookups.accepted._value.get()
    for token, status in ((mine.token, 200), (BOGUS, 429)):
        assert (await post(token, "/registry/heartbeat", mine.beat())).status_code == status
    assert fast_path.callers.lookups.accepted._value.get() == asked


async def test_a_batch_counts_as_unauthenticated_only_if_all_of_it_is_refused(mine: Agent) -> None:
    bogus, good = mine.beat(token=BOGUS), mine.beat(token=mine.token)
    await post(None, "/registry/heartbeats", {"beats": [bogus, good]})
    assert rate_limits.STRANGERS.counts.get("10.0.0.1", 0) == 0
    await post(None, "/registry/heartbeats", {"beats": [bogus]})
    assert rate_limits.STRANGERS.counts["10.0.0.1"] == 1


def test_which_tokens_are_known(make_workspace: Make, make_user: Any) -> None:
    mine, gone = make_workspace(), make_workspace()
    live, revoked, late = (tokens.issue_workspace_token(mine.id) for _ in range(3))
    retired = tokens.issue_workspace_token(gone.id).text
    removal.remove(gone.id, actor="test", confirm=True)
    tokens.revoke_token(mine.id, revoked.id)
    WorkspaceToken.objects.filter(id=late.id).update(expires_at="2020-01-01T00:00:00Z")
    operator = tokens.issue_operator_token(make_user("viewer"))
    enrolling = enrolment.issue(mine.id).token
    wrong = live.text[:-1] + ("a" if live.text[-1] != "a" else "b")
    texts = [live.text, retired, operator, enrolling, revoked.text, late.text, wrong, BOGUS]
    shown = [tokens.presented_token(text, tokens.TYPES) for text in texts]
    known = tokens.known({one for one in shown if one})
    assert [one in known for one in shown] == [True] * 4 + [False] * 4


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("{}", 1),
        ("[]", 1),
        ("7", 1),
        ("[ ]", 1),
        ("[1]", 2),
        ('["[]"]', 2),
        ('{"a,b": [{}, {"c": "\\"[,"}]}', 5),
        ("[[],[],[[ ]]]", 5),
        ('{"a": "\\\\", "b": [","]}', 4),
    ],
)
def test_the_number_of_values_is_exact(text: str, values: int) -> None:
    assert strict_json.parse(text.encode(), max_values=values) == json.loads(text)
    with pytest.raises(strict_json.Malformed):
        strict_json.parse(text.encode(), max_values=values - 1)


@pytest.mark.parametrize(
    "hostile", [b'"' + b'\\"' * 500_000, b'"' * 1_000_000, b'["' + b"\\" * 1_000_000, b'"[,' * 300_000]
)
def test_counting_reads_each_byte_once(hostile: bytes) -> None:
    """A regular expression that backtracks would take hours for one of these."""
    with pytest.raises(strict_json.Malformed):
        strict_json.parse(hostile + b"," * 100, max_values=0)


async def test_while_the_database_is_away_large_bodies_are_503(mine: Agent, monkeypatch: Any) -> None:
    def away(presented: list[Any]) -> list[bool]:
        raise OperationalError("away")

    monkeypatch.setattr(fast_path.callers.lookups, "flush", away)
    body = padded({"activity_type": "error"}, 70 * KIB)
    answer = await post(mine.token, f"/workspaces/{mine.id}/activity", body)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")


def test_an_operator_gets_pages_over_the_limit(make_user: Any, settings: Any) -> None:
    settings.RATE_LIMIT_STRANGERS = 1
    rate_limits.STRANGERS.add("127.0.0.1")
    browser = Client()
    browser.force_login(make_user("viewer"))
    assert browser.get("/workspaces").status_code == 200


async def put(token: str, path: str, content: Any) -> httpx.Response:
    async with client(token) as opened:
        return await opened.put(path, content=content)


async def test_bodies_with_files_may_be_larger(mine: Agent, settings: Any) -> None:
    text = json.dumps({"files": {f"{n}": "x" * KIB * KIB for n in range(3)}}).encode()
    path = f"/workspaces/{mine.id}/files"
    assert (await put(mine.token, path, text)).json() == {"status": "replaced", "count": 3}
    assert (await put(mine.token, f"/workspaces/{mine.id}/config", text)).status_code == 413
    settings.MAX_FILES_BODY_BYTES = len(text) - 1
    assert (await put(mine.token, path, text)).status_code == 413
    assert (await put(BOGUS, path, text)).status_code in (401, 413)


async def test_uploads_in_the_admin_may_be_larger(admin_client: Client) -> None:
    """Without a token against forgery they are refused, but only after they were read."""
    statuses = {"import/": 403, f"{UUID(int=0)}/files/": 403, "add/": 413}
    async with client() as browser:
        browser.cookies["sessionid"] = admin_client.cookies["sessionid"].value
        for page, status in statuses.items():
            answer = await browser.post(f"/admin/registry/workspace/{page}", content=b"x" * (KIB * KIB + 1))
            assert answer.status_code == status, page


async def test_few_of_the_largest_bodies_are_read_at_a_time(mine: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "LARGEST_AT_A_TIME", 1)
    path, sent, go_on = f"/workspaces/{mine.id}/files", asyncio.Event(), asyncio.Event()
    parts = [b'{"files":{"a":"', b"x" * 800 * KIB, b'","b":"', b"x" * 800 * KIB, b'"}}']

    async def slowly() -> AsyncIterator[bytes]:
        for part in parts[:-1]:
            yield part
        sent.set()
        await go_on.wait()
        yield parts[-1]

    first = asyncio.create_task(put(mine.token, path, slowly()))
    await sent.wait()
    second = await put(mine.token, path, b"".join(parts))
    assert (second.status_code, second.headers["retry-after"]) == (503, "2")
    assert (await put(mine.token, f"{path}/small", b'{"content":"x"}')).status_code == 200
    go_on.set()
    assert (await first).status_code == 200
    assert (await put(mine.token, path, b"".join(parts))).status_code == 200


async def test_a_body_with_files_must_come_to_its_end(mine: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "LARGEST_SECONDS", 0.1)
    never = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        yield b'{"files":{'
        await never.wait()

    assert (await put(mine.token, f"/workspaces/{mine.id}/files", endless())).status_code == 408
