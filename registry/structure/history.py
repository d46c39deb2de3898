"""The organisation as it was: replay that stops early, and what changed between two positions."""

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
# Not worth telling: they change with everything else.
UNTOLD = ("updated_at", "created_at")


@dataclass(frozen=True)
class Moment:
    """A position in the log and its time: that of the last event up to it."""

    seq: int
    at: datetime | None


def moment(when: int | datetime | None) -> Moment:
    """The last event at or before a position or a time; None: the last of all."""
    events = StructureEvent.objects.order_by("-seq")
    if isinstance(when, datetime):
        events = events.filter(created_at__lte=when)
    elif when is not None:
        events = events.filter(seq__lte=when)
    last = events.values_list("seq", "created_at").first()
    return Moment(*last) if last else Moment(0, None)


def state_at(then: Moment, of: Any = None) -> State:
    """`of`: these workspaces alone, as ids or a query for them; an event is about one."""
    return projection.fold(_events(after=0, upto=then.seq, of=of).iterator(CHUNK))


def living_at(then: Moment, of: Any = None) -> dict[UUID, Row]:
    """The workspaces that were not removed at that moment, by id."""
    rows = state_at(then, of).workspaces
    return {i: row for i, row in rows.items() if row["status"] != Status.REMOVED}


def diff(since: Moment, until: Moment) -> list[dict[str, Any]]:
    """What changed, by workspace: `added`, `removed` or `changed`, with `fields {name: [old, new]}`."""
    told = _events(after=since.seq, upto=until.seq)
    state = state_at(since, of=told.order_by().values("workspace_id"))
    before = {i: dict(row) for i, row in state.workspaces.items()}
    after = projection.fold(told.iterator(CHUNK), state).workspaces
    changes = (_change(i, before.get(i), row) for i, row in after.items())
    return [change for change in changes if change]


def _events(*, after: int, upto: int, of: Any = None) -> QuerySet[StructureEvent]:
    events = StructureEvent.objects.filter(seq__gt=after, seq__lte=upto).order_by("seq")
    return events if of is None else events.filter(workspace_id__in=of)


def _change(workspace_id: UUID, old: Row | None, new: Row) -> dict[str, Any] | None:
    was, is_now = old is not None and old["status"] != Status.REMOVED, new["status"] != Status.REMOVED
    fields = {
        name: [old[name] if old else None, value]
        for name, value in new.items()
        if name not in UNTOLD and (old is None or old[name] != value)
    }
    if not fields or not (was or is_now):
        return None
    kind = "changed" if was and is_now else "added" if is_now else "removed"
    return {"workspace_id": workspace_id, "name": new["name"], "change": kind, "fields": fields}
