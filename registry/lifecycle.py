"""The state machine: create, register, update, move, remove. Each locks, decides, records, applies."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

from django.conf import settings
from django.db import transaction

from activity import bus
from activity.events import NewEvent, envelope_of, record
from activity.models import EventType, StructureEvent
from activity.principals import Kind
from registry import credentials, hierarchy, presence, projection
from registry.exceptions import BadCredential, Forwarded, HasChildren, Invalid, NotFound, Removed
from registry.models import DEFAULT_RUNTIME, DEFAULT_TIER, Status, Workspace

MAX_FORWARDS = 5


@dataclass(frozen=True, kw_only=True)
class NewWorkspace:
    """What create() needs. `place` is the canvas position, kept in the event for whoever draws it."""

    name: str
    role: str | None = None
    tier: int = DEFAULT_TIER
    runtime: str = DEFAULT_RUNTIME
    parent_id: UUID | None = None
    model: str | None = None
    template: str | None = None
    external: bool = False
    url: str | None = None
    source_bundle_id: str | None = None
    place: tuple[float, float] | None = None


def create(new: NewWorkspace, *, actor: str, workspace_id: UUID | None = None) -> Workspace:
    """Create a workspace in `provisioning`; an external one with a URL is online at once. Raises Invalid."""
    workspace_id = workspace_id or uuid4()
    with transaction.atomic():
        if new.parent_id is not None:
            _lock_parent(new.parent_id)
        events = [
            NewEvent(event_type=EventType.WORKSPACE_PROVISIONING, workspace_id=workspace_id, payload=_created(new))
        ]
        if new.external and new.url:
            events.append(
                _event(
                    EventType.WORKSPACE_ONLINE,
                    workspace_id,
                    {"from": Status.PROVISIONING, "name": new.name, "external": True, "url": new.url},
                )
            )
        if new.model:
            events.append(_assignment(workspace_id, new.model))
        projection.apply(record(events, actor=actor))
        online = new.external and bool(new.url)
        presence.grant_lease([workspace_id], settings.LEASE_SECONDS if online else settings.PROVISIONING_SECONDS)
        if online:
            _announce_alive(workspace_id, new.url or "")
        return Workspace.objects.get(id=workspace_id)


def register(id: UUID, *, url: str, agent_card: dict[str, Any], held: bool, enrolment_id: UUID | None) -> str | None:
    """An agent is here: online from any state but removed (Removed) and paused (which it stays).

    `held`: it showed the workspace's token, and needs no new one. `enrolment_id`: it showed an enrolment,
    which is used up. Neither: enrolment is open, which also creates an unknown workspace, named by its card.
    Returns the token issued, if any. Raises NotFound, Removed, BadCredential.
    """
    actor = f"{Kind.WORKSPACE}:{id}"
    is_open = not held and enrolment_id is None
    with transaction.atomic():
        if is_open and not Workspace.objects.filter(id=id).exists():
            create(NewWorkspace(name=agent_card["name"][:255], external=True), actor=actor, workspace_id=id)
        workspace = lock_living(id)
        if enrolment_id is not None:
            credentials.redeem_enrolment(enrolment_id)
        elif is_open and credentials.has_live_token(id):
            raise BadCredential("this workspace has a token: send it")
        projection.apply(record(_registration(workspace, url, agent_card), actor=actor))
        presence.grant_lease([id], settings.LEASE_SECONDS)
        _announce_alive(id, url)
        return None if held else credentials.issue_workspace_token(id, label="registration")


def update(workspace_id: UUID, changes: dict[str, Any], *, actor: str) -> bool:
    """Set name, role, tier, runtime and parent_id as given; returns whether a restart is needed to see it.

    Raises NotFound, Removed, Invalid (unknown parent, cycle).
    """
    with transaction.atomic():
        if "parent_id" in changes:
            hierarchy.lock()
        workspace = lock_living(workspace_id)
        parent_id = changes.get("parent_id", workspace.parent_id)
        differing = {
            name: [getattr(workspace, name), value]
            for name, value in changes.items()
            if name in projection.EDITABLE and getattr(workspace, name) != value
        }
        events = []
        if differing:
            events.append(_event(EventType.WORKSPACE_UPDATED, workspace_id, {"changes": differing}))
        if parent_id != workspace.parent_id:
            _check_parent(workspace_id, parent_id)
            events.append(_move(workspace, parent_id))
        projection.apply(record(events, actor=actor))
        return "tier" in differing or "runtime" in differing


def update_card(workspace_id: UUID, agent_card: dict[str, Any], *, actor: str) -> None:
    """Raises NotFound, Removed. The same card again is no event."""
    with transaction.atomic():
        workspace = lock_living(workspace_id)
        if workspace.agent_card != agent_card:
            payload = {"agent_card": agent_card, "old_agent_card": workspace.agent_card}
            event = _event(EventType.AGENT_CARD_UPDATED, workspace_id, payload)
            projection.apply(record([event], actor=actor))


def remove(workspace_id: UUID, *, actor: str, confirm: bool, forward_to: UUID | None = None) -> list[UUID]:
    """Retire a workspace and everything below it, for good. Returns the ids, descendants first.

    Raises NotFound, Removed, HasChildren (when it has some and `confirm` is false), Invalid (forward_to).
    """
    with transaction.atomic():
        hierarchy.lock()
        root = lock_living(workspace_id)
        subtree = _lock_subtree(root)
        children = [w for w in subtree if w.parent_id == workspace_id]
        if children and not confirm:
            raise HasChildren([(child.id, child.name) for child in children])
        ids = [w.id for w in subtree]
        if forward_to is not None:
            _check_forward(forward_to, ids)
        credentials.revoke_workspace_tokens(ids)
        events = [
            _event(
                EventType.WORKSPACE_REMOVED,
                w.id,
                {
                    "from": w.status,
                    "name": w.name,
                    "forwarded_to": _text(forward_to) if w.id == workspace_id else None,
                    "cascade_deleted": len(ids) - 1 if w.id == workspace_id else 0,
                },
            )
            for w in subtree
        ]
        projection.apply(record(events, actor=actor))
        bus.after_commit(presence.forget, ids)
        return ids


def find(workspace_id: UUID) -> Workspace:
    """The living workspace. Raises NotFound, Forwarded (following the chain), Removed (with its last event)."""
    workspace = Workspace.objects.filter(id=workspace_id).first()
    if workspace is None:
        raise NotFound
    if workspace.status != Status.REMOVED:
        return workspace
    target = _follow(workspace)
    if target is not None:
        raise Forwarded(workspace_id, target.id, target.url or "")
    raise Removed(workspace_id, last_event(workspace_id))


def last_event(workspace_id: UUID) -> dict[str, Any] | None:
    event = StructureEvent.objects.filter(workspace_id=workspace_id).order_by("-seq").first()
    return None if event is None else dict(envelope_of(event))


def _announce_alive(workspace_id: UUID, url: str) -> None:
    bus.after_commit(presence.mark_alive, [workspace_id])
    bus.after_commit(presence.cache_url, workspace_id, url)


# --- Locks and checks ----------------------------------------------------------------------------------


def lock_living(workspace_id: UUID) -> Workspace:
    """Lock the row for a change. Raises NotFound, Removed."""
    workspace = Workspace.objects.select_for_update(no_key=True).filter(id=workspace_id).first()
    if workspace is None:
        raise NotFound
    if workspace.status == Status.REMOVED:
        raise Removed(workspace_id, last_event(workspace_id))
    return workspace


def _lock_parent(parent_id: UUID) -> None:
    parent = Workspace.objects.select_for_update(no_key=True).filter(id=parent_id).first()
    if parent is None or parent.status == Status.REMOVED:
        raise Invalid("parent_id: no such workspace", field="parent_id")


def _check_parent(workspace_id: UUID, parent_id: UUID | None) -> None:
    """The database refuses cycles as well; here it gets a name. Needs the hierarchy lock."""
    if parent_id is None:
        return
    if parent_id == workspace_id or parent_id in hierarchy.descendants(workspace_id):
        raise Invalid("parent_id: a workspace cannot be below itself", field="parent_id")
    _lock_parent(parent_id)


def _lock_subtree(root: Workspace) -> list[Workspace]:
    """The living descendants, deepest first, then the root; all locked in one order."""
    ids = hierarchy.descendants(root.id)
    rows = {w.id: w for w in Workspace.objects.select_for_update(no_key=True).filter(id__in=ids).order_by("id")}
    return [rows[i] for i in ids if i in rows and rows[i].status != Status.REMOVED] + [root]


def _check_forward(forward_to: UUID, going: Sequence[UUID]) -> None:
    target = Workspace.objects.filter(id=forward_to).first()
    if target is None or target.status == Status.REMOVED:
        raise Invalid("forward_to: no such workspace", field="forward_to")
    if forward_to in going:
        raise Invalid("forward_to: is being removed as well", field="forward_to")


def _follow(workspace: Workspace) -> Workspace | None:
    """The living end of a chain of forwards, None when it ends in a removed one or goes on too long."""
    for _ in range(MAX_FORWARDS):
        target = workspace.forwarded_to
        if target is None or target.status != Status.REMOVED:
            return target
        workspace = target
    return None


# --- Events --------------------------------------------------------------------------------------------


def _created(new: NewWorkspace) -> dict[str, Any]:
    payload: dict[str, Any] = {
        "name": new.name,
        "role": new.role,
        "tier": new.tier,
        "runtime": new.runtime,
        "parent_id": _text(new.parent_id),
        "source_bundle_id": new.source_bundle_id,
        "external": new.external,
    }
    if new.template:
        payload["template"] = new.template
    if new.place:
        payload["x"], payload["y"] = new.place
    return payload


def _assignment(workspace_id: UUID, model: str) -> NewEvent:
    agent_id = uuid4()
    return NewEvent(
        event_type=EventType.AGENT_ASSIGNED,
        workspace_id=workspace_id,
        agent_id=agent_id,
        payload={"agent_id": str(agent_id), "model": model},
    )


def _registration(workspace: Workspace, url: str, agent_card: dict[str, Any]) -> list[NewEvent]:
    """One event when anything changed, none when the same agent says the same again."""
    changes = {
        name: [getattr(workspace, name), value]
        for name, value in (("url", url), ("agent_card", agent_card))
        if getattr(workspace, name) != value
    }
    if workspace.status == Status.PAUSED:
        return [_event(EventType.WORKSPACE_UPDATED, workspace.id, {"changes": changes})] if changes else []
    if workspace.status == Status.ONLINE and not changes:
        return []
    payload = {"from": workspace.status, "url": url, "agent_card": agent_card}
    return [_event(EventType.WORKSPACE_ONLINE, workspace.id, payload)]


def _move(workspace: Workspace, parent_id: UUID | None) -> NewEvent:
    payload = {"old_parent_id": _text(workspace.parent_id), "new_parent_id": _text(parent_id)}
    return _event(EventType.WORKSPACE_MOVED, workspace.id, payload)


def _event(event_type: EventType, workspace_id: UUID, payload: dict[str, Any]) -> NewEvent:
    return NewEvent(event_type=event_type, workspace_id=workspace_id, payload=payload)


def _text(value: UUID | None) -> str | None:
    return None if value is None else str(value)
