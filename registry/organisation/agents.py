"""Assign a model to a workspace, replace, unassign or move it. The database allows one active model per workspace."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

from django.db import transaction

from activity.events import NewEvent, record
from activity.models import EventType
from registry.exceptions import Conflict, NotFound
from registry.models import Agent, AgentStatus
from registry.structure import projection, rows

ALREADY_ASSIGNED = "workspace already has an active agent, use PATCH to replace"


@dataclass(frozen=True, kw_only=True)
class Replaced:
    """The result of replace()."""

    agent_id: UUID
    model: str
    old_model: str


def assignment(workspace_id: UUID, model: str) -> NewEvent:
    """Return the event that assigns a model; the caller records it."""
    agent_id = uuid4()
    return NewEvent(
        event_type=EventType.AGENT_ASSIGNED,
        workspace_id=workspace_id,
        agent_id=agent_id,
        payload={"agent_id": str(agent_id), "model": model},
    )


def assign(workspace_id: UUID, model: str, *, actor: str) -> Agent:
    """Assign the model and return the assignment. Raises NotFound, Removed, Conflict (a model is assigned)."""
    with transaction.atomic():
        rows.lock_active(workspace_id)
        if active(workspace_id) is not None:
            raise Conflict(ALREADY_ASSIGNED)
        projection.apply(record([assignment(workspace_id, model)], actor=actor))
        return _required(workspace_id, "no active agent")


def replace(workspace_id: UUID, model: str, *, actor: str) -> Replaced:
    """Unassign the current model and assign another, with a new agent id. Raises NotFound (no model), Removed."""
    with transaction.atomic():
        rows.lock_active(workspace_id)
        old = _required(workspace_id, "no active agent to replace")
        new_id = uuid4()
        payload = {
            "agent_id": str(new_id),
            "old_agent_id": str(old.id),
            "old_model": old.model,
            "new_model": model,
        }
        _record(EventType.AGENT_REPLACED, workspace_id, new_id, payload, actor)
        return Replaced(agent_id=new_id, model=model, old_model=old.model)


def remove(workspace_id: UUID, *, reason: str | None, actor: str) -> Agent:
    """Unassign the model and return the assignment as it was. Raises NotFound (no model), Removed."""
    with transaction.atomic():
        rows.lock_active(workspace_id)
        agent = _required(workspace_id, "no active agent to remove")
        payload = {"agent_id": str(agent.id), "model": agent.model, "reason": reason}
        _record(EventType.AGENT_REMOVED, workspace_id, agent.id, payload, actor)
        return agent


def set_model(workspace_id: UUID, model: str, *, actor: str) -> None:
    """Assign the model, in place of another one, or none for ""; the same again changes nothing.

    Raises NotFound, Removed.
    """
    with transaction.atomic():
        rows.lock_active(workspace_id)
        current = active(workspace_id)
        if model == (current.model if current else ""):
            return
        if not model:
            remove(workspace_id, reason=None, actor=actor)
        elif current:
            replace(workspace_id, model, actor=actor)
        else:
            assign(workspace_id, model, actor=actor)


def move(workspace_id: UUID, target_id: UUID, *, actor: str) -> Agent:
    """Move the assignment, with its id, to the target; return it as it was. Each of the two workspaces gets an event.

    Raises Conflict (the target has a model), before NotFound (also if no model is assigned) and Removed.
    """
    with transaction.atomic():
        locked = rows.lock([workspace_id, target_id])
        if active(target_id) is not None:
            raise Conflict("target workspace already has an active agent")
        for one in (workspace_id, target_id):
            rows.require_active(one, locked)
        agent = _required(workspace_id, "no active agent to move")
        payload = {
            "agent_id": str(agent.id),
            "model": agent.model,
            "from_workspace_id": str(workspace_id),
            "to_workspace_id": str(target_id),
        }
        events = [
            NewEvent(
                event_type=EventType.AGENT_MOVED,
                workspace_id=here,
                agent_id=agent.id,
                target_id=there,
                payload=payload | {name: str(there)},
            )
            for here, there, name in (
                (workspace_id, target_id, "target_workspace_id"),
                (target_id, workspace_id, "source_workspace_id"),
            )
        ]
        projection.apply(record(events, actor=actor))
        return agent


def active(workspace_id: UUID) -> Agent | None:
    """Return the current assignment of the workspace, None if there is none."""
    return Agent.objects.filter(workspace_id=workspace_id, status=AgentStatus.ACTIVE).first()


def _required(workspace_id: UUID, message: str) -> Agent:
    agent = active(workspace_id)
    if agent is None:
        raise NotFound(message)
    return agent


def _record(kind: EventType, workspace_id: UUID, agent_id: UUID, payload: dict[str, Any], actor: str) -> None:
    event = NewEvent(event_type=kind, workspace_id=workspace_id, agent_id=agent_id, payload=payload)
    projection.apply(record([event], actor=actor))
