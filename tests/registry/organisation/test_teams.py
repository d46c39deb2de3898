"""Pause, resume, restart, and adding and removing teams."""

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from rest_framework.test import APIClient

from activity.models import EventType, StructureEvent
from registry.liveness import expiry
from registry.liveness.heartbeats import Beat, flush
from registry.models import Agent, Workspace

Make = Callable[..., Workspace]


@pytest.fixture
def team(make_workspace: Make) -> list[Workspace]:
    """Three levels, all online."""
    top = make_workspace("top", status="online")
    middle = make_workspace("middle", parent_id=top.id, status="online")
    return [top, middle, make_workspace("bottom", parent_id=middle.id, status="online")]


def statuses(team: list[Workspace]) -> list[str]:
    return [Workspace.objects.get(id=one.id).status for one in team]


def test_pause_and_resume_include_the_team(as_operator: APIClient, team: list[Workspace]) -> None:
    path = f"/workspaces/{team[0].id}"
    assert as_operator.post(f"{path}/resume").status_code == 404
    assert as_operator.post(f"{path}/pause").json() == {"status": "paused", "paused_count": 3}
    assert statuses(team) == ["paused"] * 3
    assert as_operator.post(f"{path}/pause").status_code == 404
    assert as_operator.post(f"{path}/resume").json() == {"status": "provisioning", "resumed_count": 3}
    assert statuses(team) == ["provisioning"] * 3
    pauses = StructureEvent.objects.filter(event_type=EventType.WORKSPACE_PAUSED).order_by("seq")
    assert [event.payload for event in pauses] == [{"name": one.name, "from": "online"} for one in team]


def test_a_paused_parent_keeps_its_children_paused(as_operator: APIClient, team: list[Workspace]) -> None:
    as_operator.post(f"/workspaces/{team[0].id}/pause")
    for verb in ("resume", "restart"):
        assert as_operator.post(f"/workspaces/{team[1].id}/{verb}").status_code == 409
    assert statuses(team) == ["paused"] * 3


def test_only_resume_ends_a_pause_and_the_next_heartbeat_sets_online(
    as_operator: APIClient, make_workspace: Make, serving: None
) -> None:
    workspace = make_workspace(status="online")
    path = f"/workspaces/{workspace.id}"
    as_operator.post(f"{path}/pause")
    flush([Beat(workspace_id=workspace.id, error_rate=1.0)])
    Workspace.objects.update(lease_expires_at="2000-01-01T00:00:00Z")
    expiry.reconcile()
    assert statuses([workspace]) == ["paused"]
    as_operator.post(f"{path}/resume")
    assert expiry.reconcile() == 0, "a provisioning workspace has no lease that could expire"
    flush([Beat(workspace_id=workspace.id)])
    assert statuses([workspace]) == ["online"]


@pytest.mark.parametrize("fields", [{}, {"external": True, "url": "http://a:1"}])
@pytest.mark.parametrize("status", ["provisioning", "online", "degraded", "offline", "failed"])
def test_restart_is_refused_if_molecule_does_not_run_the_agent(
    as_operator: APIClient, make_workspace: Make, status: str, fields: dict[str, Any]
) -> None:
    workspace = make_workspace(status=status, **fields)
    row = Workspace.objects.filter(id=workspace.id).values().get()
    events = StructureEvent.objects.count()
    answer = as_operator.post(f"/workspaces/{workspace.id}/restart")
    assert answer.status_code == 409
    assert "restart the agent's process where it runs" in answer.json()["error"]
    assert Workspace.objects.filter(id=workspace.id).values().get() == row
    assert StructureEvent.objects.count() == events


@pytest.mark.parametrize("status", ["online", "degraded", "offline", "failed"])
def test_in_open_mode_restart_sets_provisioning(
    as_operator: APIClient, make_workspace: Make, settings: Any, status: str
) -> None:
    settings.MOLECULE_OPEN = True
    workspace = make_workspace(status=status)
    assert as_operator.post(f"/workspaces/{workspace.id}/restart").json() == {"status": "provisioning"}
    assert statuses([workspace]) == ["provisioning"]
    event = StructureEvent.objects.latest("seq")
    assert (event.event_type, event.payload["from"]) == (EventType.WORKSPACE_PROVISIONING, status)  # type: ignore[index]
    before = StructureEvent.objects.count()
    as_operator.post(f"/workspaces/{workspace.id}/restart")
    assert StructureEvent.objects.count() == before


def test_a_team_is_added_and_removed_with_everything_below(as_operator: APIClient, make_workspace: Make) -> None:
    workspace = make_workspace("lead")
    path = f"/workspaces/{workspace.id}"
    members = [{"name": "one", "role": "QA", "tier": 2, "model": "m"}, {"name": "two"}]
    expanded = as_operator.post(f"{path}/expand", {"members": members}).json()
    assert [(child["name"], child["role"]) for child in expanded["children"]] == [("one", "QA"), ("two", None)]
    assert Agent.objects.get().model == "m"
    event = StructureEvent.objects.latest("seq")
    assert event.event_type == EventType.WORKSPACE_EXPANDED
    assert event.payload["sub_workspace_ids"] == [child["id"] for child in expanded["children"]]  # type: ignore[index]
    as_operator.post(f"/workspaces/{expanded['children'][0]['id']}/expand", {"members": [{"name": "deep"}]})
    collapsed = as_operator.post(f"{path}/collapse").json()
    assert collapsed["status"] == "collapsed"
    assert sorted(collapsed["removed"]) == ["one", "two"]
    assert [row.name for row in Workspace.objects.active()] == ["lead"]
    event = StructureEvent.objects.latest("seq")
    assert event.event_type == EventType.WORKSPACE_COLLAPSED
    assert len(event.payload["removed_sub_workspace_ids"]) == 3  # type: ignore[index]
    assert as_operator.post(f"{path}/collapse").json() == {"status": "collapsed", "removed": []}


@pytest.mark.parametrize("body", [None, {"members": []}, {"members": "x"}, {"members": [{"name": "ok"}, {"name": ""}]}])
def test_an_invalid_team_changes_nothing(as_operator: APIClient, make_workspace: Make, body: Any) -> None:
    workspace = make_workspace()
    assert as_operator.post(f"/workspaces/{workspace.id}/expand", body).status_code == 400
    assert Workspace.objects.count() == 1


@pytest.mark.parametrize("verb", ["pause", "resume", "restart", "expand", "collapse"])
def test_unknown_workspaces_give_404_and_removed_ones_410(
    as_operator: APIClient, make_workspace: Make, verb: str
) -> None:
    body = {"members": [{"name": "x"}]}
    assert as_operator.post(f"/workspaces/{uuid4()}/{verb}", body).status_code == 404
    removed = make_workspace(status="removed")
    assert as_operator.post(f"/workspaces/{removed.id}/{verb}", body).status_code == 410
