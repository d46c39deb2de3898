"""An agent may read secret values if the operator who enrolled it has the permission to reveal them."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.test import Client
from django.utils import timezone
from rest_framework.test import APIClient

from registry.identity import tokens
from registry.models import SecretAccess, Workspace, WorkspaceToken
from registry.secrets import store
from tests.conftest import JSONClient, bearer
from tests.registry.admin.pages import url_of

Make = Callable[..., Workspace]
CANARY = "canary-5f1d9c7a"


@pytest.fixture(autouse=True)
def _shared(db: None) -> None:
    store.set_for_all("SHARED", CANARY, actor="test")


def enrolled(token: str, workspace_id: Any) -> str:
    """The workspace token that an agent gets for an enrolment token."""
    body = {"id": str(workspace_id), "url": "http://a:1", "agent_card": {"name": "a"}}
    answer = bearer(token).post("/registry/register", body)
    assert answer.status_code == 200, answer.content
    return str(answer.json()["auth_token"])


def values(token: str, workspace_id: Any) -> Any:
    return bearer(token).get(f"/workspaces/{workspace_id}/secrets/values")


def created_by(client: APIClient) -> tuple[str, str]:
    answer = client.post("/workspaces", {"name": "mine"}).json()
    return answer["id"], answer["enrolment_token"]


def test_an_operator_reads_no_secret_through_a_workspace_of_their_own(as_operator: APIClient) -> None:
    own, enrolment_token = created_by(as_operator)
    token = enrolled(enrolment_token, own)
    rotated = bearer(token).post(f"/workspaces/{own}/tokens", {}).json()["auth_token"]
    for each in (token, rotated):
        answer = values(each, own)
        assert answer.status_code == 403
        assert "An administrator can allow it" in answer.json()["error"]
        assert CANARY not in answer.content.decode()
    listed = bearer(token).get(f"/workspaces/{own}/tokens").json()["tokens"]
    assert [each["may_reveal"] for each in listed] == [False, False]
    assert as_operator.post(f"/workspaces/{own}/reveal-secrets").status_code == 403
    assert bearer(token).post(f"/workspaces/{own}/reveal-secrets").status_code == 403


def test_an_operator_cannot_enrol_an_agent_that_may(
    as_operator: APIClient, as_administrator: APIClient, make_workspace: Make
) -> None:
    own, enrolment_token = created_by(as_administrator)
    theirs = enrolled(enrolment_token, own)
    again = as_operator.post(f"/workspaces/{own}/enrolment").json()["enrolment_token"]
    assert values(enrolled(again, own), own).status_code == 403
    assert values(theirs, own).json() == {"SHARED": CANARY}


def test_an_administrator_enrols_agents_that_may(as_administrator: APIClient) -> None:
    own, enrolment_token = created_by(as_administrator)
    token = enrolled(enrolment_token, own)
    rotated = bearer(token).post(f"/workspaces/{own}/tokens", {}).json()["auth_token"]
    later = enrolled(as_administrator.post(f"/workspaces/{own}/enrolment").json()["enrolment_token"], own)
    issued = as_administrator.post(f"/workspaces/{own}/tokens", {}).json()["auth_token"]
    for each in (token, rotated, later, issued):
        assert values(each, own).json() == {"SHARED": CANARY}


def test_an_administrator_allows_it_for_a_workspace(as_operator: APIClient, as_administrator: APIClient) -> None:
    own, enrolment_token = created_by(as_operator)
    other, other_token = created_by(as_operator)
    token, foreign = enrolled(enrolment_token, own), enrolled(other_token, other)
    expired = tokens.issue_workspace_token(Workspace.objects.get(id=own).id)
    WorkspaceToken.objects.filter(id=expired.id).update(expires_at=timezone.now() - timedelta(seconds=1))
    for _ in range(2):
        answer = as_administrator.post(f"/workspaces/{own}/reveal-secrets")
        assert (answer.status_code, answer.json()) == (200, {"status": "allowed", "tokens": 1})
    assert values(token, own).json() == {"SHARED": CANARY}
    rotated = bearer(token).post(f"/workspaces/{own}/tokens", {}).json()["auth_token"]
    assert values(rotated, own).status_code == 200
    assert values(foreign, other).status_code == 403
    assert not WorkspaceToken.objects.get(id=expired.id).may_reveal
    noted = SecretAccess.objects.filter(action="allowed").latest("id")
    assert (str(noted.workspace_id), noted.keys) == (own, ["SHARED"])
    assert noted.actor.startswith("operator:administrator")


def test_an_agent_that_waits_to_enrol_can_be_allowed(as_operator: APIClient, as_administrator: APIClient) -> None:
    own, enrolment_token = created_by(as_operator)
    assert as_administrator.post(f"/workspaces/{own}/reveal-secrets").status_code == 200
    assert values(enrolled(enrolment_token, own), own).status_code == 200


def test_a_workspace_without_tokens_has_nothing_to_allow(as_administrator: APIClient, make_workspace: Make) -> None:
    answer = as_administrator.post(f"/workspaces/{make_workspace().id}/reveal-secrets")
    assert answer.status_code == 409
    assert "enrolment token" in answer.json()["error"]


def test_open_enrolment_reveals_nothing_but_open_mode_does(
    anonymous: APIClient, make_workspace: Make, settings: Any
) -> None:
    settings.MOLECULE_ENROLMENT = "open"
    own, other = make_workspace().id, make_workspace().id
    body = {"url": "http://a:1", "agent_card": {"name": "a"}}
    token = anonymous.post("/registry/register", {"id": str(own), **body}).json()["auth_token"]
    assert values(token, own).status_code == 403
    settings.MOLECULE_OPEN = True
    assert values(token, own).status_code == 200
    free = JSONClient()
    token = free.post("/registry/register", {"id": str(other), **body}).json()["auth_token"]
    settings.MOLECULE_OPEN = False
    assert values(token, other).status_code == 200


def test_the_permission_is_the_administrators(db: None) -> None:
    found = Permission.objects.get(codename="reveal_secrets", content_type__app_label="registry")
    assert [group.name for group in Group.objects.filter(permissions=found)] == ["administrators"]
    boss = User.objects.create_superuser("boss")
    assert tokens.principal_for_user(boss).may_reveal
    boss.is_active = False
    assert not tokens.principal_for_user(boss).may_reveal


def test_the_admin_has_the_verb_for_those_who_may(
    make_user: Callable[..., User], as_operator: APIClient, client: Client
) -> None:
    own, enrolment_token = created_by(as_operator)
    token = enrolled(enrolment_token, own)
    workspace = Workspace.objects.get(id=own)
    page = f"/admin/registry/workspace/{own}/change/"
    for level, status, shown in (("operator", 403, False), ("administrator", 302, True)):
        client.force_login(make_user(level))
        assert (url_of("reveal", workspace) in client.get(page).content.decode()) == shown
        assert client.get(url_of("reveal", workspace)).status_code == (405 if shown else 403)
        assert client.post(url_of("reveal", workspace)).status_code == status
    assert values(token, own).status_code == 200
    assert url_of("reveal", workspace) not in client.get(page).content.decode(), "it is allowed already"


def test_enrolment_tokens_from_the_admin_follow_the_same_rule(
    make_user: Callable[..., User], make_workspace: Make, client: Client
) -> None:
    for level, may in (("operator", False), ("administrator", True)):
        client.force_login(make_user(level))
        workspace = make_workspace()
        assert client.post(url_of("connect", workspace)).status_code == 302
        assert WorkspaceToken.objects.get(workspace=workspace).may_reveal == may
