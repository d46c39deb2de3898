"""Cards, URLs and labels from agents: masked before they are stored; a URL that contains a secret is refused."""

from collections.abc import Callable
from typing import Any
from uuid import uuid4

from rest_framework.test import APIClient

from activity.models import StructureEvent
from registry.models import Workspace, WorkspaceToken
from registry.secrets import store

Make = Callable[..., Workspace]
As = Callable[[Workspace], APIClient]
CANARY = "canary-5f1d9c7a"


def test_a_card_is_masked_and_an_equal_one_records_nothing(make_workspace: Make, as_workspace: As) -> None:
    workspace = make_workspace()
    store.set_for_workspace(workspace.id, "KEY", CANARY, actor="test")
    agent = as_workspace(workspace)
    body = {"id": str(workspace.id), "url": "http://a:1", "agent_card": {"name": CANARY, CANARY: [f"x {CANARY}"]}}
    assert agent.post("/registry/register", body).status_code == 200
    workspace.refresh_from_db()
    assert workspace.agent_card == {"name": "[secret KEY]", "[secret KEY]": ["x [secret KEY]"]}
    count = StructureEvent.objects.count()
    agent.post("/registry/register", body)
    agent.post("/registry/update-card", {"workspace_id": str(workspace.id), "agent_card": body["agent_card"]})
    assert StructureEvent.objects.count() == count


def test_a_url_that_contains_a_secret_is_refused(make_workspace: Make, as_workspace: As) -> None:
    workspace = make_workspace()
    store.set_for_workspace(workspace.id, "KEY", CANARY, actor="test")
    body = {"id": str(workspace.id), "url": f"http://a:1/?key={CANARY}", "agent_card": {"name": "a"}}
    answer = as_workspace(workspace).post("/registry/register", body)
    assert (answer.status_code, answer.json()["field"]) == (400, "url")
    assert answer.json()["error"] == "url: contains the value of a secret: http://a:1/?key=[secret KEY]"
    workspace.refresh_from_db()
    assert (workspace.url, workspace.status) == (None, "provisioning")


def test_a_card_older_than_its_secret_is_masked_where_events_repeat_it(make_workspace: Make, as_workspace: As) -> None:
    workspace = make_workspace()
    agent = as_workspace(workspace)
    body = {"workspace_id": str(workspace.id), "agent_card": {"name": "a", "note": CANARY}}
    agent.post("/registry/update-card", body)
    store.set_for_workspace(workspace.id, "KEY", CANARY, actor="test")
    agent.post("/registry/update-card", body)
    masked = {"name": "a", "note": "[secret KEY]"}
    newest = StructureEvent.objects.filter(workspace_id=workspace.id).latest("seq")
    assert newest.payload == {"agent_card": masked, "old_agent_card": masked}


def test_a_workspace_that_registers_itself_is_named_by_its_masked_card(anonymous: APIClient, settings: Any) -> None:
    settings.MOLECULE_ENROLMENT = "open"
    store.set_for_all("KEY", CANARY, actor="test")
    own = uuid4()
    body = {"id": str(own), "url": "http://a:1", "agent_card": {"name": f"agent {CANARY}"}}
    assert anonymous.post("/registry/register", body).status_code == 200
    assert Workspace.objects.get(id=own).name == "agent [secret KEY]"


def test_the_label_of_a_token_is_masked(make_workspace: Make, as_workspace: As) -> None:
    workspace = make_workspace()
    store.set_for_workspace(workspace.id, "KEY", CANARY, actor="test")
    as_workspace(workspace).post(f"/workspaces/{workspace.id}/tokens", {"label": f"for {CANARY}"})
    assert WorkspaceToken.objects.filter(label="for [secret KEY]").exists()
