"""Refused credentials are counted on the workspace they were used for, and on no other."""

import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import OperationalError, connection, transaction
from django.utils import timezone
from prometheus_client import REGISTRY
from pytest_django import DjangoCaptureOnCommitCallbacks
from rest_framework.test import APIClient

from activity.outbox import Frame
from registry.identity import enrolment, refusals, tokens
from registry.liveness import heartbeats
from registry.liveness.heartbeats import Beat
from registry.models import Status, Workspace, WorkspaceToken
from registry.organisation import removal
from registry.organisation.audience import Teams
from registry.structure import rows
from tests.conftest import JSONClient, bearer
from tests.registry.racing import another_connection

Make = Callable[..., Workspace]
FIELDS = ("refused_at", "refused_count", "refused_reason", "refused_address")
NOTHING = (None, 0, None, None)
CARD = {"name": "a"}
UNKNOWN = "mol_ws_000000000000_" + "x" * 43


@pytest.fixture(autouse=True)
def _empty_buffer() -> Iterator[None]:
    refusals.BUFFER.take_all()
    yield
    refusals.BUFFER.take_all()


def token_of(workspace: Workspace, **columns: Any) -> str:
    issued = tokens.issue_workspace_token(workspace.id)
    WorkspaceToken.objects.filter(id=issued.id).update(**columns)
    return issued.text


CREDENTIALS: dict[str, Callable[[Workspace, Workspace], str]] = {
    "token revoked": lambda mine, other: token_of(mine, revoked_at=timezone.now()),
    "token expired": lambda mine, other: token_of(mine, expires_at=timezone.now() - timedelta(minutes=1)),
    "token of another workspace": lambda mine, other: token_of(other),
    "unknown token": lambda mine, other: UNKNOWN,
}
Send = Callable[[APIClient, str], Any]
REQUESTS: dict[str, Send] = {
    "heartbeat": lambda client, i: client.post("/registry/heartbeat", {"workspace_id": i}),
    "register": lambda client, i: client.post("/registry/register", {"id": i, "url": "http://a:1", "agent_card": CARD}),
    "update card": lambda client, i: client.post("/registry/update-card", {"workspace_id": i, "agent_card": CARD}),
    "activity": lambda client, i: client.post(f"/workspaces/{i}/activity", {"activity_type": "error"}),
    "secrets": lambda client, i: client.get(f"/workspaces/{i}/secrets/values"),
    "peers": lambda client, i: client.get(f"/registry/{i}/peers"),
    "state": lambda client, i: client.get(f"/workspaces/{i}/state"),
}


def refused(workspace: Workspace) -> tuple[Any, ...]:
    workspace.refresh_from_db()
    return tuple(getattr(workspace, name) for name in FIELDS)


@pytest.mark.parametrize("reason", CREDENTIALS)
@pytest.mark.parametrize("request_name", REQUESTS)
def test_a_refused_token_counts_on_the_workspace_that_is_named(
    request_name: str, reason: str, make_workspace: Make
) -> None:
    mine, other = make_workspace("mine"), make_workspace("other")
    client = bearer(CREDENTIALS[reason](mine, other))
    for _ in range(2):
        assert REQUESTS[request_name](client, str(mine.id)).status_code in (401, 403)
    assert refused(mine) == NOTHING, "requests write nothing themselves"
    refusals.flush()
    at, *rest = refused(mine)
    assert rest == [2, reason, "127.0.0.1"]
    assert abs(at - timezone.now()) < timedelta(minutes=1)
    assert refused(other) == NOTHING


def test_counts_add_up_and_the_last_refusal_is_shown(make_workspace: Make) -> None:
    mine = make_workspace()
    for reason in ("token revoked", "unknown token"):
        REQUESTS["heartbeat"](bearer(CREDENTIALS[reason](mine, mine)), str(mine.id))
        REQUESTS["heartbeat"](JSONClient(), str(mine.id))
        refusals.flush()
        REQUESTS["heartbeat"](bearer(CREDENTIALS[reason](mine, mine)), str(mine.id))
        refusals.flush()
        assert refused(mine)[2] == reason
    assert refused(mine)[1] == 6


def test_a_spent_enrolment_token_counts(make_workspace: Make) -> None:
    mine, other = make_workspace("mine"), make_workspace("other")
    client = bearer(enrolment.issue(mine.id).token)
    answer = REQUESTS["register"](client, str(mine.id))
    assert answer.status_code == 200
    assert bearer(answer.json()["auth_token"]).get(f"/workspaces/{mine.id}/state").status_code == 200
    assert REQUESTS["register"](client, str(mine.id)).status_code == 401
    assert REQUESTS["register"](bearer(enrolment.issue(other.id).token), str(mine.id)).status_code == 403
    refusals.flush()
    assert refused(mine)[1:3] == (2, "token of another workspace")


def test_a_heartbeat_without_a_token_counts_and_no_other_request(make_workspace: Make) -> None:
    mine = make_workspace()
    for name, send in REQUESTS.items():
        assert send(JSONClient(), str(mine.id)).status_code == 401, name
    refusals.flush()
    assert refused(mine)[1:3] == (1, "no token")


def test_each_heartbeat_of_a_batch_counts_for_itself(make_workspace: Make) -> None:
    reasons = [*CREDENTIALS, "no token"]
    workspaces = {reason: make_workspace(reason) for reason in reasons}
    other, good = make_workspace("other"), make_workspace("good")
    beats = [
        {"workspace_id": str(workspaces[reason].id), "token": text(workspaces[reason], other)}
        for reason, text in CREDENTIALS.items()
    ]
    beats += [{"workspace_id": str(workspaces["no token"].id)}, {"workspace_id": str(good.id), "token": token_of(good)}]
    JSONClient().post("/registry/heartbeats", {"beats": beats})
    refusals.flush()
    assert {name: refused(row)[1:3] for name, row in workspaces.items()} == {name: (1, name) for name in reasons}
    assert refused(other) == refused(good) == NOTHING


@pytest.mark.parametrize("path", ["/registry/discover/{}", "/workspaces/{}"])
def test_on_routes_about_other_workspaces_the_tokens_own_workspace_counts(path: str, make_workspace: Make) -> None:
    mine, far = make_workspace("mine"), make_workspace("far", parent_id=make_workspace("top").id)
    assert bearer(token_of(mine, revoked_at=timezone.now())).get(path.format(far.id)).status_code == 401
    assert bearer(token_of(far)).get(path.format(mine.id)).status_code == 403, "a valid token, but no peer"
    refusals.flush()
    assert refused(mine)[1:3] == (1, "token revoked")
    assert refused(far) == NOTHING


def test_a_header_that_names_another_workspace_counts_on_that_one(make_workspace: Make) -> None:
    mine, named, target = make_workspace("mine"), make_workspace("named"), make_workspace("target")
    client = bearer(token_of(mine))
    assert client.get(f"/registry/discover/{target.id}", headers={"X-Workspace-ID": str(named.id)}).status_code == 403
    refusals.flush()
    assert refused(named)[1:3] == (1, "token of another workspace")
    assert refused(mine) == refused(target) == NOTHING


@pytest.mark.parametrize(
    "header", ["Basic abc", "Bearer nonsense", "Bearer mol_ws_short_x", "Bearer mol_op_000000000000_" + "x" * 43]
)
def test_malformed_and_operators_tokens_do_not_count(header: str, make_workspace: Make) -> None:
    mine = make_workspace()
    client = JSONClient()
    client.credentials(HTTP_AUTHORIZATION=header)
    assert REQUESTS["heartbeat"](client, str(mine.id)).status_code == 401
    assert not refusals.BUFFER.pending


def test_a_good_token_that_is_refused_for_something_else_does_not_count(make_workspace: Make) -> None:
    mine = make_workspace()
    body = {"activity_type": "error", "source_id": str(uuid4())}
    assert bearer(token_of(mine)).post(f"/workspaces/{mine.id}/activity", body).status_code == 403
    assert bearer(token_of(mine)).patch(f"/workspaces/{mine.id}", {"name": "x"}).status_code == 403
    refusals.flush()
    assert refused(mine) == NOTHING


def test_unknown_workspaces_leave_nothing(make_workspace: Make) -> None:
    make_workspace("somebody else")
    before = counted()
    for _ in range(3):
        REQUESTS["heartbeat"](bearer(UNKNOWN), str(uuid4()))
        REQUESTS["heartbeat"](JSONClient(), str(uuid4()))
        bearer(UNKNOWN).get("/workspaces")
    refusals.flush()
    assert not refusals.BUFFER.pending
    assert not Workspace.objects.exclude(refused_at=None).exists()
    assert Workspace.objects.count() == 1
    assert counted() == before


def counted() -> dict[str, float]:
    return {
        reason: REGISTRY.get_sample_value("molecule_refused_total", {"reason": reason}) or 0.0
        for reason in [*CREDENTIALS, "no token", "dropped"]
    }


def test_removed_workspaces_are_untouched(make_workspace: Make) -> None:
    gone = make_workspace()
    text = token_of(gone)
    removal.remove(gone.id, actor="test", confirm=True)
    REQUESTS["heartbeat"](bearer(text), str(gone.id))
    REQUESTS["peers"](bearer(text), str(gone.id))
    REQUESTS["heartbeat"](JSONClient(), str(gone.id))
    refusals.flush()
    assert refused(gone) == NOTHING
    assert gone.status == Status.REMOVED


def test_ten_thousand_unknown_workspaces_stay_within_the_bound(make_workspace: Make) -> None:
    mine, before = make_workspace(), counted()
    refusals.note(mine.id, None, "10.0.0.1")
    for _ in range(10_000):
        refusals.note(uuid4(), None, "10.0.0.1")
    refusals.note(mine.id, None, "10.0.0.2")
    assert len(refusals.BUFFER.pending) == refusals.CAPACITY
    refusals.flush()
    assert refused(mine)[1:] == (2, "no token", "10.0.0.2")
    grown = {reason: count - before[reason] for reason, count in counted().items() if count != before[reason]}
    assert grown == {"no token": 2.0, "dropped": 10_001.0 - refusals.CAPACITY}


def test_the_address_is_that_of_the_client_and_is_safe_to_show(make_workspace: Make, settings: Any) -> None:
    mine = make_workspace()
    settings.PROXY_ADDRESSES = 1
    client = JSONClient()
    for forwarded, shown in (("1.1.1.1, 2.2.2.2", "2.2.2.2"), ("\u202e\x01<b>" + "x" * 500, "\\u202e\\x01<b>")):
        client.post("/registry/heartbeat", {"workspace_id": str(mine.id)}, HTTP_X_FORWARDED_FOR=forwarded)
        refusals.flush()
        assert refused(mine)[3].startswith(shown)
    assert len(refused(mine)[3]) == refusals.MAX_ADDRESS


def test_a_good_heartbeat_clears_it_and_publishes_that_once(
    make_workspace: Make,
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
    broadcasts: Callable[[], list[dict[str, Any]]],
) -> None:
    mine = make_workspace(status="online")
    with django_capture_on_commit_callbacks(execute=True):
        refusals.note(mine.id, None, "10.0.0.1")
        refusals.flush()
    for _ in range(2):
        with django_capture_on_commit_callbacks(execute=True):
            heartbeats.flush([Beat(workspace_id=mine.id)])
    assert refused(mine) == NOTHING
    told = [message for message in broadcasts() if message["event"] == "WORKSPACE_REFUSED"]
    assert [message["seq"] for message in told] == [None, None]
    first, second = (message["payload"]["last_refusal"] for message in told)
    assert {**first, "at": None} == {"at": None, "count": 1, "reason": "no token", "address": "10.0.0.1"}
    assert second is None


def test_refusals_from_before_the_last_heartbeat_are_not_written(make_workspace: Make) -> None:
    mine = make_workspace(status="online")
    five_seconds_ago = refusals.Refusals(1, time.monotonic() - 5, "10.0.0.1")
    refusals.BUFFER.add({refusals.Attempt(mine.id, None): five_seconds_ago})
    heartbeats.flush([Beat(workspace_id=mine.id)])
    refusals.flush()
    assert refused(mine) == NOTHING
    refusals.note(mine.id, None, "10.0.0.2")
    refusals.flush()
    assert refused(mine)[1:] == (1, "no token", "10.0.0.2")


def test_a_registration_clears_it(
    make_workspace: Make, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks, broadcasts: Any
) -> None:
    mine = make_workspace()
    refusals.note(mine.id, None, "10.0.0.1")
    refusals.flush()
    with django_capture_on_commit_callbacks(execute=True):
        assert REQUESTS["register"](bearer(enrolment.issue(mine.id).token), str(mine.id)).status_code == 200
    assert refused(mine) == NOTHING
    told = [message["payload"] for message in broadcasts() if message["event"] == "WORKSPACE_REFUSED"]
    assert told == [{"last_refusal": None}]


def test_a_heartbeat_with_nothing_to_clear_costs_no_query_more(
    make_workspace: Make, django_assert_num_queries: Any
) -> None:
    plain, marked = make_workspace(status="online"), make_workspace(status="online")
    refusals.note(marked.id, None, "10.0.0.1")
    refusals.flush()
    with django_assert_num_queries(2):  # the savepoint, as the test is in a transaction
        heartbeats.commit([Beat(workspace_id=plain.id)])
    with django_assert_num_queries(2):
        heartbeats.commit([Beat(workspace_id=marked.id)])


@pytest.mark.django_db(transaction=True)
def test_a_locked_workspace_is_neither_waited_for_nor_forgotten(make_workspace: Make) -> None:
    held, free = make_workspace("held"), make_workspace("free")
    for one in (held, free):
        refusals.note(one.id, None, "10.0.0.1")
    with transaction.atomic():
        rows.lock([held.id])
        with another_connection():
            refusals.flush()
            refusals.note(held.id, None, "10.0.0.2")
            refusals.flush()
        assert (refused(held)[1], refused(free)[1]) == (0, 1)
    refusals.flush()
    assert refused(held)[1:] == (2, "no token", "10.0.0.2")
    assert refused(free)[1] == 1


def test_while_the_database_is_unavailable_the_buffer_keeps_its_refusals(
    make_workspace: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = make_workspace()

    def unavailable(*arguments: object) -> None:
        raise OperationalError("server closed the connection unexpectedly")

    refusals.note(mine.id, None, "10.0.0.1")
    with monkeypatch.context() as patched:
        patched.setattr(connection, "ensure_connection", unavailable)
        with pytest.raises(OperationalError):
            refusals.flush()
    refusals.note(mine.id, None, "10.0.0.2")
    refusals.flush()
    assert refused(mine)[1:] == (2, "no token", "10.0.0.2")


def test_only_operators_see_it(make_workspace: Make, as_viewer: APIClient) -> None:
    mine = make_workspace("mine")
    child = make_workspace("child", parent_id=mine.id)
    refusals.note(mine.id, None, "10.0.0.1")
    refusals.flush()
    at, count, reason, address = refused(mine)
    listed = {row["id"]: row["last_refusal"] for row in as_viewer.get("/workspaces").json()}
    shown = listed[str(mine.id)]
    assert listed[str(child.id)] is None
    assert {**shown, "at": at} == {"at": at, "count": count, "reason": reason, "address": address}
    assert shown["at"] == at.isoformat().replace("+00:00", "Z")
    assert as_viewer.get(f"/workspaces/{mine.id}").json()["last_refusal"] == shown
    snapshot = as_viewer.get("/canvas/snapshot").json()
    assert {row["id"]: row["last_refusal"] for row in snapshot["workspaces"]} == listed
    past = as_viewer.get("/canvas/snapshot", {"at": snapshot["seq"]}).json()["workspaces"]
    assert [row["last_refusal"] for row in past] == [None, None]
    for who in (mine, child):
        answer = bearer(token_of(who)).get(f"/workspaces/{mine.id}")
        assert answer.status_code == 200
        assert "last_refusal" not in answer.json()


def test_the_event_is_for_canvases_only(make_workspace: Make) -> None:
    mine = make_workspace()
    teams = Teams()
    teams.load()
    own = str(mine.id)
    assert teams.groups_for(frame("TASK_UPDATED", mine.id)) == (None, own)
    assert teams.groups_for(frame("WORKSPACE_REFUSED", mine.id)) == ()


def frame(event: str, workspace_id: UUID) -> Frame:
    return Frame(seq=None, event=event, workspace_id=str(workspace_id), text="{}")
