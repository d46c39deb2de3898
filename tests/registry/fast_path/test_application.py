"""The fast path and the views answer alike; a full queue and an unavailable database are 503."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import httpx
import pytest
from channels.db import database_sync_to_async
from django.db import OperationalError, connection, connections, transaction

from activity.models import ActivityLog
from molecule.asgi import fast_path
from molecule.limits import BoundedBody
from registry.identity import tokens
from registry.identity.tokens import PresentedToken
from registry.liveness import heartbeats
from registry.liveness.heartbeats import Beat
from registry.messaging.reports import Report
from registry.models import Workspace
from registry.organisation import removal, workspaces

pytestmark = pytest.mark.django_db(transaction=True)
Make = Callable[..., Workspace]
PATIENCE_SECONDS = 20.0
BOGUS = "mol_ws_000000000000_" + "x" * 43


@pytest.fixture(autouse=True)
def _leave_no_connection() -> Iterator[None]:
    yield
    fast_path.callers.remembered.clear()
    for queue in (fast_path.beats, fast_path.reports, fast_path.lookups, fast_path.callers.lookups):
        queue.thread.submit(connections.close_all).result()


class Team:
    def __init__(self, make_workspace: Make) -> None:
        self.top = make_workspace("top", external=True, url="http://top:1")
        self.mine = make_workspace("mine", external=True, url="http://mine:1", parent_id=self.top.id)
        self.far = make_workspace("far", external=True, url="http://far:1", parent_id=self.mine.id)
        self.gone = make_workspace("gone", parent_id=self.top.id)
        self.token = tokens.issue_workspace_token(self.mine.id).text
        self.far_token = tokens.issue_workspace_token(self.far.id).text
        self.gone_token = tokens.issue_workspace_token(self.gone.id).text
        removal.remove(self.gone.id, actor="test", confirm=True)

    def beat(self, **fields: Any) -> dict[str, Any]:
        return {"workspace_id": str(self.mine.id), **fields}


@pytest.fixture
def team(make_workspace: Make) -> Team:
    return Team(make_workspace)


@asynccontextmanager
async def agent(token: str | None, **headers: str) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app=BoundedBody(fast_path, fast_path.callers))  # type: ignore[arg-type]
    given = {"Authorization": f"Bearer {token}"} if token else {}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    async with httpx.AsyncClient(
        transport=transport, base_url="http://testserver", headers={**given, **named}
    ) as client:
        yield client


def requests_of(team: Team) -> dict[str, tuple[str | None, str, str, Any]]:
    """Token, method, path and body of valid and invalid requests."""
    activity, discover = f"/workspaces/{team.mine.id}/activity", f"/registry/discover/{team.top.id}"
    beats = [team.beat(token=team.token), {"workspace_id": str(team.far.id), "token": team.far_token}]
    return {
        "beat": (team.token, "POST", "/registry/heartbeat", team.beat(active_tasks=2)),
        "beat with empty fields": (
            team.token, "POST", "/registry/heartbeat",
            team.beat(current_task=None, sample_error="", error_rate=None, uptime_seconds="", runtime_state=None),
        ),
        "beat of the wedged": (team.token, "POST", "/registry/heartbeat", team.beat(runtime_state="wedged")),
        "beat of a state that is no text": (team.token, "POST", "/registry/heartbeat", team.beat(runtime_state=[])),
        "beat of a whole number as text": (team.token, "POST", "/registry/heartbeat", team.beat(active_tasks="2")),
        "beat out of range": (team.token, "POST", "/registry/heartbeat", team.beat(error_rate=2)),
        "beat without a name": (team.token, "POST", "/registry/heartbeat", {}),
        "beat that is a list": (team.token, "POST", "/registry/heartbeat", []),
        "beat of another": (team.token, "POST", "/registry/heartbeat", {"workspace_id": str(team.top.id)}),
        "beat of the removed": (team.gone_token, "POST", "/registry/heartbeat", {"workspace_id": str(team.gone.id)}),
        "beat without a token": (None, "POST", "/registry/heartbeat", team.beat()),
        "beat with a bad token": (team.token + "x", "POST", "/registry/heartbeat", team.beat()),
        "beats": (None, "POST", "/registry/heartbeats", {"beats": beats}),
        "beats, some refused": (None, "POST", "/registry/heartbeats", {"beats": [*beats, *refused_beats(team)]}),
        "beats, none": (None, "POST", "/registry/heartbeats", {"beats": []}),
        "beats, some bad": (None, "POST", "/registry/heartbeats", {"beats": [*beats, *bad_beats(team)]}),
        "beats, too many": (None, "POST", "/registry/heartbeats", {"beats": beats * 251}),
        "beats, no list": (None, "POST", "/registry/heartbeats", {"beats": 5}),
        "activity": (team.token, "POST", activity, {"activity_type": "agent_log", "summary": "x"}),
        "activity with empty fields": (
            team.token, "POST", activity,
            {"activity_type": "agent_log", "target_id": "", "source_id": "", "status": "", "duration_ms": None},
        ),
        "activity of an empty type": (team.token, "POST", activity, {"activity_type": ""}),
        "activity list": (team.token, "POST", activity, [{"activity_type": "error"}] * 3),
        "activity, too much": (team.token, "POST", activity, [{"activity_type": "error"}] * 501),
        "activity, wrong type": (team.token, "POST", activity, {"activity_type": "nonsense"}),
        "activity of another": (team.far_token, "POST", activity, {"activity_type": "error"}),
        "activity in another's name": (
            team.token, "POST", activity, {"activity_type": "error", "source_id": str(team.top.id)}
        ),
        "discover": (team.token, "GET", discover, None),
        "discover by one that is no peer": (team.far_token, "GET", discover, None),
        "discover the removed": (team.token, "GET", f"/registry/discover/{team.gone.id}", None),
        "discover nonsense": (team.token, "GET", "/registry/discover/nonsense", None),
        "discover with hyphens elsewhere": (team.token, "GET", f"/registry/discover/----{team.top.id.hex}", None),
        "discover without a token": (None, "GET", discover, None),
    }  # fmt: skip


def refused_beats(team: Team) -> list[Any]:
    return [
        team.beat(token=team.far_token),
        team.beat(token=BOGUS),
        {"workspace_id": str(team.gone.id), "token": team.gone_token},
    ]


def bad_beats(team: Team) -> list[Any]:
    return [
        team.beat(),
        team.beat(token="nonsense"),
        team.beat(token=team.far_token),
        team.beat(token=team.token, error_rate=-1),
        {"workspace_id": str(team.gone.id), "token": team.gone_token},
        "no object",
        {"token": team.token},
    ]


ON_FAST_PATH = {
    "beat", "beat with empty fields", "beat of the wedged", "beats", "beats, some refused", "activity",
    "activity with empty fields", "activity list", "discover",
}  # fmt: skip


async def test_the_fast_path_and_the_views_answer_alike(team: Team, monkeypatch: pytest.MonkeyPatch) -> None:
    fast, by_views = await _answers(team), {}
    with monkeypatch.context() as patched:
        patched.setattr(type(fast_path), "_route", lambda self, method, path: (None, ""))
        by_views = await _answers(team)
    assert {name: told[:2] for name, told in fast.items()} == {name: told[:2] for name, told in by_views.items()}
    assert {name for name, told in fast.items() if told[2]} == ON_FAST_PATH
    assert not any(told[2] for told in by_views.values())


async def _answers(team: Team) -> dict[str, tuple[int, Any, bool]]:
    """Status, body, and whether the fast path answered, which sets fewer headers."""
    answers = {}
    for name, (token, method, path, body) in requests_of(team).items():
        async with agent(token) as client:
            answer = await client.request(method, path, json=body) if body is not None else await client.get(path)
        answers[name] = (answer.status_code, answer.json(), "content-security-policy" not in answer.headers)
    return answers


async def test_each_heartbeat_of_a_batch_has_its_own_result(team: Team) -> None:
    beats = [team.beat(token=team.token, active_tasks=7), *bad_beats(team)]
    async with agent(None) as client:
        answer = await client.post("/registry/heartbeats", json={"beats": beats})
    results = answer.json()["results"]
    codes = [result.get("code", result["status"]) for result in results]
    assert codes == ["ok", "required", "bad_credential", "not_allowed", "min_value", "removed", "invalid", "required"]
    assert [result["workspace_id"] for result in results[:2]] == [str(team.mine.id)] * 2
    await database_sync_to_async(team.mine.refresh_from_db)()
    assert team.mine.active_tasks == 7


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://localhost:3000"},
        {"X_Workspace_ID": "nonsense"},
        {"Host": "evil.example"},
        {"Content_Type": "text/plain"},
    ],
)
async def test_requests_that_need_the_views_are_passed_to_them(team: Team, headers: dict[str, str]) -> None:
    async with agent(team.token, **headers) as client:
        client.headers.setdefault("Content-Type", "application/json")
        answer = await client.post("/registry/heartbeat", content=f'{{"workspace_id":"{team.mine.id}"}}')
    assert answer.status_code == (200 if "Origin" in headers else 415 if "Content_Type" in headers else 400)
    assert "content-security-policy" in answer.headers


async def test_the_fast_path_requires_https_where_the_settings_do(team: Team, settings: Any) -> None:
    settings.SECURE_SSL_REDIRECT, settings.PROXY_SCHEME = True, True
    async with agent(team.token) as client:
        assert not await _is_fast(client, team)
    async with agent(team.token, X_Forwarded_Proto="https") as client:
        assert await _is_fast(client, team)
    settings.PROXY_SCHEME = False
    async with agent(team.token, X_Forwarded_Proto="https") as client:
        assert not await _is_fast(client, team), "without a trusted proxy any client can send that header"


async def _is_fast(client: httpx.AsyncClient, team: Team) -> bool:
    answer = await client.post("/registry/heartbeat", json=team.beat())
    return "content-security-policy" not in answer.headers


async def test_rate_limits_are_the_same_on_the_fast_path_and_in_the_views(team: Team, settings: Any) -> None:
    settings.RATE_LIMIT_HEARTBEATS = settings.RATE_LIMIT = 3
    async with agent(team.token) as client:
        beats = [await client.post("/registry/heartbeat", json=team.beat()) for _ in range(5)]
        found = [await client.get(f"/registry/discover/{team.top.id}") for _ in range(5)]
    for answers in (beats, found):
        assert [answer.status_code for answer in answers] == [200, 200, 200, 429, 429]
        assert 1 <= int(answers[-1].headers["Retry-After"]) <= 60
    async with agent(team.far_token) as client:
        mixed = [team.beat(token=team.token), {"workspace_id": str(team.far.id), "token": team.far_token}]
        answer = await client.post("/registry/heartbeats", json={"beats": mixed})
    assert [result.get("code", "ok") for result in answer.json()["results"]] == ["throttled", "ok"]


@pytest.mark.parametrize("extra", [[], [{}]], ids=["fast path", "view"])
async def test_a_batch_accepts_no_heartbeat_over_its_tokens_rate_limit(
    team: Team, settings: Any, extra: list[Any]
) -> None:
    settings.RATE_LIMIT_HEARTBEATS = 3
    beats = [team.beat(token=team.token, active_tasks=n) for n in range(1, 6)]
    async with agent(None) as client:
        first = await client.post("/registry/heartbeats", json={"beats": beats + extra})
        other = [team.beat(token=team.token), {"workspace_id": str(team.far.id), "token": team.far_token}, *extra]
        second = await client.post("/registry/heartbeats", json={"beats": other})
    codes = [[result.get("code", "ok") for result in answer.json()["results"]] for answer in (first, second)]
    wrong = ["required"] * len(extra)
    assert codes == [["ok"] * 3 + ["throttled"] * 2 + wrong, ["throttled", "ok", *wrong]]
    await database_sync_to_async(team.mine.refresh_from_db)()
    assert team.mine.active_tasks == 3


@pytest.mark.parametrize("wrong", [refused_beats, bad_beats])
async def test_valid_heartbeats_of_a_batch_are_committed_once(
    team: Team, monkeypatch: pytest.MonkeyPatch, wrong: Callable[[Team], list[Any]]
) -> None:
    accepted: list[UUID] = []
    commit = heartbeats.commit

    def recording_commit(beats: Any) -> Any:
        outcome = commit(beats)
        accepted.extend(beats[n].workspace_id for n in outcome.accepted)
        return outcome

    monkeypatch.setattr(heartbeats, "commit", recording_commit)
    async with agent(None) as client:
        beats = [team.beat(token=team.token), *wrong(team)]
        await client.post("/registry/heartbeats", json={"beats": beats})
    assert accepted == [team.mine.id]


async def test_batches_without_a_valid_token_count_against_the_address(team: Team, settings: Any) -> None:
    settings.RATE_LIMIT_STRANGERS = 3
    beats = {"beats": [team.beat(token=BOGUS)]}
    async with agent(None) as client:
        statuses = [(await client.post("/registry/heartbeats", json=beats)).status_code for _ in range(5)]
    assert statuses == [200, 200, 200, 429, 429]


@pytest.mark.parametrize("extra", [[], [{}]], ids=["fast path", "view"])
async def test_refused_heartbeats_beside_a_good_one_count_against_its_token_only(
    team: Team, settings: Any, extra: list[Any]
) -> None:
    """Another host at the same address goes on."""
    settings.RATE_LIMIT = 3
    wrong = [team.beat(token=BOGUS), *extra]
    far = {"workspace_id": str(team.far.id), "token": team.far_token}
    async with agent(None) as client:

        async def send(*beats: dict[str, Any]) -> int:
            return (await client.post("/registry/heartbeats", json={"beats": beats})).status_code

        assert [await send(team.beat(token=team.token), *wrong) for _ in range(5)] == [200, 200, 200, 429, 429]
        assert [await send(far), await send(far, *wrong)] == [200, 200]


async def test_a_full_queue_answers_503_and_what_waited_is_committed(
    team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another transaction holds the table: beats gather behind it."""
    monkeypatch.setattr(fast_path.beats, "capacity", 2)
    held, begun, release = (threading.Event() for _ in range(3))
    commit = heartbeats.commit

    def signalling_commit(beats: Any) -> Any:
        begun.set()
        return commit(beats)

    monkeypatch.setattr(heartbeats, "commit", signalling_commit)
    holding = asyncio.create_task(asyncio.to_thread(_hold, held, release))
    await asyncio.to_thread(held.wait, PATIENCE_SECONDS)
    async with agent(team.token) as client:

        async def beat(number: int) -> httpx.Response:
            return await client.post("/registry/heartbeat", json=team.beat(active_tasks=number))

        writing = asyncio.create_task(beat(1))
        await asyncio.to_thread(begun.wait, PATIENCE_SECONDS)
        waiting = [asyncio.create_task(beat(number)) for number in (2, 3)]
        while fast_path.beats.size < 2:
            await asyncio.sleep(0.01)
        refused = await beat(99)
        assert (refused.status_code, refused.headers["Retry-After"]) == (503, "2")
        assert "error" in refused.json()
        release.set()
        await holding
        assert [answer.status_code for answer in await asyncio.gather(writing, *waiting)] == [200, 200, 200]
    await database_sync_to_async(team.mine.refresh_from_db)()
    assert team.mine.active_tasks == 3


def _hold(held: threading.Event, release: threading.Event) -> None:
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("LOCK TABLE workspaces IN EXCLUSIVE MODE")
        held.set()
        release.wait(PATIENCE_SECONDS)
    connections.close_all()


async def test_an_unavailable_database_answers_503(team: Team, monkeypatch: pytest.MonkeyPatch) -> None:
    def down(*arguments: object) -> None:
        raise OperationalError("server closed the connection unexpectedly")

    monkeypatch.setattr(heartbeats, "_write", down)
    async with agent(team.token) as client:
        answer = await client.post("/registry/heartbeat", json=team.beat())
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "2")


async def test_requests_of_a_failed_batch_are_tried_one_by_one(team: Team, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unexpected error of one heartbeat must not fail the others."""
    write = heartbeats._write

    def poisoned(beats: Any) -> Any:
        if any(beat.current_task == "poison" for beat in beats):
            raise ValueError("cannot")
        return write(beats)

    monkeypatch.setattr(heartbeats, "_write", poisoned)
    async with agent(team.token) as client, agent(team.far_token) as other:
        answers = await asyncio.gather(
            client.post("/registry/heartbeat", json=team.beat(current_task="poison")),
            other.post("/registry/heartbeat", json={"workspace_id": str(team.far.id)}),
        )
    assert [answer.status_code for answer in answers] == [500, 200]


async def test_a_broken_connection_is_replaced(team: Team) -> None:
    async with agent(team.token) as client:
        assert (await client.post("/registry/heartbeat", json=team.beat())).status_code == 200
        backend = fast_path.beats.thread.submit(_backend_pid).result()
        await database_sync_to_async(_terminate)(backend)
        first = await client.post("/registry/heartbeat", json=team.beat())
        second = await client.post("/registry/heartbeat", json=team.beat())
    assert first.status_code in (200, 503)
    assert second.status_code == 200


async def test_a_database_that_goes_away_before_the_reason_is_read_is_reported_as_unavailable(team: Team) -> None:
    """The heartbeat is refused. The reason is read on another connection, which breaks while it waits."""
    presented = tokens.presented_token(team.gone_token)
    locked, release = threading.Event(), threading.Event()
    holding = asyncio.create_task(asyncio.to_thread(_hold_the_log, locked, release))
    await asyncio.to_thread(locked.wait, PATIENCE_SECONDS)
    asking = asyncio.create_task(fast_path.accept_beat(Beat(workspace_id=team.gone.id, token=presented), "10.0.0.1"))
    try:
        while not (pids := await asyncio.to_thread(_waiting_for_the_log)):
            assert not asking.done()
            await asyncio.sleep(0.01)
        await asyncio.to_thread(_terminate, *pids)
        assert (await asking) == {"error": "database unavailable, try again", "code": "unavailable"}
    finally:
        release.set()
        await holding


def _hold_the_log(locked: threading.Event, release: threading.Event) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("LOCK TABLE structure_events")
        locked.set()
        release.wait(PATIENCE_SECONDS)
    connections.close_all()


def _waiting_for_the_log() -> list[int]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pid FROM pg_locks WHERE NOT granted AND relation = 'structure_events'::regclass")
        pids = [pid for (pid,) in cursor.fetchall()]
    connections.close_all()
    return pids


def _backend_pid() -> int:
    return int(connection.connection.info.backend_pid)


def _terminate(pid: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])


async def test_activity_is_committed_when_it_is_answered(team: Team) -> None:
    async with agent(team.token) as client:
        entries = [{"activity_type": "agent_log", "summary": f"{n}", "metadata": {"n": n}} for n in range(20)]
        answers = await asyncio.gather(*(client.post(f"/workspaces/{team.mine.id}/activity", json=e) for e in entries))
        assert {answer.status_code for answer in answers} == {200}
    rows = await database_sync_to_async(
        lambda: list(ActivityLog.objects.values("summary", "request_body", "source_id"))
    )()
    assert sorted(int(row["summary"]) for row in rows) == list(range(20))
    assert all(row["request_body"] == {"n": int(row["summary"])} and row["source_id"] == team.mine.id for row in rows)


async def test_the_queue_of_reports_is_bounded_in_bytes(team: Team, monkeypatch: pytest.MonkeyPatch) -> None:
    """64 MiB wait while 16 MiB are written; more is refused, however few entries it has."""
    batches: list[list[Report]] = []
    begun, release = threading.Event(), threading.Event()

    def flush(given: list[Report]) -> list[bool]:
        begun.set()
        release.wait(PATIENCE_SECONDS)
        batches.append(given)
        return [True] * len(given)

    monkeypatch.setattr(fast_path.reports, "flush", flush)
    body = json.dumps({"activity_type": "agent_log", "metadata": "x" * (1024**2 - 100)})
    async with agent(team.token, Content_Type="application/json") as client:

        def sent(count: int) -> list["asyncio.Task[httpx.Response]"]:
            path = f"/workspaces/{team.mine.id}/activity"
            return [asyncio.create_task(client.post(path, content=body)) for _ in range(count)]

        answers = sent(1)
        await asyncio.to_thread(begun.wait, PATIENCE_SECONDS)
        answers += sent(70)
        async with asyncio.timeout(PATIENCE_SECONDS):
            while sum(answer.done() for answer in answers) < 6:
                await asyncio.sleep(0.01)
        release.set()
        statuses = [answer.status_code for answer in await asyncio.gather(*answers)]
    assert [statuses.count(200), statuses.count(503)] == [1 + 64, 6]
    assert max(map(len, batches)) == 16


async def test_the_largest_permitted_body_fits_into_the_queue(team: Team, settings: Any) -> None:
    settings.MAX_BODY_BYTES = 80 * 1024**2
    queue = fast_path.reports
    report = Report(team.mine.id, PresentedToken("", b""), [], settings.MAX_BODY_BYTES)
    assert queue.size_of(report) <= queue.capacity


async def test_discovery_follows_a_move_at_once(team: Team) -> None:
    async with agent(team.far_token) as client:
        path = f"/registry/discover/{team.top.id}"
        assert (await client.get(path)).status_code == 403
        await database_sync_to_async(workspaces.update)(team.far.id, {"parent_id": team.top.id}, actor="test")
        assert (await client.get(path)).json()["url"] == "http://top:1"
        await database_sync_to_async(workspaces.update)(team.far.id, {"parent_id": team.mine.id}, actor="test")
        assert (await client.get(path)).status_code == 403
