"""Remove and forward workspaces. A removal includes everything below the workspace, in one transaction."""

from collections.abc import Sequence
from uuid import UUID

from django.db import transaction

from activity import bus
from activity.events import NewEvent, record
from activity.models import EventType
from registry.exceptions import Conflict, HasChildren, Invalid
from registry.identity import enrolment, tokens
from registry.liveness import presence
from registry.models import Agent, AgentStatus, Desired, Status, Workspace
from registry.secrets import store
from registry.structure import deployments, hierarchy, projection, rows


def remove(workspace_id: UUID, *, actor: str, confirm: bool, forward_to: UUID | None = None) -> list[UUID]:
    """Remove a workspace and everything below it, permanently. Return the ids, descendants first.

    Raises NotFound, Removed, HasChildren (it has children and `confirm` is false), Invalid (forward_to).
    """
    with transaction.atomic():
        hierarchy.lock()
        below = hierarchy.descendants(workspace_id)
        locked = rows.lock([workspace_id, *below])
        root = rows.require_active(workspace_id, locked)
        if below and not confirm:
            children = [row for row in locked.values() if row.parent_id == workspace_id]
            raise HasChildren(sorted(((child.id, child.name) for child in children), key=lambda child: child[1]))
        if forward_to is not None:
            _check_forward(forward_to, [workspace_id, *below])
        removed = [locked[i] for i in below] + [root]
        remove_rows(removed, actor=actor, forwards={workspace_id: forward_to})
        return [row.id for row in removed]


def remove_rows(
    workspaces: Sequence[Workspace], *, actor: str, forwards: dict[UUID, UUID | None] | None = None
) -> None:
    """Remove these locked rows in this order, with one event each; revoke their tokens, delete their secrets and
    unassign their models.

    A database trigger deletes their layouts. Their Redis keys are deleted after the commit.
    """
    ids = [row.id for row in workspaces]
    tokens.revoke_workspace_tokens(ids)
    secrets = store.delete_of_removed(ids, actor=actor)
    deployments.want(ids, Desired.ABSENT)
    active = dict(
        Agent.objects.filter(workspace_id__in=ids, status=AgentStatus.ACTIVE).values_list("workspace_id", "id")
    )
    events = [
        NewEvent(
            event_type=EventType.WORKSPACE_REMOVED,
            workspace_id=row.id,
            agent_id=active.get(row.id),
            payload={
                "from": row.status,
                "name": row.name,
                "forwarded_to": _text((forwards or {}).get(row.id)),
                "cascade_deleted": len(workspaces) - 1 if row.id in (forwards or {}) else 0,
                "secrets_deleted": len(secrets.get(row.id, ())),
            },
        )
        for row in workspaces
    ]
    projection.apply(record(events, actor=actor))
    enrolment.clear(ids)
    bus.after_commit(presence.set_tombstones, ids)


def forward(workspace_id: UUID, forward_to: UUID | None, *, actor: str) -> None:
    """Forward a removed workspace to another one; None ends the forward. Raises NotFound, Conflict, Invalid."""
    with transaction.atomic():
        hierarchy.lock()
        locked = rows.lock([workspace_id])
        workspace = locked.get(workspace_id) or rows.require_active(workspace_id, locked)
        if workspace.status != Status.REMOVED:
            raise Conflict("only a removed workspace can be forwarded")
        if forward_to is not None:
            _check_forward(forward_to, [workspace_id])
        changes = {"forwarded_to": [_text(workspace.forwarded_to_id), _text(forward_to)]}
        if workspace.forwarded_to_id != forward_to:
            event = NewEvent(
                event_type=EventType.WORKSPACE_UPDATED, workspace_id=workspace_id, payload={"changes": changes}
            )
            projection.apply(record([event], actor=actor))


def _check_forward(forward_to: UUID, removed_ids: Sequence[UUID]) -> None:
    """Only a removed workspace has a forward, and the target must be active: so forwards cannot form a cycle."""
    target = Workspace.objects.filter(id=forward_to).first()
    if target is None or target.status == Status.REMOVED:
        raise Invalid("forward_to: there is no such workspace, or it is removed", field="forward_to")
    if forward_to in removed_ids:
        raise Invalid("forward_to: this workspace would be removed too", field="forward_to")


def _text(value: UUID | None) -> str | None:
    return None if value is None else str(value)
