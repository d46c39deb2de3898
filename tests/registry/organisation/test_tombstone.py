"""Operations that race a removal are complete before it, or are refused and leave nothing."""

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from uuid import UUID

import pytest

from activity import redis
from activity.log import Entry
from activity.models import ActivityLog, ActivityType, EventType, StructureEvent
from canvas import layout
from canvas.models import CanvasLayout
from registry.exceptions import BadCredential, Removed
from registry.identity import enrolment
from registry.liveness import heartbeats
from registry.liveness.heartbeats import Beat
from registry.messaging import reports
from registry.models import Status, TokenKind, Workspace, WorkspaceToken
from registry.organisation import rebuild, removal, workspaces
from registry.organisation.workspaces import NewWorkspace
from tests.registry.racing import PATIENCE_SECONDS, STRESS, together

RACES = 10_000 if STRESS else 50
AT_ONCE = 50
ACTOR = "operator:test"
URL = "http://agent:1"
# The longest delay before an operation of a race starts: about as long as an operation takes.
MAX_DELAY_SECONDS = 0.01


@dataclass
class Races:
    """One race for each workspace; `refused` has the operations that were refused."""

    enrolments: dict[UUID, UUID]
    refused: set[tuple[str, UUID]] = field(default_factory=set)

    def done(self, operation: str) -> set[UUID]:
        """Return the workspaces for which the operation was not refused."""
        return {i for i in self.enrolments if (operation, i) not in self.refused}


def register(races: Races, workspace_id: UUID, number: int) -> None:
    """In turn with the workspace's token, with its enrolment token, and with open enrolment."""
    enrolment_id = races.enrolments[workspace_id] if number % 3 == 1 else None
    workspaces.register(
        workspace_id, url=URL, agent_card={"name": "Agent"}, held=number % 3 == 0, enrolment_id=enrolment_id
    )


def beat(races: Races, workspace_id: UUID, number: int) -> None:
    error = heartbeats.flush([Beat(workspace_id=workspace_id, error_rate=number % 2)])[workspace_id]
    if error is not None:
        raise error


def remove(races: Races, workspace_id: UUID, number: int) -> None:
    removal.remove(workspace_id, actor=ACTOR, confirm=True)


def update_card(races: Races, workspace_id: UUID, number: int) -> None:
    workspaces.update_card(workspace_id, {"name": "Agent", "updated": True}, actor=ACTOR)


def place(races: Races, workspace_id: UUID, number: int) -> None:
    layout.place(workspace_id, x=1.0, y=2.0)


def report(races: Races, workspace_id: UUID, number: int) -> None:
    reports.report(workspace_id, [Entry(activity_type=ActivityType.AGENT_LOG)])


OPERATIONS: dict[str, Callable[[Races, UUID, int], None]] = {
    "register": register,
    "beat": beat,
    "remove": remove,
    "update card": update_card,
    "place": place,
    "report": report,
}


@pytest.mark.django_db(transaction=True)
def test_nothing_changes_a_workspace_after_its_removal() -> None:
    for start in range(0, RACES, AT_ONCE):
        races = prepare(min(AT_ONCE, RACES - start))
        barrier = threading.Barrier(len(OPERATIONS))
        together(*(partial(run, races, operation, barrier, start) for operation in OPERATIONS))
        all_are_removed(races)
        refused_operations_left_nothing(races)
    assert rebuild.check() == []


def prepare(size: int) -> Races:
    enrolments = {}
    for _ in range(size):
        workspace_id = workspaces.create(NewWorkspace(name="Workspace"), actor=ACTOR).id
        enrolment.issue(workspace_id)
        enrolments[workspace_id] = WorkspaceToken.objects.get(workspace_id=workspace_id).id
    return Races(enrolments)


def run(races: Races, operation: str, barrier: threading.Barrier, seed: int) -> None:
    """Run the operation once in each race, with all other operations. Only two kinds of refusal are allowed."""
    delays = random.Random(f"{operation} {seed}")
    try:
        for number, workspace_id in enumerate(races.enrolments):
            barrier.wait(PATIENCE_SECONDS)
            time.sleep(delays.uniform(0, MAX_DELAY_SECONDS))
            try:
                OPERATIONS[operation](races, workspace_id, number)
            except (Removed, BadCredential):
                races.refused.add((operation, workspace_id))
    except BaseException:
        barrier.abort()
        raise


def all_are_removed(races: Races) -> None:
    ids = races.enrolments.keys()
    assert races.done("remove") == ids
    assert set(Workspace.objects.filter(id__in=ids).values_list("status", flat=True)) == {Status.REMOVED}
    last = {i: kind for i, _seq, kind in events(races)}
    assert last == dict.fromkeys(ids, EventType.WORKSPACE_REMOVED)
    assert [kind for _i, _seq, kind in events(races)].count(EventType.WORKSPACE_REMOVED) == len(ids)
    assert not WorkspaceToken.objects.filter(workspace_id__in=ids, revoked_at=None).exists()
    assert not CanvasLayout.objects.filter(workspace_id__in=ids).exists()
    assert redis.client().keys("ws:*") == []


def refused_operations_left_nothing(races: Races) -> None:
    """And the effects of all others are complete."""
    ids = races.enrolments.keys()
    rows = Workspace.objects.filter(id__in=ids)
    assert set(rows.filter(url=URL).values_list("id", flat=True)) == races.done("register")
    assert set(rows.exclude(last_heartbeat_at=None).values_list("id", flat=True)) == races.done("beat")
    with_new_card = {i for i, _seq, kind in events(races) if kind == EventType.AGENT_CARD_UPDATED}
    assert with_new_card == races.done("update card")
    logged = ActivityLog.objects.filter(workspace_id__in=ids).values_list("workspace_id", "created_at")
    assert {i for i, _at in logged} == races.done("report")
    removals = StructureEvent.objects.filter(workspace_id__in=ids, event_type=EventType.WORKSPACE_REMOVED)
    removed_at = dict(removals.values_list("workspace_id", "created_at"))
    assert all(at < removed_at[i] for i, at in logged)
    issued = WorkspaceToken.objects.filter(workspace_id__in=ids, kind=TokenKind.AGENT)
    held = {i for number, i in enumerate(ids) if number % 3 == 0}
    assert set(issued.values_list("workspace_id", flat=True)) == races.done("register") - held


def events(races: Races) -> list[tuple[UUID | None, int, str]]:
    found = StructureEvent.objects.filter(workspace_id__in=races.enrolments).order_by("seq")
    return list(found.values_list("workspace_id", "seq", "event_type"))
