"""Random concurrent operations: replaying the log gives the tables, and every rule holds."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import connection
from django.test import override_settings
from django.utils import timezone
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from activity import events, redis
from activity.log import Entry
from activity.models import ActivityType, EventType, StructureEvent
from canvas import layout
from canvas.models import CanvasLayout
from registry.exceptions import RegistryError
from registry.identity import enrolment
from registry.liveness import expiry, heartbeats
from registry.liveness.heartbeats import Beat
from registry.messaging import reports
from registry.models import Agent, AgentStatus, Status, Workspace, WorkspaceToken
from registry.organisation import agents, pausing, rebuild, removal, teams, undo, workspaces
from registry.organisation.teams import Member
from registry.organisation.workspaces import NewWorkspace
from tests.registry.racing import STRESS, together

ACTOR = "operator:test"
CONNECTIONS = 3
RATES = (0.0, 0.3, 0.5, 1.0)


class World:
    """The ids that operations choose from, by index; shared by all connections."""

    def __init__(self) -> None:
        self.ids: list[UUID] = []
        self.unknown_ids = [uuid4() for _ in RATES]
        top = self.create(None)
        self.create(self.create(top))

    def create(self, parent_id: UUID | None, **fields: Any) -> UUID:
        workspace = workspaces.create(NewWorkspace(name="Workspace", parent_id=parent_id, **fields), actor=ACTOR)
        self.ids.append(workspace.id)
        return workspace.id

    def do(self, name: str, one: int, other: int, variant: int) -> None:
        """One operation. It may be refused with a RegistryError; any other exception is a bug."""
        ids = list(self.ids)
        with suppress(RegistryError):
            OPERATIONS[name](self, ids[one % len(ids)], ids[other % len(ids)], variant)


def create(world: World, one: UUID, other: UUID, variant: int) -> None:
    variants: tuple[dict[str, Any], ...] = (
        {},
        {"model": "m"},
        {"external": True},
        {"external": True, "url": "http://x"},
    )
    world.create(None if variant == 0 else one, **variants[variant])


def register(world: World, one: UUID, other: UUID, variant: int) -> None:
    """With a token, with an enrolment token, by open enrolment, and by open enrolment of an unknown id."""
    if variant == 3:
        one = world.unknown_ids[other.int % len(world.unknown_ids)]
    enrolment_id = None
    if variant == 1:
        prefix = enrolment.issue(one).token.rpartition("_")[0]
        enrolment_id = WorkspaceToken.objects.get(prefix=prefix).id
    url, card = f"http://agent:{variant}", {"name": "Agent", "variant": variant}
    workspaces.register(one, url=url, agent_card=card, held=variant == 0, enrolment_id=enrolment_id)
    world.ids.append(one)


def beat(world: World, one: UUID, other: UUID, variant: int) -> None:
    heartbeats.flush(
        [Beat(workspace_id=i, error_rate=RATES[variant], current_task="t" * variant) for i in (one, other)]
    )


def move(world: World, one: UUID, other: UUID, variant: int) -> None:
    workspaces.update(one, {"parent_id": None if variant == 0 else other, "name": f"moved {variant}"}, actor=ACTOR)


def remove(world: World, one: UUID, other: UUID, variant: int) -> None:
    removal.remove(one, actor=ACTOR, confirm=variant in (1, 2), forward_to=other if variant in (2, 3) else None)


def expand(world: World, one: UUID, other: UUID, variant: int) -> None:
    members = [Member(name=f"member {number}", model="m" if variant else None) for number in range(variant)]
    world.ids.extend(child.id for child in teams.expand(one, members, actor=ACTOR))


def expire(world: World, one: UUID, other: UUID, variant: int) -> None:
    """End the lease of one workspace, then expire leases."""
    Workspace.objects.filter(id=one).update(lease_expires_at=timezone.now() - timedelta(seconds=1))
    expiry.reconcile()


def undo_last(world: World, one: UUID, other: UUID, variant: int) -> None:
    found = events.read(workspace_id=one).filter(event_type__in=undo.UNDOABLE)[: 1 + variant % 2]
    undo.undo(one, [event.id for event in found], actor=ACTOR)


OPERATIONS: dict[str, Callable[[World, UUID, UUID, int], object]] = {
    "create": create,
    "register": register,
    "beat": beat,
    "move": move,
    "remove": remove,
    "expand": expand,
    "expire": expire,
    "update": lambda world, one, other, variant: workspaces.update(
        one, {"name": f"n{variant}", "tier": 1 + variant}, actor=ACTOR
    ),
    "card": lambda world, one, other, variant: workspaces.update_card(
        one, {"name": "Agent", "n": variant / 2}, actor=ACTOR
    ),
    "pause": lambda world, one, other, variant: pausing.pause(one, actor=ACTOR),
    "resume": lambda world, one, other, variant: pausing.resume(one, actor=ACTOR),
    "restart": lambda world, one, other, variant: pausing.restart(one, actor=ACTOR),
    "assign": lambda world, one, other, variant: agents.assign(one, "m", actor=ACTOR),
    "replace": lambda world, one, other, variant: agents.replace(one, f"m{variant}", actor=ACTOR),
    "unassign": lambda world, one, other, variant: agents.remove(one, reason="r" if variant else None, actor=ACTOR),
    "move agent": lambda world, one, other, variant: agents.move(one, other, actor=ACTOR),
    "collapse": lambda world, one, other, variant: teams.remove_team(one, actor=ACTOR),
    "undo": undo_last,
    "forward": lambda world, one, other, variant: removal.forward(one, other if variant else None, actor=ACTOR),
    "place": lambda world, one, other, variant: layout.place(one, x=float(variant), y=0.0),
    "report": lambda world, one, other, variant: reports.report(one, [Entry(activity_type=ActivityType.AGENT_LOG)]),
}
NUMBER = st.integers(0, 15)
HISTORIES = st.lists(
    st.tuples(st.sampled_from(sorted(OPERATIONS)), NUMBER, NUMBER, st.integers(0, len(RATES) - 1)),
    min_size=CONNECTIONS * 5,
    max_size=CONNECTIONS * 20,
)


@pytest.mark.django_db(transaction=True)
@given(HISTORIES)
@settings(
    max_examples=500 if STRESS else 25,
    deadline=None,
    database=None,
    derandomize=not STRESS,
    phases=[Phase.generate],  # races are not reproducible, so shrinking does not work
    suppress_health_check=list(HealthCheck),
)
def test_after_concurrent_operations_replay_gives_the_tables(
    serving: None, history: list[tuple[str, int, int, int]]
) -> None:
    empty()
    world = World()
    with override_settings(MOLECULE_OPEN=True):  # so that restarts are allowed
        together(*(partial(perform, world, history[number::CONNECTIONS]) for number in range(CONNECTIONS)))
    assert rebuild.check() == []
    hierarchy_is_sound()
    removed_workspaces_have_nothing_left()
    positions_are_in_order()
    every_transition_is_allowed()


def perform(world: World, history: list[tuple[str, int, int, int]]) -> None:
    for operation in history:
        world.do(*operation)


def empty() -> None:
    """Empty the tables between examples; conftest disables the append-only trigger for that."""
    connection.ops.execute_sql_flush(["TRUNCATE structure_events, workspaces CASCADE"])
    redis.client().flushall()


def hierarchy_is_sound() -> None:
    """No cycle, and no active workspace below a removed one."""
    rows = Workspace.objects.in_bulk()
    for row in rows.values():
        ancestors = list(upwards(row, rows))
        assert row.id not in {ancestor.id for ancestor in ancestors}
        if row.status != Status.REMOVED:
            assert Status.REMOVED not in {ancestor.status for ancestor in ancestors}


def upwards(row: Workspace, rows: dict[UUID, Workspace]) -> Iterator[Workspace]:
    for _ in rows:
        if row.parent_id is None:
            return
        row = rows[row.parent_id]
        yield row


def removed_workspaces_have_nothing_left() -> None:
    removed = Workspace.objects.filter(status=Status.REMOVED)
    assert not WorkspaceToken.objects.filter(workspace__in=removed, revoked_at=None).exists()
    assert not removed.exclude(enrolment_expires_at=None).exists()
    assert not Agent.objects.filter(workspace__in=removed, status=AgentStatus.ACTIVE).exists()
    assert not CanvasLayout.objects.filter(workspace__in=removed).exists()
    keys = {UUID(str(key).split(":")[1]) for key in redis.client().keys("ws:*")}
    assert keys <= set(Workspace.objects.active().values_list("id", flat=True))
    active = Counter(Agent.objects.filter(status=AgentStatus.ACTIVE).values_list("workspace_id", flat=True))
    assert set(active.values()) <= {1}


def positions_are_in_order() -> None:
    log = list(StructureEvent.objects.order_by("seq").values_list("seq", "created_at"))
    times = [at for _seq, at in log]
    assert len({seq for seq, _at in log}) == len(log)
    assert times == sorted(times)


ACTIVE = set(Status) - {Status.REMOVED}
# For each event, the statuses before it and the one after it; None: it does not change the status.
TRANSITIONS: dict[str, tuple[set[Status], Status | None]] = {
    EventType.WORKSPACE_PROVISIONING: (ACTIVE - {Status.PROVISIONING}, Status.PROVISIONING),
    EventType.WORKSPACE_PROVISION_FAILED: ({Status.PROVISIONING}, Status.FAILED),
    EventType.WORKSPACE_ONLINE: (ACTIVE - {Status.PAUSED}, Status.ONLINE),
    EventType.WORKSPACE_DEGRADED: ({Status.ONLINE}, Status.DEGRADED),
    EventType.WORKSPACE_OFFLINE: ({Status.ONLINE, Status.DEGRADED}, Status.OFFLINE),
    EventType.WORKSPACE_PAUSED: (ACTIVE - {Status.PAUSED}, Status.PAUSED),
    EventType.WORKSPACE_REMOVED: (ACTIVE, Status.REMOVED),
}


def every_transition_is_allowed() -> None:
    """Each event follows from the status before it. After a removal only `forwarded_to` changes."""
    now: dict[UUID | None, Status] = {}
    for event in StructureEvent.objects.order_by("seq"):
        payload = event.payload or {}
        if event.workspace_id not in now:
            assert event.event_type == EventType.WORKSPACE_PROVISIONING
            assert "from" not in payload
            now[event.workspace_id] = Status.PROVISIONING
            continue
        found = now[event.workspace_id]
        before, after = TRANSITIONS.get(event.event_type, (ACTIVE, None))
        if found == Status.REMOVED:
            assert (event.event_type, set(payload["changes"])) == (EventType.WORKSPACE_UPDATED, {"forwarded_to"})
            continue
        assert found in before, f"{event}: {found}"
        if after is not None:
            assert payload["from"] == found, f"{event}: found {found}, not {payload['from']}"
            now[event.workspace_id] = after
    assert now == dict(Workspace.objects.values_list("id", "status"))
