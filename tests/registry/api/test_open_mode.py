"""Open mode: a request without a credential may do everything, unless it acts for an agent that has a token, or comes
from a page of another site."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from rest_framework.test import APIClient

from registry.identity import tokens
from registry.models import Workspace

Make = Callable[..., Workspace]
FOREIGN = [
    "http://evil.example",
    "null",
    "http://testserver.evil.example",
    "https://",
    "http://[",
    "testserver",
    "http://testserver:8000",
    "http://testserver:443",
    "http://testserver@evil.example",
    "http://evil.example#testserver",
]
# SDKs send the platform's address as it was given to them: with a slash, a sub-path, or the port of its scheme.
ADDRESSES = ["http://testserver/", "https://testserver/molecule", "http://testserver:80", "https://testserver:443"]
OURS = ["http://testserver", "https://TESTSERVER", "http://localhost:3000", *ADDRESSES]


@pytest.fixture(autouse=True)
def _open(settings: Any) -> None:
    settings.MOLECULE_OPEN = True
    settings.MOLECULE_ENROLMENT = "open"


def own_requests(mine: Workspace) -> list[tuple[str, str, Any]]:
    card = {"name": "A"}
    return [
        ("POST", "/registry/heartbeat", {"workspace_id": str(mine.id)}),
        ("POST", "/registry/update-card", {"workspace_id": str(mine.id), "agent_card": card}),
        ("GET", f"/workspaces/{mine.id}/secrets/values", None),
        ("POST", f"/workspaces/{mine.id}/notify", {"message": "x"}),
        # The last one, because it is answered with a token.
        ("POST", "/registry/register", {"id": str(mine.id), "url": "http://a:1", "agent_card": card}),
    ]


def _send(client: APIClient, method: str, path: str, body: Any, **options: Any) -> Any:
    return client.generic(method, path, "" if body is None else json.dumps(body), "application/json", **options)


@pytest.mark.parametrize("named", [False, True])
def test_an_agent_without_its_token_is_told_that_it_is_missing(
    anonymous: APIClient, make_workspace: Make, named: bool
) -> None:
    mine = make_workspace(status="online")
    tokens.issue_workspace_token(mine.id)
    headers = {"X-Workspace-ID": str(mine.id)} if named else {}
    for method, path, body in own_requests(mine):
        answer = _send(anonymous, method, path, body, headers=headers)
        assert (answer.status_code, answer.json()) == (401, {"error": "missing workspace auth token"}), path


def test_an_agent_without_any_token_needs_none(anonymous: APIClient, make_workspace: Make) -> None:
    mine = make_workspace(status="online")
    for method, path, body in own_requests(mine):
        assert _send(anonymous, method, path, body).status_code == 200, path


@pytest.mark.parametrize("origin", FOREIGN)
@pytest.mark.parametrize("action", ["collapse", "pause", "resume", "restart"])
def test_a_page_of_another_site_changes_nothing(make_workspace: Make, origin: str, action: str) -> None:
    """Such a request has no body, so a browser sends it without asking first."""
    lead = make_workspace(status="online")
    member = make_workspace(status="online", parent_id=lead.id)
    answer = Client().post(f"/workspaces/{lead.id}/{action}", headers={"Origin": origin})
    assert answer.status_code == 403
    assert {one.status for one in Workspace.objects.all()} == {"online"}
    assert Client().delete(f"/workspaces/{member.id}", headers={"Origin": origin}).status_code == 403


@pytest.mark.parametrize("origin", OURS)
def test_our_own_pages_and_those_of_cors_origins_may(make_workspace: Make, origin: str) -> None:
    lead = make_workspace(status="online")
    assert Client().post(f"/workspaces/{lead.id}/pause", headers={"Origin": origin}).status_code == 200


@pytest.mark.parametrize("origin", FOREIGN)
def test_a_token_counts_whatever_the_origin(make_workspace: Make, as_operator: APIClient, origin: str) -> None:
    lead = make_workspace(status="online")
    assert as_operator.post(f"/workspaces/{lead.id}/pause", headers={"Origin": origin}).status_code == 200


def test_a_workspace_id_that_is_no_id_is_refused(anonymous: APIClient) -> None:
    assert anonymous.get("/workspaces", headers={"X-Workspace-ID": "nonsense"}).status_code == 400


def test_a_viewer_may_store_secrets_with_a_workspace_as_anybody_may(as_viewer: APIClient) -> None:
    assert as_viewer.post("/workspaces", {"name": "A", "secrets": {"KEY": "v"}}).status_code == 201
