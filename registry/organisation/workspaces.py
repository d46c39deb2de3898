"""Create, register, update and move workspaces. Each operation locks rows, decides, records events and applies them."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

from django.core.exceptions import ValidationError
from django.db import transaction

from activity import bus
from activity.events import NewEvent, record
from activity.models import EventType
from activity.principals import Kind
from registry.exceptions import MISSING_TOKEN, BadCredential, Conflict, Invalid
from registry.identity import enrolment, refusals, tokens
from registry.liveness import presence
from registry.models import DEFAULT_TIER, EXTERNAL, Status, Workspace
from registry.organisation import agents
from registry.organisation.agent_cards import check_size, read_card
from registry.secrets import masking
from registry.secrets.masking import Mask
from registry.structure import change_limit, deployments, hierarchy, projection, rows
from registry.structure.text import clean_name, clean_role, shortened_name

RULES: dict[str, Callable[[Any], Any]] = {"name": clean_name, "role": clean_role, "runtime": lambda text: text or ""}


@dataclass(frozen=True, kw_only=True)
class NewWorkspace:
    """What create() needs. `external` says that the agent runs elsewhere, as the runtime "external" does: each implies
    the other. `place` is the position on the canvas, which only the event keeps. `agent_card` is one that is known
    before its agent registers.

    Raises Invalid for a name or role that breaks the rules of registry.structure.text.
    """

    name: str
    role: str | None = None
    tier: int = DEFAULT_TIER
    runtime: str = ""
    parent_id: UUID | None = None
    model: str | None = None
    template: str | None = None
    external: bool = False
    url: str | None = None
    source_bundle_id: str | None = None
    place: tuple[float, float] | None = None
    agent_card: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", _checked("name", self.name))
        object.__setattr__(self, "role", _checked("role", self.role))
        if self.external:
            object.__setattr__(self, "runtime", EXTERNAL)
        object.__setattr__(self, "external", self.runtime == EXTERNAL)


@dataclass(frozen=True, kw_only=True)
class Update:
    """What update() did. `needs_restart`: whether the agent must restart to notice; `event_ids`: for undo.undo()."""

    needs_restart: bool
    event_ids: list[UUID]


def create(new: NewWorkspace, *, actor: str, workspace_id: UUID | None = None) -> Workspace:
    """Create a workspace in `provisioning`; an external one with a URL is online at once. Raises Invalid."""
    workspace_id = workspace_id or uuid4()
    with transaction.atomic():
        create_all({workspace_id: new}, actor=actor)
        return Workspace.objects.get(id=workspace_id)


def create_all(new: Mapping[UUID, NewWorkspace], *, actor: str) -> None:
    """Create several workspaces, parents before their children: one batch of events, and few statements.

    Raises Invalid (a parent that is unknown or removed), TooLarge (a card).
    """
    cards = _cards(new)
    parents = {one.parent_id for one in new.values() if one.parent_id is not None} - new.keys()
    with transaction.atomic():
        if parents:
            # So that a concurrent removal of a parent either includes this child, or is seen here.
            hierarchy.lock()
        # Needed without a parent too: rows are locked before the log, and `rebuild --fix` locks all rows at once.
        locked = rows.lock({*new, *parents})
        for parent_id in parents:
            _check_active(parent_id, locked)
        projection.apply(record(list(_creation(new, cards)), actor=actor))
        for workspace_id, one in new.items():
            if one.external and one.url:
                _start_lease(workspace_id, one.url, heartbeat_interval=None)


def register(
    id: UUID,
    *,
    url: str,
    agent_card: dict[str, Any],
    heartbeat_interval: int | None = None,
    held: bool,
    enrolment_id: UUID | None,
    may_reveal: bool = False,
) -> str | None:
    """Register an agent: the workspace is set online from any status but paused, in which it stays.

    `held`: the agent presented the workspace's token, and gets no new one. `enrolment_id`: it presented that enrolment
    token, which is used up, or was just used (see enrolment.redeem). With neither, enrolment is open; an unknown
    workspace is then created and named by its card.
    `may_reveal`: the new token may read secret values, because the caller's credential may.
    `heartbeat_interval`: seconds between the agent's heartbeats; None means that the lease lasts LEASE_SECONDS.
    Secrets in the card are masked. A URL that contains one is refused, because a masked URL cannot be called.
    Returns the token issued, if any. Raises NotFound, Removed, BadCredential, Invalid (url), TooLarge, TooOften.
    """
    actor = f"{Kind.WORKSPACE}:{id}"
    is_open = not held and enrolment_id is None
    mask, agent_card = _received(id, agent_card)
    with transaction.atomic():
        if is_open:
            _create_unknown(id, shortened_name(agent_card["name"]), actor)
        workspace = rows.lock_active(id)
        if enrolment_id is not None:
            enrolment.redeem(id, enrolment_id)
        elif is_open and tokens.has_live_token(id):
            raise BadCredential(MISSING_TOKEN)
        _check_url(url, mask)
        enrolment.end_unused(id)
        projection.apply(record(_registration(workspace, url, agent_card, mask), actor=actor))
        enrolment.complete(workspace)
        refusals.clear(workspace)
        _start_lease(id, url, heartbeat_interval)
        if held:
            return None
        return tokens.issue_workspace_token(
            id, label="registration", may_reveal=may_reveal, enrolment_id=enrolment_id
        ).text


def update(workspace_id: UUID, changes: dict[str, Any], *, actor: str) -> Update:
    """Set name, role, tier, runtime and parent_id where given.

    Raises NotFound, Removed, Invalid (name, role, unknown parent, cycle).
    """
    changes = {name: _checked(name, value) for name, value in changes.items()}
    with transaction.atomic():
        if "parent_id" in changes:
            hierarchy.lock()
        locked = rows.lock({workspace_id, changes.get("parent_id") or workspace_id})
        workspace = rows.require_active(workspace_id, locked)
        parent_id = changes.get("parent_id", workspace.parent_id)
        differing = {
            name: [before, value]
            for name, value in changes.items()
            if name in projection.EDITABLE and (before := projection.value_in_events(workspace, name)) != value
        }
        events = []
        if differing:
            events.append(_event(EventType.WORKSPACE_UPDATED, workspace_id, {"changes": differing}))
        if parent_id != workspace.parent_id:
            _check_parent(workspace_id, parent_id, locked)
            events.append(_move(workspace, parent_id))
        recorded = record(events, actor=actor)
        projection.apply(recorded)
        needs_restart = "tier" in differing or "runtime" in differing
        if needs_restart:
            deployments.changed([workspace_id])
        return Update(needs_restart=needs_restart, event_ids=[event.id for event in recorded])


def update_card(workspace_id: UUID, agent_card: dict[str, Any], *, actor: str) -> None:
    """Store the card with secrets masked; an equal one is not an event.

    Raises NotFound, Removed, TooLarge, TooOften (for its agent).
    """
    mask, agent_card = _received(workspace_id, agent_card)
    with transaction.atomic():
        workspace = rows.lock_active(workspace_id)
        if workspace.agent_card != agent_card:
            if actor == f"{Kind.WORKSPACE}:{workspace_id}":
                change_limit.check(workspace_id)
            payload = {"agent_card": agent_card, "old_agent_card": mask.json(workspace.agent_card)}
            event = _event(EventType.AGENT_CARD_UPDATED, workspace_id, payload)
            projection.apply(record([event], actor=actor))


def differing_card_name(workspace: Workspace) -> str | None:
    """The name in its Agent Card, where that is another one than the workspace's."""
    name = None if workspace.agent_card is None else read_card(workspace.agent_card).name
    return None if name == workspace.name else name


def take_card_name(workspace_id: UUID, shown: str, *, actor: str) -> str:
    """Rename the workspace as its Agent Card is named, and return that name. `shown`: the name that the user saw there.

    Raises NotFound, Removed, Conflict (the card has no name, the same one, or another one than was shown).
    """
    with transaction.atomic():
        name = differing_card_name(rows.lock_active(workspace_id))
        if name is None:
            raise Conflict("the Agent Card has no other name")
        if name != shown:
            raise Conflict("the Agent Card has been renamed meanwhile; check the name and rename again")
        update(workspace_id, {"name": name}, actor=actor)
        return name


def _check_url(url: str, mask: Mask) -> None:
    if (masked := mask.text(url)) != url:
        raise Invalid(f"url: contains the value of a secret: {masked}", field="url")


def _received(workspace_id: UUID, agent_card: dict[str, Any]) -> tuple[Mask, dict[str, Any]]:
    """The mask of the workspace, and the card as it is stored: masked. Raises TooLarge, before anything is read."""
    check_size(agent_card)
    mask = masking.mask_for(workspace_id)
    return mask, _as_stored(mask.json(agent_card))


def _as_stored(agent_card: dict[str, Any]) -> dict[str, Any]:
    """As it comes back from PostgreSQL, which writes out large numbers: an equal card must not look like a change."""
    stored: dict[str, Any] = json.loads(json.dumps(agent_card), parse_float=_number)
    return stored


def _number(text: str) -> int | float:
    exact = Decimal(text)
    return int(exact) if exact == exact.to_integral_value() else float(text)


def _create_unknown(workspace_id: UUID, name: str, actor: str) -> None:
    """Create the workspace unless it exists. The second check, under the lock, finds what a concurrent call created."""
    found = Workspace.objects.filter(id=workspace_id)
    if not found.exists():
        hierarchy.lock()
        if not found.exists():
            create(NewWorkspace(name=name, external=True), actor=actor, workspace_id=workspace_id)


def _start_lease(workspace_id: UUID, url: str, heartbeat_interval: int | None) -> None:
    presence.start_lease(workspace_id, heartbeat_interval)
    bus.after_commit(presence.mark_alive, {workspace_id: heartbeat_interval})
    bus.after_commit(presence.cache_url, workspace_id, url)


def _check_parent(workspace_id: UUID, parent_id: UUID | None, locked: dict[UUID, Workspace]) -> None:
    """Refuse a cycle with a message; the database refuses it too. The caller holds the hierarchy lock."""
    if parent_id is None:
        return
    if parent_id == workspace_id:
        raise Invalid("parent_id: a workspace cannot be its own parent", field="parent_id")
    if parent_id in hierarchy.descendants(workspace_id):
        below = f"“{locked[parent_id].name}” is below “{locked[workspace_id].name}”"
        raise Invalid(f"parent_id: {below}; a workspace cannot be moved into its own team", field="parent_id")
    _check_active(parent_id, locked)


def _check_active(parent_id: UUID, locked: dict[UUID, Workspace]) -> None:
    if parent_id not in locked or locked[parent_id].status == Status.REMOVED:
        raise Invalid("parent_id: there is no such workspace, or it is removed", field="parent_id")


def _checked(name: str, value: Any) -> Any:
    """Return a column's value in the form in which it is stored. Raises Invalid."""
    if name not in RULES:
        return value
    try:
        return RULES[name](value)
    except ValidationError as error:
        raise Invalid(f"{name}: {error.messages[0]}", field=name) from None


def _cards(new: Mapping[UUID, NewWorkspace]) -> dict[UUID, dict[str, Any]]:
    """The cards as they are stored: masked, as those of agents that register. Raises TooLarge."""
    given = {workspace_id: one.agent_card for workspace_id, one in new.items() if one.agent_card is not None}
    for card in given.values():
        check_size(card)
    known = masking.masks(given.keys()) if given else {}
    return {i: _as_stored(known.get(i, Mask(())).json(card)) for i, card in given.items()}


def _creation(new: Mapping[UUID, NewWorkspace], cards: Mapping[UUID, dict[str, Any]]) -> Iterator[NewEvent]:
    """All creations first, because what follows refers to the rows; equal changes beside each other, for apply()."""
    yield from (_event(EventType.WORKSPACE_PROVISIONING, i, _created(one)) for i, one in new.items())
    for workspace_id, one in new.items():
        if one.external and one.url:
            payload = {"from": Status.PROVISIONING, "name": one.name, "external": True, "url": one.url}
            yield _event(EventType.WORKSPACE_ONLINE, workspace_id, payload)
    for workspace_id, card in cards.items():
        yield _event(EventType.AGENT_CARD_UPDATED, workspace_id, {"agent_card": card, "old_agent_card": None})
    yield from (agents.assignment(i, one.model) for i, one in new.items() if one.model)


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


def _registration(workspace: Workspace, url: str, agent_card: dict[str, Any], mask: Mask) -> list[NewEvent]:
    """Return one event if anything changes, none if everything is as before.

    The event keeps the replaced values. They are masked too, as a secret that they contain may be newer.
    Raises TooOften when the card or the URL changes.
    """
    changes = {
        name: [mask.json(getattr(workspace, name)), value]
        for name, value in (("url", url), ("agent_card", agent_card))
        if getattr(workspace, name) != value
    }
    if changes:
        change_limit.check(workspace.id)
    if workspace.status == Status.PAUSED:
        return [_event(EventType.WORKSPACE_UPDATED, workspace.id, {"changes": changes})] if changes else []
    if workspace.status == Status.ONLINE and not changes:
        return []
    payload: dict[str, Any] = {"from": workspace.status, "url": url}
    if "agent_card" in changes:
        payload["agent_card"] = agent_card
    payload |= {f"old_{name}": old for name, (old, _new) in changes.items() if old is not None}
    return [_event(EventType.WORKSPACE_ONLINE, workspace.id, payload)]


def _move(workspace: Workspace, parent_id: UUID | None) -> NewEvent:
    payload = {"old_parent_id": _text(workspace.parent_id), "new_parent_id": _text(parent_id)}
    return _event(EventType.WORKSPACE_MOVED, workspace.id, payload)


def _event(event_type: EventType, workspace_id: UUID, payload: dict[str, Any]) -> NewEvent:
    return NewEvent(event_type=event_type, workspace_id=workspace_id, payload=payload)


def _text(value: UUID | None) -> str | None:
    return None if value is None else str(value)
