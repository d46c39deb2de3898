"""Pause, resume and restart. A paused workspace stays paused until an operator resumes it."""

from uuid import UUID

from django.conf import settings
from django.db import transaction

from activity.events import NewEvent, record
from activity.models import EventType
from registry.exceptions import Conflict, NotFound
from registry.liveness import presence
from registry.models import Desired, Status, Workspace
from registry.structure import deployments, hierarchy, projection, rows

NOT_RUN_HERE = (
    "Molecule does not run this workspace's agent and cannot restart it: "
    "restart the agent's process where it runs; it then registers again"
)


def pause(workspace_id: UUID, *, actor: str) -> int:
    """Pause the workspace and everything below it; return how many were paused.

    Raises NotFound (also if it is already paused), Removed.
    """
    with transaction.atomic():
        team = _lock_team(workspace_id)
        if team[0].status == Status.PAUSED:
            raise NotFound("workspace is already paused")
        active = [row for row in team if row.status != Status.PAUSED]
        deployments.want([row.id for row in active], Desired.STOPPED)
        events = [_event(EventType.WORKSPACE_PAUSED, row, {"name": row.name, "from": row.status}) for row in active]
        projection.apply(record(events, actor=actor))
        return len(active)


def resume(workspace_id: UUID, *, actor: str) -> int:
    """Resume the workspace and everything below it, to provisioning; return how many were resumed.

    Raises NotFound (also if it is not paused), Removed, Conflict (its parent is paused).
    """
    with transaction.atomic():
        team = _lock_team(workspace_id)
        if team[0].status != Status.PAUSED:
            raise NotFound("workspace is not paused")
        _check_parent(team[0])
        paused = [row for row in team if row.status == Status.PAUSED]
        deployments.want([row.id for row in paused], Desired.RUNNING)
        _provision(paused, actor)
        return len(paused)


def restart(workspace_id: UUID, *, actor: str) -> None:
    """Set the workspace to provisioning, until its agent registers again.

    In open mode this is also done for agents that Molecule cannot restart, because existing front ends rely on it.
    Raises NotFound, Removed, Conflict (the workspace or its parent is paused, or Molecule cannot restart the agent).
    """
    with transaction.atomic():
        workspace = rows.lock_active(workspace_id)
        if workspace.status == Status.PAUSED:
            raise Conflict("workspace is paused: resume it instead")
        _check_parent(workspace)
        if not (can_restart(workspace) or settings.MOLECULE_OPEN):
            raise Conflict(NOT_RUN_HERE)
        deployments.want([workspace_id], Desired.RUNNING, restart=True)
        _provision([workspace], actor)


def can_restart(workspace: Workspace) -> bool:
    """Return whether Molecule runs the workspace's agent and can restart its process."""
    return deployments.is_run_here(workspace)


def provisioning_event(row: Workspace, **details: object) -> NewEvent:
    """The event that sets an existing workspace to provisioning, with further `details`."""
    payload: dict[str, object] = {
        "from": row.status,
        "name": row.name,
        "role": row.role,
        "tier": row.tier,
        "runtime": projection.value_in_events(row, "runtime"),
        "parent_id": None if row.parent_id is None else str(row.parent_id),
    }
    return _event(EventType.WORKSPACE_PROVISIONING, row, payload | details)


def _lock_team(workspace_id: UUID) -> list[Workspace]:
    """Lock and return the workspace, then everything below it. Raises NotFound, Removed."""
    hierarchy.lock()
    ids = [workspace_id, *reversed(hierarchy.descendants(workspace_id))]
    locked = rows.lock(ids)
    rows.require_active(workspace_id, locked)
    return [locked[i] for i in ids]


def _check_parent(workspace: Workspace) -> None:
    parent = workspace.parent
    if parent is not None and parent.status == Status.PAUSED:
        raise Conflict(f"parent {parent.name} is paused: resume it first")


def _provision(workspaces: list[Workspace], actor: str) -> None:
    events = [provisioning_event(row) for row in workspaces if row.status != Status.PROVISIONING]
    projection.apply(record(events, actor=actor))
    presence.end_leases([row.id for row in workspaces])


def _event(event_type: EventType, row: Workspace, payload: dict[str, object]) -> NewEvent:
    return NewEvent(event_type=event_type, workspace_id=row.id, payload=payload)
