"""Add members to a workspace's team, or remove the whole team, in one transaction with one summary event."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import transaction

from activity.events import NewEvent, record
from activity.models import EventType
from registry.exceptions import Invalid
from registry.models import DEFAULT_TIER, Workspace
from registry.organisation import removal, workspaces
from registry.organisation.workspaces import NewWorkspace
from registry.structure import hierarchy, projection, rows


@dataclass(frozen=True, kw_only=True)
class Member:
    """A workspace to create below another; `model` assigns an agent to it."""

    name: str
    role: str | None = None
    tier: int = DEFAULT_TIER
    model: str | None = None


def expand(workspace_id: UUID, members: Sequence[Member], *, actor: str) -> list[Workspace]:
    """Create the members as children and return them. Raises NotFound, Removed, Invalid (no members)."""
    with transaction.atomic():
        hierarchy.lock()
        rows.lock_active(workspace_id)
        if not members:
            raise Invalid("members: must have at least one member", field="members")
        children = [
            workspaces.create(NewWorkspace(parent_id=workspace_id, **vars(member)), actor=actor) for member in members
        ]
        summarize_expansion(workspace_id, children, actor=actor)
        return children


def summarize_expansion(workspace_id: UUID, children: Sequence[Workspace], *, actor: str) -> None:
    """Record that this transaction created the children below the workspace."""
    payload = {
        "children": [{"id": str(child.id), "name": child.name, "role": child.role} for child in children],
        "sub_workspace_ids": [str(child.id) for child in children],
    }
    _summarize(EventType.WORKSPACE_EXPANDED, workspace_id, payload, actor)


def remove_team(workspace_id: UUID, *, actor: str) -> list[str]:
    """Remove everything below the workspace, permanently. Return the names of its children, by creation; empty if it
    has no team.

    Raises NotFound, Removed.
    """
    with transaction.atomic():
        hierarchy.lock()
        below = hierarchy.descendants(workspace_id)
        locked = rows.lock([workspace_id, *below])
        rows.require_active(workspace_id, locked)
        team = [locked[i] for i in below]
        children = sorted(
            (row for row in team if row.parent_id == workspace_id), key=lambda row: (row.created_at, row.id)
        )
        names = [row.name for row in children]
        if team:
            removal.remove_rows(team, actor=actor)
            payload = {"removed_children": names, "removed_sub_workspace_ids": [str(row.id) for row in team]}
            _summarize(EventType.WORKSPACE_COLLAPSED, workspace_id, payload, actor)
        return names


def _summarize(event_type: EventType, workspace_id: UUID, payload: dict[str, Any], actor: str) -> None:
    event = NewEvent(event_type=event_type, workspace_id=workspace_id, payload=payload)
    projection.apply(record([event], actor=actor))
