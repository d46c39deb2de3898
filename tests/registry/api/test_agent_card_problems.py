"""GET /workspaces/{id} says what cannot be used in the workspace's Agent Card."""

from collections.abc import Callable
from typing import Any

import pytest
from rest_framework.test import APIClient

from registry.models import Workspace

Make = Callable[..., Workspace]
As = Callable[[Workspace], APIClient]
CARD = {"name": "a", "url": "not-a-url", "supportedInterfaces": [{"url": "http://a:1"}]}
PROBLEMS = [
    "url: must be an http(s) URL, or a placeholder such as remote://no-inbound.",
    "supportedInterfaces[0]: names no protocolBinding.",
]


@pytest.fixture
def workspace(make_workspace: Make, as_workspace: As) -> Workspace:
    """Registered: problems do not keep an agent out, and its card is stored as it came."""
    made = make_workspace("a")
    body = {"id": str(made.id), "url": "http://a:1", "agent_card": CARD}
    assert as_workspace(made).post("/registry/register", body).status_code == 200
    return made


def one(client: APIClient, workspace: Workspace) -> dict[str, Any]:
    answer: dict[str, Any] = client.get(f"/workspaces/{workspace.id}").json()
    return answer


def test_operators_and_the_workspace_itself_see_them(
    workspace: Workspace, as_viewer: APIClient, as_workspace: As
) -> None:
    for client in (as_viewer, as_workspace(workspace)):
        answer = one(client, workspace)
        assert answer["agent_card"] == CARD
        assert answer["agent_card_problems"] == PROBLEMS


def test_peers_and_lists_do_not(
    workspace: Workspace, as_viewer: APIClient, as_workspace: As, make_workspace: Make
) -> None:
    peer = one(as_workspace(make_workspace("peer")), workspace)
    assert peer["agent_card"] == CARD
    assert "agent_card_problems" not in peer
    assert all("agent_card_problems" not in row for row in as_viewer.get("/workspaces").json())


def test_without_a_card_there_are_none(as_viewer: APIClient, make_workspace: Make) -> None:
    assert one(as_viewer, make_workspace())["agent_card_problems"] == []
