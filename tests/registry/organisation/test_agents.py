"""Model assignments: one active model per workspace, with a history."""

import threading
from collections.abc import Callable
from uuid import UUID

import pytest
from django.db import IntegrityError, connection, transaction
from rest_framework.test import APIClient

from activity.models import EventType, StructureEvent
from registry.exceptions import Conflict
from registry.models import Agent, Workspace
from registry.organisation import agents, removal

Make = Callable[..., Workspace]


def test_assign_replace_and_unassign_a_model_by_the_api(as_operator: APIClient, make_workspace: Make) -> None:
    path = f"/workspaces/{make_workspace().id}/agent"
    assert as_operator.patch(path, {"model": "b"}).json()["error"] == "no active agent to replace"
    assert as_operator.delete(path).json()["error"] == "no active agent to remove"
    assigned = as_operator.post(path, {"model": "a"})
    assert (assigned.status_code, set(assigned.json())) == (201, {"agent_id", "model"})
    refused = as_operator.post(path, {"model": "b"})
    assert (refused.status_code, refused.json()["error"]) == (409, agents.ALREADY_ASSIGNED)
    replaced = as_operator.patch(path, {"model": "b"}).json()
    assert (replaced["model"], replaced["old_model"]) == ("b", "a")
    assert replaced["agent_id"] != assigned.json()["agent_id"]
    removed = as_operator.delete(path, {"reason": "too slow"}).json()
    assert removed == {"status": "removed", "agent_id": replaced["agent_id"]}
    history = as_operator.get(f"{path}s").json()
    assert [(row["model"], row["status"], row["removal_reason"]) for row in history] == [
        ("b", "removed", "too slow"),
        ("a", "removed", "replaced"),
    ]


def test_moving_keeps_the_agent_id_and_records_an_event_for_both_workspaces(
    as_operator: APIClient, make_workspace: Make
) -> None:
    here, there = make_workspace("here", model="m"), make_workspace("there")
    agent = Agent.objects.get()
    moved = as_operator.post(f"/workspaces/{here.id}/agent/move", {"target_workspace_id": str(there.id)}).json()
    assert moved == {
        "agent_id": str(agent.id),
        "model": "m",
        "from_workspace": str(here.id),
        "to_workspace": str(there.id),
    }
    agent.refresh_from_db()
    assert agent.workspace_id == there.id
    events = {e.workspace_id: e for e in StructureEvent.objects.filter(event_type=EventType.AGENT_MOVED)}
    assert set(events) == {here.id, there.id}
    assert events[here.id].payload["target_workspace_id"] == str(there.id)  # type: ignore[index]
    assert events[there.id].payload["source_workspace_id"] == str(here.id)  # type: ignore[index]


def test_a_model_cannot_be_moved_to_a_workspace_that_has_one(as_operator: APIClient, make_workspace: Make) -> None:
    here, there = make_workspace("here", model="m"), make_workspace("there", model="n")
    body = {"target_workspace_id": str(there.id)}
    assert as_operator.post(f"/workspaces/{here.id}/agent/move", body).status_code == 409
    empty = make_workspace("empty")
    body = {"target_workspace_id": str(make_workspace("free").id)}
    answer = as_operator.post(f"/workspaces/{empty.id}/agent/move", body)
    assert (answer.status_code, answer.json()["error"]) == (404, "no active agent to move")


def test_the_database_refuses_a_second_active_model(make_workspace: Make) -> None:
    workspace = make_workspace(model="m")
    with pytest.raises(IntegrityError), transaction.atomic():
        Agent.objects.create(workspace_id=workspace.id, model="n")


@pytest.mark.django_db(transaction=True)
def test_of_two_concurrent_assignments_one_succeeds(make_workspace: Make) -> None:
    workspace = make_workspace()
    start, outcomes = threading.Barrier(2), []

    def assign(model: str) -> None:
        start.wait(10)
        try:
            agents.assign(workspace.id, model, actor="test")
            outcomes.append("assigned")
        except Conflict:
            outcomes.append("refused")
        finally:
            connection.close()

    threads = [threading.Thread(target=assign, args=(model,)) for model in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sorted(outcomes) == ["assigned", "refused"]


def test_removing_a_workspace_unassigns_its_model(make_workspace: Make) -> None:
    workspace = make_workspace(model="m")
    removal.remove(workspace.id, actor="test", confirm=True)
    agent = Agent.objects.get()
    assert (agent.status, agent.removal_reason) == ("removed", "workspace removed")
    assert isinstance(agent.workspace_id, UUID)
