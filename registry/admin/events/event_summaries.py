"""Summaries of events: what changed, who changed it, old and new values. Without queries: names are passed in.

Rows may have been written by plain SQL: an unexpected payload makes a shorter summary, never an error.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from activity.models import EventType, StructureEvent
from activity.principals import Kind, operator_name
from registry.admin.events import values
from registry.admin.events.values import Difference, Names
from registry.models import Status

MAX_FILES = 20
"""Shown of one event; its title counts all."""


@dataclass(frozen=True, kw_only=True)
class EventSummary:
    """A structure event as the timeline shows it."""

    title: str
    differences: tuple[Difference, ...] = ()
    detail: str = ""


def actor_label(actor: str, workspace_id: UUID | None, names: Names) -> str:
    """Returns "ada" for "operator:ada#7", "the agent of Scout" for a workspace; other forms are returned unchanged."""
    kind, _, name = actor.partition(":")
    if kind == Kind.OPERATOR and name:
        return operator_name(name)
    if kind == "command" and name:
        return f"command {name}"
    if kind != Kind.WORKSPACE:
        return actor
    if name == str(workspace_id):
        return "the agent itself"
    known = names.get(values.as_uuid(name) or UUID(int=0))
    return f"the agent of {known or name}"


def mentioned_workspaces(event: StructureEvent) -> set[UUID]:
    """Returns the ids of the workspaces whose names the summary needs."""
    payload = _payload(event)
    mentioned = [payload.get(key) for key in ("parent_id", "old_parent_id", "new_parent_id", "forwarded_to")]
    mentioned += [payload.get(key) for key in ("from_workspace_id", "to_workspace_id")]
    mentioned += [side for name, pair in _pairs(payload) if name == "forwarded_to" for side in pair]
    kind, _, name = event.actor.partition(":")
    mentioned.append(name if kind == Kind.WORKSPACE else None)
    return {known for one in mentioned if (known := values.as_uuid(one)) is not None}


def summarize(event: StructureEvent, names: Names) -> EventSummary:
    """Returns the summary; for an unknown type, the type in words."""
    summarizer = SUMMARIES.get(event.event_type)
    if summarizer is None:
        return EventSummary(title=event.event_type.replace("_", " ").capitalize())
    return summarizer(event, _payload(event), names)


# --- One function for each event type ----------------------------------------------------------------


def _provisioning(event: StructureEvent, payload: dict[str, Any], names: Names) -> EventSummary:
    if "from" in payload:
        title = "Resumed" if payload["from"] == Status.PAUSED else "Restarted"
        return EventSummary(title=title, differences=values.to_status(payload, Status.PROVISIONING))
    given = [(name, payload[name]) for name in ("name", "role", "tier", "runtime") if payload.get(name) is not None]
    shown = [Difference(field=name, after=values.value(value)) for name, value in given]
    if values.as_uuid(payload.get("parent_id")):
        shown.append(Difference(field="parent", after=values.parent(payload["parent_id"], names)))
    return EventSummary(title="Created", differences=tuple(shown))


def _online(event: StructureEvent, payload: dict[str, Any], names: Names) -> EventSummary:
    """A registration records its URL. So does the creation of an external workspace, which has no agent yet."""
    registered = "url" in payload and "external" not in payload
    again = payload.get("from") == Status.ONLINE
    url = [Difference(field="url", after=values.value(payload["url"]))] if payload.get("url") else []
    title = "Registered again" if again else "Registered" if registered else "Online"
    return EventSummary(title=title, differences=(*values.to_status(payload, Status.ONLINE), *url))


def _offline(event: StructureEvent, payload: dict[str, Any], names: Names) -> EventSummary:
    return EventSummary(
        title="Went offline",
        differences=values.to_status(payload, Status.OFFLINE),
        detail=values.text(payload.get("reason")) + (", flapping" if payload.get("flapping_until") else ""),
    )


def _degraded(event: StructureEvent, payload: dict[str, Any], names: Names) -> EventSummary:
    rate = payload.get("error_rate")
    parts = [f"its runtime is {values.text(payload['runtime_state'])}"] if payload.get("runtime_state") else []
    parts += [f"{rate:.0%} of its calls fail"] if isinstance(rate, int | float) and (rate or not parts) else []
    parts += [values.text(payload["sample_error"])] if payload.get("sample_error") else []
    return EventSummary(
        title="Degraded", differences=values.to_status(payload, Status.DEGRADED), detail=": ".join(parts)
    )


def _failed(event: StructureEvent, payload: dict[str, Any], names: Names) -> EventSummary:
    why = values.text(payload.get("error") or payload.get("reason"))
    return EventSummary(title="Failed to start", differences=values.to_status(payload, Status.FAILED), detail=why)


def _paused(event: StructureEvent, payload: dict[str, Any], names: Names) -> EventSummary:
    return EventSummary(title="Paused", differences=values.to_status(payload, Status.PAUSED))


def _updated(event: StructureEvent, payload: dict[str, Any], names: Names) -> EventSummary:
    shown = tuple(one for name, (old, new) in _pairs(payload) for one in values.differences(name, old, new, names))
    fields = [name for name, _pair in _pairs(payload)]
    if fields == ["forwarded_to"]:
        return EventSummary(
            title="Forwarded" if shown[0].after.workspace_id else "No longer forwarded", differences=shown
        )
    files = dict(_pairs(payload, "files"))
    named = [name.replace("_", " ") for name in fields]
    named += list(files) if len(files) == 1 else [f"{len(files)} files"] if files else []
    shown += tuple(values.file(path, old, new) for path, (old, new) in list(files.items())[:MAX_FILES])
    return EventSummary(title=f"Changed {_joined(named)}".strip(), differences=shown)


def _moved(event: StructureEvent, payload: dict[str, Any], names: Names) -> EventSummary:
    old, new = (values.parent(payload.get(key), names) for key in ("old_parent_id", "new_parent_id"))
    return EventSummary(title="Moved", differences=(Difference(field="parent", before=old, after=new),))


def _removed(event: StructureEvent, payload: dict[str, Any], names: Names) -> EventSummary:
    shown = values.to_status(payload, Status.REMOVED)
    if values.as_uuid(payload.get("forwarded_to")):
        shown += (Difference(field="forwarded to", after=values.workspace(payload["forwarded_to"], names)),)
    along, secrets = payload.get("cascade_deleted"), payload.get("secrets_deleted")
    parts = [f"with its team of {along}"] if along else []
    parts += [f"{secrets} of its secrets deleted"] if secrets else []
    return EventSummary(title="Removed", differences=shown, detail=", ".join(parts))


def _expanded(event: StructureEvent, payload: dict[str, Any], names: Names) -> EventSummary:
    children = [values.text(child.get("name")) for child in _list(payload.get("children")) if isinstance(child, dict)]
    return EventSummary(title="Team members added", detail=_joined(children))


def _collapsed(event: StructureEvent, payload: dict[str, Any], names: Names) -> EventSummary:
    gone = [values.text(name) for name in _list(payload.get("removed_children"))]
    deeper = len(_list(payload.get("removed_sub_workspace_ids"))) - len(gone)
    return EventSummary(
        title="Team removed", detail=_joined(gone) + (f", and {deeper} in their teams" if deeper > 0 else "")
    )


def _agent_assigned(event: StructureEvent, payload: dict[str, Any], names: Names) -> EventSummary:
    return EventSummary(title="Agent assigned", differences=(values.agent(None, payload.get("model")),))


def _agent_removed(event: StructureEvent, payload: dict[str, Any], names: Names) -> EventSummary:
    shown = (values.agent(payload.get("model"), None),)
    return EventSummary(title="Agent removed", differences=shown, detail=values.text(payload.get("reason")))


def _agent_replaced(event: StructureEvent, payload: dict[str, Any], names: Names) -> EventSummary:
    return EventSummary(
        title="Agent replaced", differences=(values.agent(payload.get("old_model"), payload.get("new_model")),)
    )


def _agent_moved(event: StructureEvent, payload: dict[str, Any], names: Names) -> EventSummary:
    """Appears in both timelines: the event has the id of the workspace that lost or got the agent."""
    leaves = payload.get("from_workspace_id") == str(event.workspace_id)
    model = payload.get("model")
    agent = values.agent(model, None) if leaves else values.agent(None, model)
    came, went = (values.workspace(payload.get(key), names) for key in ("from_workspace_id", "to_workspace_id"))
    where = Difference(field="workspace", before=came, after=went)
    return EventSummary(title="Agent moved away" if leaves else "Agent moved here", differences=(agent, where))


def _card_updated(event: StructureEvent, payload: dict[str, Any], names: Names) -> EventSummary:
    shown = values.differences("agent_card", payload.get("old_agent_card"), payload.get("agent_card"), names)
    return EventSummary(title="Agent card changed", differences=tuple(shown))


SUMMARIES: Mapping[str, Callable[[StructureEvent, dict[str, Any], Names], EventSummary]] = {
    EventType.WORKSPACE_PROVISIONING: _provisioning,
    EventType.WORKSPACE_ONLINE: _online,
    EventType.WORKSPACE_OFFLINE: _offline,
    EventType.WORKSPACE_DEGRADED: _degraded,
    EventType.WORKSPACE_PROVISION_FAILED: _failed,
    EventType.WORKSPACE_PAUSED: _paused,
    EventType.WORKSPACE_UPDATED: _updated,
    EventType.WORKSPACE_MOVED: _moved,
    EventType.WORKSPACE_REMOVED: _removed,
    EventType.WORKSPACE_EXPANDED: _expanded,
    EventType.WORKSPACE_COLLAPSED: _collapsed,
    EventType.AGENT_ASSIGNED: _agent_assigned,
    EventType.AGENT_REMOVED: _agent_removed,
    EventType.AGENT_REPLACED: _agent_replaced,
    EventType.AGENT_MOVED: _agent_moved,
    EventType.AGENT_CARD_UPDATED: _card_updated,
}


def _joined(texts: list[str]) -> str:
    """ "a, b and c"."""
    return " and ".join(part for part in (", ".join(texts[:-1]), *texts[-1:]) if part)


def _payload(event: StructureEvent) -> dict[str, Any]:
    return event.payload if isinstance(event.payload, dict) else {}


def _pairs(payload: dict[str, Any], key: str = "changes") -> list[tuple[str, tuple[Any, Any]]]:
    changes = payload.get(key)
    mentioned = changes.items() if isinstance(changes, dict) else ()
    return [(name, (pair[0], pair[1])) for name, pair in mentioned if isinstance(pair, list) and len(pair) == 2]


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
