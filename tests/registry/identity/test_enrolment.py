"""Enrolment: who may register, until when, and what operators see of it."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.conf import settings
from django.utils import timezone
from rest_framework.test import APIClient

from activity.bus import rfc3339
from activity.models import StructureEvent
from registry.identity import enrolment, tokens
from registry.models import TokenKind, Workspace, WorkspaceToken
from registry.organisation import rebuild, removal
from tests.conftest import bearer
from tests.registry.racing import together

Make = Callable[..., Workspace]
CARD = {"name": "Agent"}


def expiry_of(workspace: Workspace) -> datetime | None:
    return Workspace.objects.get(id=workspace.id).enrolment_expires_at


def register(workspace: Workspace, token: str) -> int:
    return int(bearer(token).post("/registry/register", registration(workspace)).status_code)


def registration(workspace: Workspace) -> dict[str, Any]:
    return {"id": str(workspace.id), "url": "http://a:1", "agent_card": CARD}


def beats(workspace: Workspace, token: str) -> int:
    return int(bearer(token).post("/registry/heartbeat", {"workspace_id": str(workspace.id)}).status_code)


def shown(client: APIClient, workspace: Workspace) -> list[Any]:
    """The field in the list, of the one, and in the canvas snapshot."""
    path = f"/workspaces/{workspace.id}"
    rows = [client.get("/workspaces").json(), client.get("/canvas/snapshot").json()["workspaces"]]
    found = [row for listed in rows for row in listed if row["id"] == str(workspace.id)]
    return [row["enrolment_expires_at"] for row in [*found, client.get(path).json()]]


def test_the_commands_that_connect_an_agent_have_the_token_only_when_it_is_issued(
    as_operator: APIClient, make_workspace: Make
) -> None:
    workspace = make_workspace(name='It\'s "me"')
    before = as_operator.get(f"/workspaces/{workspace.id}/connection").json()
    issued = as_operator.post(f"/workspaces/{workspace.id}/enrolment").json()
    for command in ("curl_register_template", "python_snippet"):
        assert str(workspace.id) in before[command]
        assert before[command].count("ENROLMENT_TOKEN") == 1
        assert before[command].replace("ENROLMENT_TOKEN", issued["enrolment_token"]) == issued["connection"][command]


def test_a_new_token_replaces_the_former_one(as_operator: APIClient, make_workspace: Make) -> None:
    workspace = make_workspace()
    path = f"/workspaces/{workspace.id}/enrolment"
    first, second = as_operator.post(path), as_operator.post(path)
    assert [answer.status_code for answer in (first, second)] == [201, 201]
    assert set(second.json()) == {"enrolment_token", "expires_at", "connection"}
    left = datetime.fromisoformat(second.json()["expires_at"]) - timezone.now()
    assert left.total_seconds() == pytest.approx(settings.ENROLMENT_TOKEN_SECONDS, abs=10)
    assert register(workspace, first.json()["enrolment_token"]) == 401
    assert Workspace.objects.get().status == "provisioning"
    assert register(workspace, second.json()["enrolment_token"]) == 200
    assert Workspace.objects.get().status == "online"


def test_agent_tokens_and_other_workspaces_keep_theirs(make_workspace: Make, as_workspace: Any) -> None:
    one, other = make_workspace(), make_workspace()
    agent, elsewhere = as_workspace(one), enrolment.issue(other.id)
    enrolment.issue(one.id)
    assert agent.post("/registry/heartbeat", {"workspace_id": str(one.id)}).status_code == 200
    assert register(other, elsewhere.token) == 200


def test_the_unknown_and_the_removed_get_none(as_operator: APIClient, make_workspace: Make) -> None:
    assert as_operator.post(f"/workspaces/{uuid4()}/enrolment").status_code == 404
    gone = make_workspace()
    removal.remove(gone.id, actor="test", confirm=True)
    assert as_operator.post(f"/workspaces/{gone.id}/enrolment").status_code == 410
    assert not WorkspaceToken.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_of_two_issued_at_once_one_is_good(make_workspace: Make) -> None:
    workspace = make_workspace()
    issued: list[enrolment.Enrolment] = []
    together(*[lambda: issued.append(enrolment.issue(workspace.id))] * 2)
    assert WorkspaceToken.objects.filter(revoked_at=None).count() == 1
    assert sorted(register(workspace, one.token) for one in issued) == [200, 401]


def test_the_expiry_is_shown_also_when_it_is_past(
    as_operator: APIClient, as_viewer: APIClient, make_workspace: Make
) -> None:
    workspace = make_workspace()
    assert shown(as_viewer, workspace) == [None] * 3
    expires_at = as_operator.post(f"/workspaces/{workspace.id}/enrolment").json()["expires_at"]
    assert shown(as_viewer, workspace) == [expires_at] * 3
    Workspace.objects.update(enrolment_expires_at="2020-01-31T12:00:00.5Z")
    assert shown(as_viewer, workspace) == ["2020-01-31T12:00:00.500000Z"] * 3


def test_creating_shows_when_its_token_expires(as_operator: APIClient) -> None:
    as_operator.post("/workspaces", {"name": "new"})
    workspace = Workspace.objects.get()
    assert shown(as_operator, workspace)[0] is not None
    assert workspace.enrolment_expires_at == WorkspaceToken.objects.get().expires_at


def test_only_operators_see_it(make_workspace: Make, as_workspace: Any) -> None:
    parent = make_workspace()
    child = make_workspace(parent_id=parent.id)
    enrolment.issue(child.id)
    for reader in (child, parent):
        row = as_workspace(reader).get(f"/workspaces/{child.id}").json()
        assert row["id"] == str(child.id)
        assert "enrolment_expires_at" not in row
    for peer in as_workspace(parent).get(f"/registry/{parent.id}/peers").json():
        assert "enrolment_expires_at" not in peer


@pytest.mark.django_db(transaction=True)
def test_the_past_and_replay_know_nothing_of_it(as_operator: APIClient, make_workspace: Make) -> None:
    workspace = make_workspace()
    before = StructureEvent.objects.count()
    as_operator.post(f"/workspaces/{workspace.id}/enrolment")
    assert StructureEvent.objects.count() == before
    (past,) = as_operator.get("/canvas/snapshot?at=999999999").json()["workspaces"]
    assert past["enrolment_expires_at"] is None
    assert rebuild.check() == []


@pytest.mark.django_db(transaction=True)
def test_revoking_its_token_ends_an_enrolment(
    make_workspace: Make, make_user: Any, as_workspace: Any, broadcasts: Callable[[], list[dict[str, Any]]]
) -> None:
    workspace = make_workspace()
    issued = enrolment.issue(workspace.id)
    agent = as_workspace(workspace)
    administrator = bearer(tokens.issue_operator_token(make_user("administrator")))
    path = f"/workspaces/{workspace.id}/tokens"
    ids = {row["kind"]: row["id"] for row in administrator.get(path).json()["tokens"]}
    assert administrator.delete(f"{path}/{ids['agent']}").status_code == 200
    assert expiry_of(workspace) == issued.expires_at
    assert administrator.delete(f"{path}/{ids['enrolment']}").status_code == 200
    ended = expiry_of(workspace)
    assert ended is not None
    assert ended <= timezone.now()
    assert broadcasts()[-1]["payload"] == {"enrolment_expires_at": rfc3339(ended)}
    assert agent.post("/registry/heartbeat", {"workspace_id": str(workspace.id)}).status_code == 401


def test_the_first_use_of_a_token_ends_all_others(make_workspace: Make) -> None:
    """There are several where tokens were issued before the newest one replaced the others."""
    workspace = make_workspace()
    one, other = (
        tokens.issue("mol_en", workspace.id, kind=TokenKind.ENROLMENT, expires_at=timezone.now() + timedelta(hours=1))
        for _ in range(2)
    )
    assert register(workspace, one.text) == 200
    assert register(workspace, other.text) == 401
    assert WorkspaceToken.objects.filter(revoked_at=None).count() == 1, "the agent's own"


def test_only_live_tokens_are_listed(make_workspace: Make, as_workspace: Any) -> None:
    workspace = make_workspace()
    agent = as_workspace(workspace)
    past, soon = (timezone.now() + timedelta(hours=hours) for hours in (-1, 1))
    for text, expires_at in (("past", past), ("soon", soon)):
        tokens.issue_workspace_token(workspace.id, label=text, expires_at=expires_at)
    enrolment.issue(workspace.id)
    WorkspaceToken.objects.filter(kind="enrolment").update(expires_at=past)
    listed = agent.get(f"/workspaces/{workspace.id}/tokens").json()["tokens"]
    assert {row["label"] for row in listed} == {"", "soon"}
    assert {row["kind"] for row in listed} == {"agent"}


def test_a_registration_whose_answer_was_lost_can_be_repeated(make_workspace: Make) -> None:
    workspace = make_workspace()
    client, issued = bearer(enrolment.issue(workspace.id).token), []
    for _ in range(3):
        answer = client.post("/registry/register", registration(workspace))
        assert answer.status_code == 200
        issued.append(answer.json()["auth_token"])
    assert [beats(workspace, token) for token in issued] == [401, 401, 200]
    events = StructureEvent.objects.filter(event_type="WORKSPACE_ONLINE").count()
    assert events == 1, "nothing has changed"
    assert client.post("/registry/register", registration(workspace)).status_code == 401, "that answer was not lost"
    assert beats(workspace, issued[-1]) == 200


def test_after_a_minute_an_enrolment_cannot_be_repeated(make_workspace: Make) -> None:
    workspace = make_workspace()
    text = enrolment.issue(workspace.id).token
    token = bearer(text).post("/registry/register", registration(workspace)).json()["auth_token"]
    WorkspaceToken.objects.filter(kind="enrolment").update(revoked_at=timezone.now() - timedelta(seconds=61))
    assert register(workspace, text) == 401
    assert beats(workspace, token) == 200


def test_an_enrolment_that_was_revoked_cannot_be_repeated(make_workspace: Make, make_user: Any) -> None:
    workspace = make_workspace()
    replaced, used = enrolment.issue(workspace.id).token, enrolment.issue(workspace.id).token
    administrator = bearer(tokens.issue_operator_token(make_user("administrator")))
    assert register(workspace, used) == 200
    assert register(workspace, replaced) == 401
    path = f"/workspaces/{workspace.id}/tokens"
    (agent,) = administrator.get(path).json()["tokens"]
    assert administrator.delete(f"{path}/{agent['id']}").status_code == 200
    assert register(workspace, used) == 401, "an operator has ended it"


@pytest.mark.django_db(transaction=True)
def test_of_repetitions_at_once_one_token_is_good(make_workspace: Make) -> None:
    workspace = make_workspace()
    text = enrolment.issue(workspace.id).token
    answers: list[int] = []
    together(*[lambda: answers.append(register(workspace, text))] * 4)
    assert 200 in answers
    assert WorkspaceToken.objects.filter(kind="agent", revoked_at=None).count() == 1


@pytest.mark.parametrize("way", ["enrolment", "agent token", "open"])
def test_registering_ends_the_waiting(
    anonymous: APIClient, as_workspace: Any, make_workspace: Make, settings: Any, way: str
) -> None:
    settings.MOLECULE_ENROLMENT = "open"
    workspace = make_workspace()
    issued = enrolment.issue(workspace.id)
    clients = {"enrolment": lambda: bearer(issued.token), "agent token": lambda: as_workspace(workspace)}
    client = clients.get(way, lambda: anonymous)()
    body = {"id": str(workspace.id), "url": "http://a:1", "agent_card": CARD}
    assert client.post("/registry/register", body).status_code == 200
    assert expiry_of(workspace) is None
    if way != "enrolment":
        taken_over = body | {"url": "http://intruder:1"}
        assert bearer(issued.token).post("/registry/register", taken_over).status_code == 401
    assert not WorkspaceToken.objects.filter(kind="enrolment", revoked_at=None).exists()
    assert Workspace.objects.get().url == "http://a:1"


def test_removal_ends_it_for_the_whole_team(make_workspace: Make) -> None:
    top = make_workspace()
    child = make_workspace(parent_id=top.id)
    for one in (top, child):
        enrolment.issue(one.id)
    removal.remove(top.id, actor="test", confirm=True)
    assert (expiry_of(top), expiry_of(child)) == (None, None)


def test_a_refused_registration_changes_nothing(make_workspace: Make) -> None:
    workspace = make_workspace()
    issued = enrolment.issue(workspace.id)
    past = timezone.now() - timedelta(seconds=1)
    WorkspaceToken.objects.update(expires_at=past)
    Workspace.objects.update(enrolment_expires_at=past)
    assert register(workspace, issued.token) == 401
    assert expiry_of(workspace) == past
    assert Workspace.objects.get().status == "provisioning"


@pytest.mark.django_db(transaction=True)
def test_canvases_are_told_of_each_change(
    as_operator: APIClient, broadcasts: Callable[[], list[dict[str, Any]]]
) -> None:
    """After the workspace itself, so that they know whom it is about."""
    created = as_operator.post("/workspaces", {"name": "new"}).json()
    workspace = Workspace.objects.get()
    first = shown(as_operator, workspace)[0]
    renewed = as_operator.post(f"/workspaces/{created['id']}/enrolment").json()
    assert register(workspace, renewed["enrolment_token"]) == 200
    told = [(one["event"], one["seq"] is None, one["payload"].get("enrolment_expires_at")) for one in broadcasts()]
    expected = [
        ("WORKSPACE_PROVISIONING", False, None),
        ("ENROLMENT_UPDATED", True, first),
        ("ENROLMENT_UPDATED", True, renewed["expires_at"]),
        ("ENROLMENT_UPDATED", True, None),
    ]
    assert [one for one in told if one[0] != "WORKSPACE_ONLINE"] == expected
