"""Undo changes of a workspace's name, role, tier, runtime and parent: their events have what was there before."""

from collections.abc import Collection, Iterator, Sequence
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Q

from activity import events
from activity.filters import EventFilter
from activity.models import EventType, StructureEvent
from registry.exceptions import Conflict, NotFound
from registry.organisation import workspaces
from registry.structure import hierarchy, rows

UNDOABLE = (EventType.WORKSPACE_UPDATED, EventType.WORKSPACE_MOVED)
COLUMNS = ("name", "role", "tier", "runtime")
MOST_EVENTS = 10
"""Of one change, in a request."""


def undo(workspace_id: UUID, event_ids: Sequence[UUID], *, actor: str) -> None:
    """Set what these events changed back to what it was before them.

    Raises NotFound (also for an event of another workspace), Removed, Conflict (the event changed something else, or
    somebody has changed the same since), Invalid (the former parent is removed, or in its team by now).
    """
    found = list(events.read(workspace_id=workspace_id).filter(id__in=event_ids))
    if not event_ids or len(found) < len(set(event_ids)):
        raise NotFound("no such event of this workspace")
    # Newest first, so the value before the first of several changes remains.
    before = {column: old for event in found for column, old in _changes(event)}
    since = events.read(workspace_id=workspace_id, after=found[-1].seq).exclude(id__in=event_ids)
    with transaction.atomic():
        hierarchy.lock()
        rows.require_active(workspace_id, rows.lock({workspace_id, before.get("parent_id") or workspace_id}))
        for column in before:
            if since.filter(_touches(column)).exists():
                raise Conflict(f"the {'parent' if column == 'parent_id' else column} has been changed since")
        workspaces.update(workspace_id, before, actor=actor)


def undoable_since(workspace_ids: Collection[UUID], position: int, *, actor: str) -> list[UUID]:
    """The events with which the actor changed these workspaces after a position of the log, for undo()."""
    wanted = EventFilter(workspace_ids=tuple(workspace_ids), types=UNDOABLE, actors=(actor,))
    return [event.id for event in events.read(wanted, after=position) if _is_undoable(event)] if workspace_ids else []


def _changes(event: StructureEvent) -> Iterator[tuple[str, Any]]:
    """Column, and value before. Raises Conflict."""
    if not _is_undoable(event):
        raise Conflict("this change cannot be undone")
    payload: Any = event.payload
    if event.event_type == EventType.WORKSPACE_MOVED:
        yield "parent_id", _uuid(payload["old_parent_id"])
    else:
        yield from ((column, old) for column, (old, _new) in payload["changes"].items())


def _touches(column: str) -> Q:
    """The events that changed this column, also back to what it was."""
    if column == "parent_id":
        return Q(event_type=EventType.WORKSPACE_MOVED)
    return Q(event_type=EventType.WORKSPACE_UPDATED, payload__changes__has_key=column)


def _is_undoable(event: StructureEvent) -> bool:
    """Addresses, cards and files are the agent's."""
    if event.event_type == EventType.WORKSPACE_MOVED:
        return True
    payload: Any = event.payload
    changed = payload.get("changes", {}).keys()
    return event.event_type == EventType.WORKSPACE_UPDATED and bool(changed) and changed <= set(COLUMNS)


def _uuid(text: str | None) -> UUID | None:
    return None if text is None else UUID(text)
