"""apply(): the one writer of structural columns. Same event, same row, whether live or in replay."""

from collections.abc import Callable, Iterable
from typing import Any
from uuid import UUID

from activity.models import EventType, StructureEvent
from registry.models import Agent, AgentStatus, Status, Workspace

CREATED = ("name", "role", "tier", "runtime", "parent_id", "source_bundle_id", "url", "agent_card")
EDITABLE = ("name", "role", "tier", "runtime", "url", "agent_card")


def apply(events: Iterable[StructureEvent]) -> None:
    """Bring `workspaces` and `agents` up to each event, in order. Reads nothing but the events themselves."""
    for event in events:
        APPLY[EventType(event.event_type)](event)


def _provisioning(event: StructureEvent) -> None:
    payload = _payload(event)
    if "from" in payload:
        _set(event, status=Status.PROVISIONING)
        return
    Workspace.objects.create(
        id=_known(event.workspace_id),
        status=Status.PROVISIONING,
        created_at=event.created_at,
        updated_at=event.created_at,
        **_only(payload, CREATED),
    )


def _online(event: StructureEvent) -> None:
    _set(event, status=Status.ONLINE, **_only(_payload(event), ("url", "agent_card")))


def _status(status: Status) -> Callable[[StructureEvent], None]:
    return lambda event: _set(event, status=status)


def _updated(event: StructureEvent) -> None:
    changes = {name: new for name, (_old, new) in _payload(event)["changes"].items()}
    _set(event, **_only(changes, EDITABLE))


def _moved(event: StructureEvent) -> None:
    _set(event, parent_id=_payload(event)["new_parent_id"])


def _removed(event: StructureEvent) -> None:
    _set(event, status=Status.REMOVED, forwarded_to_id=_payload(event)["forwarded_to"])


def _card_updated(event: StructureEvent) -> None:
    _set(event, agent_card=_payload(event)["agent_card"])


def _agent_assigned(event: StructureEvent) -> None:
    Agent.objects.create(
        id=_known(event.agent_id),
        workspace_id=_known(event.workspace_id),
        model=_payload(event)["model"],
        created_at=event.created_at,
    )


def _agent_removed(event: StructureEvent) -> None:
    Agent.objects.filter(id=_known(event.agent_id)).update(
        status=AgentStatus.REMOVED, removed_at=event.created_at, removal_reason=_payload(event).get("reason")
    )


def _nothing(event: StructureEvent) -> None:
    """The event groups others that carry the changes."""


def _set(event: StructureEvent, **columns: Any) -> None:
    Workspace.objects.filter(id=_known(event.workspace_id)).update(updated_at=event.created_at, **columns)


def _only(values: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: values[name] for name in names if name in values}


def _known(subject: UUID | None) -> UUID:
    """The columns are nullable for SQL's sake; what record() writes always names its subject."""
    if subject is None:
        raise ValueError("event without a subject")
    return subject


def _payload(event: StructureEvent) -> dict[str, Any]:
    return event.payload or {}


APPLY: dict[EventType, Callable[[StructureEvent], None]] = {
    EventType.WORKSPACE_PROVISIONING: _provisioning,
    EventType.WORKSPACE_ONLINE: _online,
    EventType.WORKSPACE_OFFLINE: _status(Status.OFFLINE),
    EventType.WORKSPACE_DEGRADED: _status(Status.DEGRADED),
    EventType.WORKSPACE_PROVISION_FAILED: _status(Status.FAILED),
    EventType.WORKSPACE_PAUSED: _status(Status.PAUSED),
    EventType.WORKSPACE_UPDATED: _updated,
    EventType.WORKSPACE_MOVED: _moved,
    EventType.WORKSPACE_REMOVED: _removed,
    EventType.AGENT_CARD_UPDATED: _card_updated,
    EventType.AGENT_ASSIGNED: _agent_assigned,
    EventType.AGENT_REMOVED: _agent_removed,
    EventType.WORKSPACE_EXPANDED: _nothing,
    EventType.WORKSPACE_COLLAPSED: _nothing,
}
