"""The structural event log: record() is the only way to append to it and to publish its events.

page() and read() list it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple
from uuid import UUID

from django.conf import settings
from django.db import connection, models
from django.db.transaction import TransactionManagementError

from activity import bus, cache_versions, pages
from activity.filters import EventFilter
from activity.models import EventType, Rebuild, StructureEvent
from activity.pages import Page
from activity.principals import Kind

INSERT = """
INSERT INTO structure_events (event_type, workspace_id, agent_id, target_id, payload, actor, created_at)
SELECT event_type, workspace_id, agent_id, target_id, payload, actor, clock_timestamp()
FROM ROWS FROM (jsonb_to_recordset(%s) AS (event_type text, workspace_id uuid, agent_id uuid, target_id uuid,
                                           payload jsonb, actor text))
  WITH ORDINALITY AS new(event_type, workspace_id, agent_id, target_id, payload, actor, place)
ORDER BY place
RETURNING id, seq, created_at, transaction_id
"""
# The columns of a page, in which the payload is text.
COLUMNS = tuple(field.attname for field in StructureEvent._meta.concrete_fields)

latest_seq = bus.latest_seq


@dataclass(frozen=True, kw_only=True)
class NewEvent:
    """An event to record. `payload` holds old and new values: all that projection.apply() needs."""

    event_type: EventType
    workspace_id: UUID
    payload: dict[str, Any] = field(default_factory=dict)
    agent_id: UUID | None = None
    target_id: UUID | None = None


def record(new: Sequence[NewEvent], *, actor: str | None) -> list[StructureEvent]:
    """Append events in order and publish them when the transaction commits.

    `actor` is Principal.actor, "supervisor" or "command:…"; None stands for each workspace itself. Returns the rows
    with their `seq`. Raises TransactionManagementError outside a transaction, which guarantees that an event and its
    projection commit together.
    """
    if not connection.in_atomic_block:
        raise TransactionManagementError("record() needs a transaction around it and its apply()")
    if not new:
        return []
    after = lock_log()
    cache_versions.LOG.invalidate()
    rows = _insert(new, [actor or f"{Kind.WORKSPACE}:{event.workspace_id}" for event in new])
    bus.after_commit(_publish, rows, after)
    return rows


def read(
    wanted: EventFilter | None = None,
    *,
    workspace_id: UUID | None = None,
    after: int | None = None,
    before: int | None = None,
) -> models.QuerySet[StructureEvent]:
    """Events, newest first; with `after`, ascending from there. `after` and `before` are exclusive positions."""
    wanted = wanted or EventFilter()
    wanted = wanted if workspace_id is None else replace(wanted, workspace_ids=[workspace_id])
    positions = {"seq__gt": after, "seq__lt": before}
    given = {name: value for name, value in positions.items() if value is not None}
    order = "-seq" if after is None else "seq"
    return wanted.select(StructureEvent.objects.filter(**given)).order_by(order)


def page(wanted: EventFilter | None = None, *, limit: int = 100, **positions: Any) -> Page:
    """A page of read(): `limit` events, or as many as MAX_PAGE_BYTES allow, at least one. Payloads are text."""
    return pages.read(read(wanted, **positions), COLUMNS, limit=limit, max_bytes=settings.MAX_PAGE_BYTES)


def newest(column: str) -> models.Subquery:
    """`seq` or `id` of the newest event as a subquery, so in the snapshot of its statement; NULL for an empty log."""
    return models.Subquery(StructureEvent.objects.order_by("-seq").values(column)[:1])


class Position(NamedTuple):
    """The last event that is included: its seq, or 0 without one, and its id."""

    seq: int
    event_id: str | None


def position() -> Position:
    """The end of the log. Read it before the data that a client follows from there: then nothing is missed."""
    newest_event = StructureEvent.objects.order_by("-seq").values_list("seq", "id").first()
    return Position(0, None) if newest_event is None else Position(newest_event[0], str(newest_event[1]))


def envelope_of(event: StructureEvent) -> bus.Envelope:
    """The message that is published for an event."""
    payload = event.payload or {}
    return bus.envelope(event.event_type, event.workspace_id, payload, seq=event.seq, id=event.id, at=event.created_at)


def is_at(seq: int, event_id: str | UUID | None) -> bool:
    """Whether the log has this event at this position. False after a restore or a failover that lost it.

    True without an id, which earlier releases did not send, and for position 0, which is before all events.
    """
    return not seq or event_id is None or StructureEvent.objects.filter(seq=seq, id=event_id).exists()


def lock_log() -> int:
    """Take the log's lock, after all other locks, and return the last position: everything up to it has committed."""
    cache_versions.LOG.lock()
    return latest_seq()


def record_rebuild(rows: int) -> None:
    """Tell all processes that the tables were repaired from the log. Call it in that transaction, after lock_log()."""
    Rebuild.objects.create(rows=rows)
    cache_versions.LOG.invalidate()
    bus.after_commit(bus.announce_rebuild)


def last_rebuild() -> int:
    """The number of the last repair, 0 if there was none.

    A cache of the tables reads it before it loads them, and loads them again when it has changed.
    """
    last: int = Rebuild.objects.aggregate(last=models.Max("id", default=0))["last"]
    return last


def _insert(new: Sequence[NewEvent], actors: list[str]) -> list[StructureEvent]:
    """One statement with all values as one JSON text: a tenth of the time of bulk_create()."""
    values = [
        {
            "event_type": event.event_type,
            "workspace_id": event.workspace_id,
            "agent_id": event.agent_id,
            "target_id": event.target_id,
            "payload": event.payload,
            "actor": actor,
        }
        for event, actor in zip(new, actors, strict=True)
    ]
    with connection.cursor() as cursor:
        cursor.execute(INSERT, [bus.encode(values)])
        drawn = cursor.fetchall()
    return [
        StructureEvent.from_db(connection.alias, COLUMNS, (id, seq, *given.values(), created_at, transaction_id))
        for given, (id, seq, created_at, transaction_id) in zip(values, drawn, strict=True)
    ]


def _publish(rows: list[StructureEvent], after: int) -> None:
    bus.publish([envelope_of(row) for row in rows], after=after)
