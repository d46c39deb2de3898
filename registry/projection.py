"""apply(): the one writer of structural columns. What an event means is changes(), pure; replay folds the same."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from activity.models import EventType, StructureEvent
from registry.models import Agent, AgentStatus, Status, Workspace

EDITABLE = ("name", "role", "tier", "runtime", "url", "agent_card")
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
    """Bring `workspaces` and `agents` up to each event, in order. Reads nothing but the events themselves."""
    for event in events:
        for change in changes(event):
            if change.creates:
                change.table.objects.create(id=change.id, **change.columns)
            else:
                change.table.objects.filter(id=change.id).update(**change.columns)


def fold(events: Iterable[StructureEvent], state: State | None = None) -> State:
    """The same in memory: replay without a database."""
    state = state or State()
    for event in events:
        for change in changes(event):
            rows = state.workspaces if change.table is Workspace else state.agents
            if change.creates:
                rows[change.id] = BLANK[change.table] | change.columns
            elif change.id in rows:
                rows[change.id] |= change.columns
    return state


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


def _only(values: Row, names: tuple[str, ...]) -> Row:
    return {name: values[name] for name in names if name in values}


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
