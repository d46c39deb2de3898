"""The organisation at an earlier position of the log, and what changed between two positions."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import QuerySet

from activity.models import StructureEvent
from registry.models import Status
from registry.structure import projection
from registry.structure.projection import Row, State

CHUNK = 5000
# Every event changes them.
NOT_IN_DIFF = ("updated_at", "created_at")


@dataclass(frozen=True)
class Moment:
    """A position in the log, and the time of the last event up to it."""

    seq: int
    at: datetime | None


def moment(when: int | datetime | None) -> Moment:
    """Return the position of the last event at or before `when`, a position or a time; None means the latest event."""
    events = StructureEvent.objects.order_by("-seq")
    if isinstance(when, datetime):
        events = events.filter(created_at__lte=when)
    elif when is not None:
        events = events.filter(seq__lte=when)
    last = events.values_list("seq", "created_at").first()
    return Moment(*last) if last else Moment(0, None)


def state_at(then: Moment, workspace_ids: Any = None) -> State:
    """Return the state at that moment, of all workspaces or of those in `workspace_ids` (ids, or a query for ids)."""
    return projection.fold(_events(after=0, upto=then.seq, workspace_ids=workspace_ids).iterator(CHUNK))


def active_at(then: Moment, workspace_ids: Any = None) -> dict[UUID, Row]:
    """Return the workspaces that existed and were not removed at that moment, by id."""
    rows = state_at(then, workspace_ids).workspaces
    return {i: row for i, row in rows.items() if row["status"] != Status.REMOVED}


def diff(since: Moment, until: Moment) -> list[dict[str, Any]]:
    """Return an entry per workspace that changed: `added`, `removed` or `changed`, and `fields: {name: [old, new]}`.

    Replays only the workspaces that have events in between.
    """
    events = _events(after=since.seq, upto=until.seq)
    state = state_at(since, workspace_ids=events.order_by().values("workspace_id"))
    before = {i: dict(row) for i, row in state.workspaces.items()}
    after = projection.fold(events.iterator(CHUNK), state).workspaces
    changes = (_change(i, before.get(i), row) for i, row in after.items())
    return [change for change in changes if change]


def _events(*, after: int, upto: int, workspace_ids: Any = None) -> QuerySet[StructureEvent]:
    events = StructureEvent.objects.filter(seq__gt=after, seq__lte=upto).order_by("seq")
    return events if workspace_ids is None else events.filter(workspace_id__in=workspace_ids)


def _change(workspace_id: UUID, old: Row | None, new: Row) -> dict[str, Any] | None:
    was_active, is_active = old is not None and old["status"] != Status.REMOVED, new["status"] != Status.REMOVED
    fields = {
        name: [old[name] if old else None, value]
        for name, value in new.items()
        if name not in NOT_IN_DIFF and (old is None or old[name] != value)
    }
    if not fields or not (was_active or is_active):
        return None
    kind = "changed" if was_active and is_active else "added" if is_active else "removed"
    return {"workspace_id": workspace_id, "name": new["name"], "change": kind, "fields": fields}
