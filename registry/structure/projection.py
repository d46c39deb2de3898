"""apply(): the one writer of structural columns. What an event means is changes(), pure; replay folds the same."""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import Model
from django.db.models.expressions import DatabaseDefault

from activity.models import EventType, StructureEvent
from registry.models import Agent, AgentStatus, Status, Workspace

EDITABLE = ("name", "role", "tier", "runtime", "url", "agent_card")
# Rules about these look at other rows too (no cycle, one active agent): such changes are made one after the other.
PLACES = {"parent_id", "workspace_id"}
Row = dict[str, Any]


@dataclass(frozen=True)
class Change:
    """What an event does to one row: `columns` to set, in a new row when it `creates`."""

    table: type[Workspace] | type[Agent]
    id: UUID
    columns: Row
    creates: bool = False


@dataclass
class State:
    """The structural columns of every workspace and agent, by id, as a fold of events leaves them."""

    workspaces: dict[UUID, Row] = field(default_factory=dict)
    agents: dict[UUID, Row] = field(default_factory=dict)


def apply(events: Iterable[StructureEvent]) -> None:
    """Bring `workspaces` and `agents` up to each event, in order. Reads nothing but the events themselves.

    Consecutive changes of the same columns go as one statement, whose outcome is that of one after the other.
    """
    for batch in _batches(change for event in events for change in changes(event)):
        (_create if batch[0].creates else _update)(batch)


def _batches(changes: Iterable[Change]) -> Iterator[list[Change]]:
    """Each of one table and one set of columns, with each row once."""
    batch: list[Change] = []
    ids: set[UUID] = set()
    for change in changes:
        moves = not change.creates and PLACES & change.columns.keys()
        if batch and (change.id in ids or moves or _kind(change) != _kind(batch[0])):
            yield batch
            batch, ids = [], set()
        batch.append(change)
        ids.add(change.id)
    if batch:
        yield batch


def _kind(change: Change) -> tuple[object, ...]:
    return change.table, change.creates, change.columns.keys()


def _create(batch: list[Change]) -> None:
    table: type[Model] = batch[0].table
    table._default_manager.bulk_create(table(id=change.id, **change.columns) for change in batch)


def _update(batch: list[Change]) -> None:
    """One statement for all. Who is not in the table is nobody.

    The values travel as one JSON text: psycopg writes arrays in Python, value by value.
    """
    table = batch[0].table
    fields = [one for one in table._meta.concrete_fields if one.attname in batch[0].columns]
    setting = ", ".join(f"{one.column} = new.{one.column}" for one in fields)
    typed = ", ".join(f"{one.column} {one.db_type(connection)}" for one in fields)
    rows = [{"id": c.id, **{one.column: c.columns[one.attname] for one in fields}} for c in batch]
    with connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE {table._meta.db_table} old SET {setting} "  # noqa: S608  # names of our own columns
            f"FROM jsonb_to_recordset(%s) AS new(id uuid, {typed}) WHERE old.id = new.id",
            [json.dumps(rows, default=_text)],
        )


def _text(value: object) -> str | None:
    """Ids and times. An event that is not in the log has no time yet."""
    return None if isinstance(value, DatabaseDefault) else str(value)


def fold(events: Iterable[StructureEvent], state: State | None = None) -> State:
    """The same in memory: replay without a database."""
    state = state or State()
    for event in events:
        for change in changes(event):
            enter(change, state.workspaces if change.table is Workspace else state.agents)
    return state


def enter(change: Change, rows: dict[UUID, Row]) -> None:
    """Into the rows of its table. Who is not among them is nobody."""
    if change.creates:
        rows[change.id] = BLANK[change.table] | change.columns
    elif change.id in rows:
        rows[change.id] |= change.columns


def changes(event: StructureEvent) -> Iterator[Change]:
    """What the event says, and nothing else: no database, no clock."""
    return MEANING[EventType(event.event_type)](event, event.payload or {})


def _provisioning(event: StructureEvent, payload: Row) -> Iterator[Change]:
    """A new workspace; with `from` a known one that starts again."""
    if "from" in payload:
        yield _workspace(event, status=Status.PROVISIONING)
        return
    columns = _only(payload, ("name", "role", "tier", "runtime", "source_bundle_id"))
    columns |= {"parent_id": _uuid(payload.get("parent_id")), "status": Status.PROVISIONING}
    columns |= {"created_at": event.created_at, "updated_at": event.created_at}
    yield Change(Workspace, _subject(event), columns, creates=True)


def _online(event: StructureEvent, payload: Row) -> Iterator[Change]:
    yield _workspace(event, status=Status.ONLINE, **_only(payload, ("url", "agent_card")))


def _status(status: Status) -> Callable[[StructureEvent, Row], Iterator[Change]]:
    def reached(event: StructureEvent, payload: Row) -> Iterator[Change]:
        yield _workspace(event, status=status)

    return reached


def _updated(event: StructureEvent, payload: Row) -> Iterator[Change]:
    columns = {name: new for name, (_old, new) in payload["changes"].items()}
    forwarded = {"forwarded_to_id": _uuid(columns["forwarded_to"])} if "forwarded_to" in columns else {}
    yield _workspace(event, **_only(columns, EDITABLE), **forwarded)


def _moved(event: StructureEvent, payload: Row) -> Iterator[Change]:
    yield _workspace(event, parent_id=_uuid(payload["new_parent_id"]))


def _removed(event: StructureEvent, payload: Row) -> Iterator[Change]:
    """The agent that was active goes with its workspace."""
    yield _workspace(event, status=Status.REMOVED, forwarded_to_id=_uuid(payload["forwarded_to"]))
    if event.agent_id is not None:
        yield _dismissed(event, event.agent_id, "workspace removed")


def _card_updated(event: StructureEvent, payload: Row) -> Iterator[Change]:
    yield _workspace(event, agent_card=payload["agent_card"])


def _agent_assigned(event: StructureEvent, payload: Row) -> Iterator[Change]:
    yield _hired(event, payload["model"])


def _agent_removed(event: StructureEvent, payload: Row) -> Iterator[Change]:
    yield _dismissed(event, _agent(event), payload["reason"])


def _agent_replaced(event: StructureEvent, payload: Row) -> Iterator[Change]:
    yield _dismissed(event, UUID(payload["old_agent_id"]), "replaced")
    yield _hired(event, payload["new_model"])


def _agent_moved(event: StructureEvent, payload: Row) -> Iterator[Change]:
    """Recorded for both workspaces; either event says where the agent is now."""
    yield Change(Agent, _agent(event), {"workspace_id": UUID(payload["to_workspace_id"])})


def _nothing(event: StructureEvent, payload: Row) -> Iterator[Change]:
    """The event sums up others that carry the changes."""
    yield from ()


def _workspace(event: StructureEvent, **columns: Any) -> Change:
    return Change(Workspace, _subject(event), {"updated_at": event.created_at, **columns})


def _hired(event: StructureEvent, model: str) -> Change:
    columns = {"workspace_id": _subject(event), "model": model, "created_at": event.created_at}
    return Change(Agent, _agent(event), columns, creates=True)


def _dismissed(event: StructureEvent, agent_id: UUID, reason: str | None) -> Change:
    columns = {"status": AgentStatus.REMOVED, "removed_at": event.created_at, "removal_reason": reason}
    return Change(Agent, agent_id, columns)


def _subject(event: StructureEvent) -> UUID:
    """The columns are nullable for plain SQL's sake; what record() writes names its subject."""
    if event.workspace_id is None:
        raise ValueError(f"event {event.seq} names no workspace")
    return event.workspace_id


def _agent(event: StructureEvent) -> UUID:
    if event.agent_id is None:
        raise ValueError(f"event {event.seq} names no agent")
    return event.agent_id


def _uuid(value: str | None) -> UUID | None:
    return None if value is None else UUID(value)


def value_in_events(workspace: Workspace, name: str) -> Any:
    """Return a column's value as events and the wire have it: an unknown runtime is "" there and NULL in the table."""
    value = getattr(workspace, name)
    return value or "" if name == "runtime" else value


def _only(values: Row, names: tuple[str, ...]) -> Row:
    columns = {name: values[name] for name in names if name in values}
    if "runtime" in columns:
        columns["runtime"] = columns["runtime"] or None
    return columns


# What a row has that its creating event does not say.
BLANK: dict[type[Workspace] | type[Agent], Row] = {
    Workspace: {"agent_card": None, "url": None, "forwarded_to_id": None},
    Agent: {"status": AgentStatus.ACTIVE, "removed_at": None, "removal_reason": None},
}

MEANING: dict[EventType, Callable[[StructureEvent, Row], Iterator[Change]]] = {
    EventType.WORKSPACE_PROVISIONING: _provisioning,
    EventType.WORKSPACE_ONLINE: _online,
    EventType.WORKSPACE_OFFLINE: _status(Status.OFFLINE),
    EventType.WORKSPACE_DEGRADED: _status(Status.DEGRADED),
    EventType.WORKSPACE_PROVISION_FAILED: _status(Status.FAILED),
    EventType.WORKSPACE_PAUSED: _status(Status.PAUSED),
    EventType.WORKSPACE_UPDATED: _updated,
    EventType.WORKSPACE_MOVED: _moved,
    EventType.WORKSPACE_REMOVED: _removed,
    EventType.WORKSPACE_EXPANDED: _nothing,
    EventType.WORKSPACE_COLLAPSED: _nothing,
    EventType.AGENT_ASSIGNED: _agent_assigned,
    EventType.AGENT_REMOVED: _agent_removed,
    EventType.AGENT_REPLACED: _agent_replaced,
    EventType.AGENT_MOVED: _agent_moved,
    EventType.AGENT_CARD_UPDATED: _card_updated,
}
