"""Find and lock workspaces. Rows are always locked in the order of their ids, so that operations do not deadlock."""

from collections.abc import Collection, Iterable
from typing import Any
from uuid import UUID

from django.db.models import OuterRef, Subquery

from activity.events import envelope_of
from activity.models import StructureEvent
from registry.exceptions import Forwarded, NotFound, Removed
from registry.models import Status, Workspace

MAX_FORWARDS = 5


def lock(ids: Iterable[UUID]) -> dict[UUID, Workspace]:
    """Lock these workspaces for a change and return them by id. Unknown ids are missing from the result."""
    rows = Workspace.objects.select_for_update(no_key=True).filter(id__in=set(ids)).order_by("id")
    return {row.id: row for row in rows}


def lock_active(workspace_id: UUID) -> Workspace:
    """Lock the workspace for a change and return it. Raises NotFound, Removed."""
    return require_active(workspace_id, lock([workspace_id]))


def require_active(workspace_id: UUID, rows: dict[UUID, Workspace]) -> Workspace:
    """Return the one of `rows` with that id. Raises NotFound (not among them), Removed."""
    if workspace_id not in rows:
        raise NotFound
    if rows[workspace_id].status == Status.REMOVED:
        raise Removed(workspace_id, last_event(workspace_id))
    return rows[workspace_id]


def check_exists(workspace_id: UUID) -> None:
    """Raise NotFound unless there is such a workspace, active or removed."""
    if not Workspace.objects.filter(id=workspace_id).exists():
        raise NotFound


def find(workspace_id: UUID) -> Workspace:
    """Return the workspace, without a lock. Raises NotFound, Removed, Forwarded (to the end of its forwards)."""
    workspace = Workspace.objects.filter(id=workspace_id).first()
    if workspace is None:
        raise NotFound
    if workspace.status != Status.REMOVED:
        return workspace
    target = follow(workspace)
    if target is not None:
        raise Forwarded(workspace_id, target.id, target.url or "")
    raise Removed(workspace_id, last_event(workspace_id))


def follow(workspace: Workspace) -> Workspace | None:
    """Return the active workspace at the end of a removed one's forwards, None if it is not within MAX_FORWARDS."""
    for _ in range(MAX_FORWARDS):
        target = workspace.forwarded_to
        if target is None or target.status != Status.REMOVED:
            return target
        workspace = target
    return None


def last_event(workspace_id: UUID) -> dict[str, Any] | None:
    """Return the workspace's last event, None if it has none."""
    return last_events([workspace_id]).get(workspace_id)


def last_events(ids: Collection[UUID]) -> dict[UUID, dict[str, Any]]:
    """Return the last event of each workspace, by id. One query, which reads only the end of each history."""
    if not ids:
        return {}
    of_one = StructureEvent.objects.filter(workspace_id=OuterRef("id")).order_by("-seq").values("seq")[:1]
    seqs = Workspace.objects.filter(id__in=ids).annotate(last=Subquery(of_one)).values("last")
    return {event.workspace_id: dict(envelope_of(event)) for event in StructureEvent.objects.filter(seq__in=seqs)}  # type: ignore[misc]
