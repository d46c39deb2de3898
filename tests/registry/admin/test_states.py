"""What the list and a workspace's page show of its state, its refused requests and the problems of its card."""

from datetime import timedelta

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from registry.identity import enrolment, refusals, tokens
from registry.models import Status, Workspace
from tests.registry.admin.pages import WORKSPACES, Make, change_url, confirmation_url, url_of

BAD_CARD = {"name": "Scout", "url": "javascript:alert(1)", "skills": [{}]}
PROBLEMS = ["url: must be an http(s) URL", "skills[0]: has neither id nor name."]


def pages_of(workspace: Workspace) -> list[str]:
    return [reverse(WORKSPACES), change_url(workspace), confirmation_url("remove", workspace)]


def let_enrolment_expire(workspace: Workspace) -> None:
    enrolment.issue(workspace.id)
    Workspace.objects.filter(id=workspace.id).update(enrolment_expires_at=timezone.now() - timedelta(seconds=1))


def refuse(workspace: Workspace, times: int) -> None:
    """The workspace's agent is refused `times` times, with a token that was revoked."""
    issued = tokens.issue_workspace_token(workspace.id)
    tokens.revoke_token(workspace.id, issued.id)
    for _ in range(times):
        refusals.note(workspace.id, tokens.presented_token(issued.text), "10.0.0.1")
    refusals.flush()


def test_a_workspace_without_an_agent_awaits_one(root: Client, make_workspace: Make) -> None:
    workspace = make_workspace("New")
    for url in pages_of(workspace):
        assert ">Awaiting agent</span>" in root.get(url).content.decode(), url
    filters = root.get(reverse(WORKSPACES)).content.decode()
    assert ">Awaiting agent</a>" in filters
    assert "Provisioning" not in filters


def test_an_expired_enrolment_is_shown_and_a_new_token_is_offered_first(root: Client, make_workspace: Make) -> None:
    workspace = make_workspace("New")
    let_enrolment_expire(workspace)
    for url in pages_of(workspace):
        assert ">Enrolment expired</span>" in root.get(url).content.decode(), url
    shown = root.get(change_url(workspace))
    assert shown.context["header"].toolbar.primary.title == "Connect its agent"
    assert "no agent has registered" in shown.content.decode()


@pytest.mark.parametrize("status", sorted(set(Status) - {Status.PROVISIONING}))
def test_other_states_have_the_label_of_the_status(root: Client, make_workspace: Make, status: Status) -> None:
    workspace = make_workspace("Any", status=status)
    badge = f'<span class="badge badge-{status}">{status.label}</span>'
    assert badge in root.get(reverse(WORKSPACES), {"state": "all"}).content.decode()
    assert badge in root.get(change_url(workspace)).content.decode()


def test_refused_requests_are_shown_until_a_good_one(root: Client, viewer: Client, make_workspace: Make) -> None:
    workspace, other = make_workspace("Refused"), make_workspace("Other")
    refuse(workspace, 12)
    badge = 'title="token revoked, from 10.0.0.1">Refused 12 times</span>'
    assert root.get(reverse(WORKSPACES)).content.decode().count(badge) == 1
    for client in (root, viewer):
        page = client.get(change_url(workspace)).content.decode()
        assert "<dd>token revoked from 10.0.0.1, 12 times, <time" in page
    assert "Refused credential" not in root.get(change_url(other)).content.decode()
    workspace.refresh_from_db()
    refusals.clear(workspace)
    for url in pages_of(workspace):
        assert "refused 12 times" not in root.get(url).content.decode().lower(), url


def test_a_single_refusal_from_an_unknown_address(root: Client, make_workspace: Make) -> None:
    workspace = make_workspace("Refused")
    refusals.note(workspace.id, None, "")
    refusals.flush()
    assert "<dd>no token, <time" in root.get(change_url(workspace)).content.decode()


def test_the_problems_of_a_card_are_listed(root: Client, viewer: Client, make_workspace: Make) -> None:
    workspace, fine = make_workspace("Scout"), make_workspace("Fine")
    Workspace.objects.filter(id=workspace.id).update(agent_card=BAD_CARD)
    Workspace.objects.filter(id=fine.id).update(agent_card={"name": "Fine"})
    for client in (root, viewer):
        page = client.get(url_of("agent", workspace)).content.decode()
        assert all(f"<li>{problem}" in page for problem in PROBLEMS)
        assert ">2 problems</a>" in client.get(change_url(workspace)).content.decode()
    for calm in (fine, make_workspace("No card")):
        assert "cannot be used" not in root.get(url_of("agent", calm)).content.decode()
        assert "problem" not in root.get(change_url(calm)).content.decode()
