"""What each event means. Only apply() writes structural columns; fold() makes the same changes in memory.

The database refuses an event without what is read here: activity's migration 0004_complete_events.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import Model
from django.db.models.expressions import DatabaseDefault

from activity.models import EventType, StructureEvent
from registry.models import DEFAULT_TIER, Agent, AgentStatus, Status, Workspace

EDITABLE = ("name", "role", "tier", "runtime", "url", "agent_card")
# Constraints on these columns depend on other rows (no cycle, one active agent): each such change is one statement.
CONSTRAINED_COLUMNS = {"parent_id", "workspace_id"}
Row = dict[str, Any]


@dataclass(frozen=True)
class Change:
    """The columns that an event sets in one row, or in a new row if it `creates` one."""

    table: type[Workspace] | type[Agent]
    id: UUID
    columns: Row
    creates: bool = False


@dataclass
class State:
    """The structural columns of every workspace and agent after some events, by id."""

    workspaces: dict[UUID, Row] = field(default_factory=dict)
    agents: dict[UUID, Row] = field(default_factory=dict)


def apply(events: Iterable[StructureEvent]) -> None:
    """Write the changes of the events to `workspaces` and `agents`, in order. Reads nothing but the events.

    Consecutive changes of the same columns are one statement, with the same result as one statement for each.
    """
    for batch in _batches(change for event in events for change in changes(event)):
        (_create if batch[0].creates else _update)(batch)


def _batches(changes: Iterable[Change]) -> Iterator[list[Change]]:
    """Group consecutive changes of the same table and columns; each row occurs once in a batch."""
    batch: list[Change] = []
    ids: set[UUID] = set()
    for change in changes:
        is_constrained = not change.creates and CONSTRAINED_COLUMNS & change.columns.keys()
        if batch and (change.id in ids or is_constrained or _kind(change) != _kind(batch[0])):
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
    """Make all changes with one statement. Rows that are not in the table are ignored.

    The values are one JSON text, because psycopg converts arrays in Python, value by value.
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
    """Serialise ids and times. An event that is not in the log yet has no time."""
    return None if isinstance(value, DatabaseDefault) else str(value)


def fold(events: Iterable[StructureEvent], state: State | None = None) -> State:
    """Apply the events to `state`, or to an empty one, in memory. Returns the state."""
    state = state or State()
    for event in events:
        for change in changes(event):
            apply_change(change, state.workspaces if change.table is Workspace else state.agents)
    return state


def apply_change(change: Change, rows: dict[UUID, Row]) -> None:
    """Make the change in the rows of its table, by id. A row that is not among them is ignored."""
    if change.creates:
        rows[change.id] = INITIAL_COLUMNS[change.table] | change.columns
    elif change.id in rows:
        rows[change.id] |= change.columns


def changes(event: StructureEvent) -> Iterator[Change]:
    """Return what the event changes. Depends on the event alone: no database, no clock."""
    return HANDLERS[EventType(event.event_type)](event, event.payload or {})


def _provisioning(event: StructureEvent, payload: Row) -> Iterator[Change]:
    """Create a workspace, or, if the payload has `from`, set an existing one to provisioning."""
    if "from" in payload:
        yield from _status(event, payload)
        return
    columns = _only(payload, ("name", "role", "tier", "runtime", "source_bundle_id"))
    columns |= {"parent_id": _uuid(payload.get("parent_id")), "status": Status.PROVISIONING}
    columns |= {"created_at": event.created_at, "updated_at": event.created_at}
    yield Change(Workspace, _workspace_id(event), columns, creates=True)


def _online(event: StructureEvent, payload: Row) -> Iterator[Change]:
    yield _workspace(event, status=STATUSES[EventType.WORKSPACE_ONLINE], **_only(payload, ("url", "agent_card")))


def _status(event: StructureEvent, payload: Row) -> Iterator[Change]:
    yield _workspace(event, status=STATUSES[EventType(event.event_type)])


def _updated(event: StructureEvent, payload: Row) -> Iterator[Change]:
    columns = {name: new for name, (_old, new) in payload["changes"].items()}
    forwarded = {"forwarded_to_id": _uuid(columns["forwarded_to"])} if "forwarded_to" in columns else {}
    yield _workspace(event, **_only(columns, EDITABLE), **forwarded)


def _moved(event: StructureEvent, payload: Row) -> Iterator[Change]:
    yield _workspace(event, parent_id=_uuid(payload["new_parent_id"]))


def _removed(event: StructureEvent, payload: Row) -> Iterator[Change]:
    """Remove the workspace and unassign its model."""
    yield _workspace(event, status=Status.REMOVED, forwarded_to_id=_uuid(payload["forwarded_to"]))
    if event.agent_id is not None:
        yield _unassigned(event, event.agent_id, "workspace removed")


def _card_updated(event: StructureEvent, payload: Row) -> Iterator[Change]:
    yield _workspace(event, agent_card=payload["agent_card"])


def _agent_assigned(event: StructureEvent, payload: Row) -> Iterator[Change]:
    yield _assigned(event, payload["model"])


def _agent_removed(event: StructureEvent, payload: Row) -> Iterator[Change]:
    yield _unassigned(event, _agent_id(event), payload["reason"])


def _agent_replaced(event: StructureEvent, payload: Row) -> Iterator[Change]:
    yield _unassigned(event, UUID(payload["old_agent_id"]), "replaced")
    yield _assigned(event, payload["new_model"])


def _agent_moved(event: StructureEvent, payload: Row) -> Iterator[Change]:
    """Both workspaces have such an event. Both events set the same workspace, so applying both is safe."""
    yield Change(Agent, _agent_id(event), {"workspace_id": UUID(payload["to_workspace_id"])})


def _no_changes(event: StructureEvent, payload: Row) -> Iterator[Change]:
    """A summary: the changes are in the events that it summarises."""
    yield from ()


def _workspace(event: StructureEvent, **columns: Any) -> Change:
    return Change(Workspace, _workspace_id(event), {"updated_at": event.created_at, **columns})


def _assigned(event: StructureEvent, model: str) -> Change:
    columns = {"workspace_id": _workspace_id(event), "model": model, "created_at": event.created_at}
    return Change(Agent, _agent_id(event), columns, creates=True)


def _unassigned(event: StructureEvent, agent_id: UUID, reason: str | None) -> Change:
    columns = {"status": AgentStatus.REMOVED, "removed_at": event.created_at, "removal_reason": reason}
    return Change(Agent, agent_id, columns)


def _workspace_id(event: StructureEvent) -> UUID:
    """The column is nullable, but record() always sets it. Raises ValueError."""
    if event.workspace_id is None:
        raise ValueError(f"event {event.seq} has no workspace_id")
    return event.workspace_id


def _agent_id(event: StructureEvent) -> UUID:
    if event.agent_id is None:
        raise ValueError(f"event {event.seq} has no agent_id")
    return event.agent_id


def _uuid(value: str | None) -> UUID | None:
    return None if value is None else UUID(value)


def value_in_events(workspace: Workspace, name: str) -> Any:
    """Return a column's value as events and the API show it: an unknown runtime is "" there and NULL in the table."""
    value = getattr(workspace, name)
    return value or "" if name == "runtime" else value


def _only(values: Row, names: tuple[str, ...]) -> Row:
    columns = {name: values[name] for name in names if name in values}
    if "runtime" in columns:
        columns["runtime"] = columns["runtime"] or None
    return columns


# Columns of a new row that its creating event does not contain, or need not.
INITIAL_COLUMNS: dict[type[Workspace] | type[Agent], Row] = {
    Workspace: {
        "role": None, "tier": DEFAULT_TIER, "runtime": None, "source_bundle_id": None, "agent_card": None, "url": None,
        "forwarded_to_id": None,
    },
    Agent: {"status": AgentStatus.ACTIVE, "removed_at": None, "removal_reason": None},
}  # fmt: skip

STATUSES: dict[EventType, Status] = {
    EventType.WORKSPACE_PROVISIONING: Status.PROVISIONING,
    EventType.WORKSPACE_ONLINE: Status.ONLINE,
    EventType.WORKSPACE_OFFLINE: Status.OFFLINE,
    EventType.WORKSPACE_DEGRADED: Status.DEGRADED,
    EventType.WORKSPACE_PROVISION_FAILED: Status.FAILED,
    EventType.WORKSPACE_PAUSED: Status.PAUSED,
    EventType.WORKSPACE_REMOVED: Status.REMOVED,
}
"""The status that an event sets, whatever it contains; other events set none."""

HANDLERS: dict[EventType, Callable[[StructureEvent, Row], Iterator[Change]]] = {
    EventType.WORKSPACE_PROVISIONING: _provisioning,
    EventType.WORKSPACE_ONLINE: _online,
    EventType.WORKSPACE_OFFLINE: _status,
    EventType.WORKSPACE_DEGRADED: _status,
    EventType.WORKSPACE_PROVISION_FAILED: _status,
    EventType.WORKSPACE_PAUSED: _status,
    EventType.WORKSPACE_UPDATED: _updated,
    EventType.WORKSPACE_MOVED: _moved,
    EventType.WORKSPACE_REMOVED: _removed,
    EventType.WORKSPACE_EXPANDED: _no_changes,
    EventType.WORKSPACE_COLLAPSED: _no_changes,
    EventType.AGENT_ASSIGNED: _agent_assigned,
    EventType.AGENT_REMOVED: _agent_removed,
    EventType.AGENT_REPLACED: _agent_replaced,
    EventType.AGENT_MOVED: _agent_moved,
    EventType.AGENT_CARD_UPDATED: _card_updated,
}
