"""The organisation at an earlier position of the log, and what changed between two positions.

A position includes the whole transaction of its event, because the organisation never existed between the events of one
transaction. Agent Cards are most of the log's bytes, and most of them were replaced later. So a replay holds, in
place of each card, the position of the event that set it, and cards() reads the ones that a response shows.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import Case, F, Func, JSONField, Q, QuerySet, Value, When
from django.db.models.functions import JSONObject

from activity.models import EventType, StructureEvent
from activity.strict_json import json_fragment
from registry.models import Status
from registry.structure import projection
from registry.structure.projection import Row, State

# How many events, without their cards, are read at once.
CHUNK = 500
# Every event changes them.
NOT_IN_DIFF = ("updated_at", "created_at")
CARDS = """
SELECT seq, CASE WHEN event_type = 'WORKSPACE_UPDATED' THEN payload #> '{changes,agent_card,1}'
  ELSE payload -> 'agent_card' END::text
FROM structure_events WHERE seq = ANY(%s)
"""
POSITION = ("id", "seq", "created_at", "transaction_id")


@dataclass(frozen=True)
class Moment:
    """A position in the log, the time of the last event up to it, and the position before its transaction."""

    seq: int
    at: datetime | None
    before: int


def moment(when: int | datetime | None) -> Moment:
    """Return the position of `when`, a position or a time; None means the latest event.

    A position includes the whole transaction of its event. A time within a transaction is before all of its events.
    """
    last = _last(Q(created_at__lte=when) if isinstance(when, datetime) else Q() if when is None else Q(seq__lte=when))
    if last is None:
        return Moment(0, None, 0)
    before, end = _transaction_of(last)
    if isinstance(when, datetime) and end.seq != last.seq:
        return moment(before)
    return Moment(end.seq, end.created_at, before)


def state_at(then: Moment, workspace_ids: Any = None) -> State:
    """Return the state at that moment, of all workspaces or of those in `workspace_ids` (ids, or a query for ids).

    `agent_card` is the position of the event that set it.
    """
    return projection.fold(_replayed(_events(after=0, upto=then.seq, workspace_ids=workspace_ids)))


def active_at(then: Moment, workspace_ids: Any = None) -> dict[UUID, Row]:
    """Return the workspaces that existed and were not removed at that moment, by id, as state_at() does."""
    return active(state_at(then, workspace_ids))


def active(state: State) -> dict[UUID, Row]:
    """Return its workspaces that are not removed, by id."""
    return {i: row for i, row in state.workspaces.items() if row["status"] != Status.REMOVED}


def cards(positions: Iterable[int | None]) -> dict[int | None, str | None]:
    """Return the Agent Cards that these events set, as PostgreSQL prints them, by position; None for None."""
    with connection.cursor() as cursor:
        cursor.execute(CARDS, [[seq for seq in positions if seq is not None]])
        return {None: None, **dict(cursor.fetchall())}


def diff(since: Moment, until: Moment) -> list[dict[str, Any]]:
    """Return an entry per workspace that changed: `added`, `removed` or `changed`, and `fields: {name: [old, new]}`.

    Replays only the workspaces that have events in between.
    """
    events = _events(after=since.seq, upto=until.seq)
    state = state_at(since, workspace_ids=events.order_by().values("workspace_id"))
    before = {i: dict(row) for i, row in state.workspaces.items()}
    after = projection.fold(_replayed(events), state).workspaces
    _show_cards(before, after)
    changes = (_change(i, before.get(i), row) for i, row in after.items())
    return [change for change in changes if change]


def lean(events: QuerySet[StructureEvent]) -> QuerySet[StructureEvent]:
    """Read the events with `lean_payload`: the position of the event in place of its card, and no replaced card."""
    return events.defer("payload").annotate(lean_payload=LEAN)


def with_lean_payloads(events: Iterable[StructureEvent]) -> Iterator[StructureEvent]:
    """Yield events of a lean() query, ready for projection.changes()."""
    for event in events:
        event.payload = event.lean_payload  # type: ignore[attr-defined]
        yield event


def _last(wanted: Q) -> StructureEvent | None:
    return StructureEvent.objects.filter(wanted).only(*POSITION).order_by("-seq").first()


def _transaction_of(event: StructureEvent) -> tuple[int, StructureEvent]:
    """The position before the event's transaction, and the last event of the transaction. Its events are adjacent."""
    same = Q(transaction_id=event.transaction_id)
    if event.transaction_id is None:
        # Older releases recorded no transaction. Rows of one SQL statement have the same time.
        same = Q(transaction_id=None, created_at=event.created_at)
    before = _last(~same & Q(seq__lt=event.seq))
    following = StructureEvent.objects.filter(~same, seq__gt=event.seq).order_by("seq").values_list("seq").first()
    end = _last(Q(seq__gt=event.seq) & (Q(seq__lt=following[0]) if following else same))
    return before.seq if before else 0, end or event


def _replayed(events: QuerySet[StructureEvent]) -> Iterator[StructureEvent]:
    return with_lean_payloads(lean(events).iterator(CHUNK))


def _events(*, after: int, upto: int, workspace_ids: Any = None) -> QuerySet[StructureEvent]:
    events = StructureEvent.objects.filter(seq__gt=after, seq__lte=upto).order_by("seq")
    return events if workspace_ids is None else events.filter(workspace_id__in=workspace_ids)


def _show_cards(before: dict[UUID, Row], after: dict[UUID, Row]) -> None:
    """Replace the positions by the cards, as JSON text, where the two cards differ; elsewhere by None."""
    pairs = [(before.get(i, {}), row) for i, row in after.items()]
    changed = [pair for pair in pairs if pair[0].get("agent_card") != pair[1]["agent_card"]]
    found = cards({row.get("agent_card") for pair in changed for row in pair})
    for pair in pairs:
        texts = [found.get(row.get("agent_card")) for row in pair]
        for row, text in zip(pair, texts, strict=True):
            row["agent_card"] = json_fragment(text) if texts[0] != texts[1] else None


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


def _with_card(path: str, value: Func) -> Func:
    return Func(F("payload"), Value(path), value, template="jsonb_set(%(expressions)s)", output_field=JSONField())


_CARD_AT = Func(F("seq"), function="to_jsonb")
LEAN = Case(
    When(event_type=EventType.AGENT_CARD_UPDATED, then=JSONObject(agent_card=F("seq"))),
    When(
        event_type=EventType.WORKSPACE_ONLINE,
        payload__has_key="agent_card",
        then=_with_card("{agent_card}", _CARD_AT),
    ),
    When(
        event_type=EventType.WORKSPACE_UPDATED,
        payload__changes__has_key="agent_card",
        then=_with_card("{changes,agent_card}", Func(Value(None), F("seq"), function="jsonb_build_array")),
    ),
    default=F("payload"),
    output_field=JSONField(),
)
