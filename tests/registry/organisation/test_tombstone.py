"""Removal is the end: what races it came before and counts, or was refused and left nothing behind."""

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

RACES = 10_000 if STRESS else 150
AT_ONCE = 50
ACTOR = "operator:test"
URL = "http://agent:1"
# How far apart the racers of one race start, at most: about as long as an operation takes.
LATEST_SECONDS = 0.01


@dataclass
class Course:
    """Some workspaces, each raced for once. `refused` has who lost where."""

    enrolments: dict[UUID, UUID]
    refused: set[tuple[str, UUID]] = field(default_factory=set)

    def won(self, racer: str) -> set[UUID]:
        return {i for i in self.enrolments if (racer, i) not in self.refused}


def register(course: Course, workspace_id: UUID, number: int) -> None:
    """In turn with the workspace's token, with its enrolment, and while enrolment is open."""
    enrolment_id = course.enrolments[workspace_id] if number % 3 == 1 else None
    workspaces.register(
        workspace_id, url=URL, agent_card={"name": "Agent"}, held=number % 3 == 0, enrolment_id=enrolment_id
    )


def beat(course: Course, workspace_id: UUID, number: int) -> None:
    wrong = heartbeats.flush([Beat(workspace_id=workspace_id, error_rate=number % 2)])[workspace_id]
    if wrong is not None:
        raise wrong


def remove(course: Course, workspace_id: UUID, number: int) -> None:
    removal.remove(workspace_id, actor=ACTOR, confirm=True)


def update_card(course: Course, workspace_id: UUID, number: int) -> None:
    workspaces.update_card(workspace_id, {"name": "Agent", "updated": True}, actor=ACTOR)


def place(course: Course, workspace_id: UUID, number: int) -> None:
    layout.place(workspace_id, x=1.0, y=2.0)


def report(course: Course, workspace_id: UUID, number: int) -> None:
    reports.report(workspace_id, [Entry(activity_type=ActivityType.AGENT_LOG)])


RACERS: dict[str, Callable[[Course, UUID, int], None]] = {
    "register": register,
    "beat": beat,
    "remove": remove,
    "update card": update_card,
    "place": place,
    "report": report,
}


@pytest.mark.django_db(transaction=True)
def test_nothing_happens_after_a_removal() -> None:
    for start in range(0, RACES, AT_ONCE):
        course = prepare(min(AT_ONCE, RACES - start))
        line = threading.Barrier(len(RACERS))
        together(*(partial(run, course, racer, line, start) for racer in RACERS))
        nobody_is_back(course)
        who_lost_left_nothing(course)
    assert rebuild.check() == []


def prepare(size: int) -> Course:
    enrolments = {}
    for _ in range(size):
        workspace_id = workspaces.create(NewWorkspace(name="Workspace"), actor=ACTOR).id
        enrolment.issue(workspace_id)
        enrolments[workspace_id] = WorkspaceToken.objects.get(workspace_id=workspace_id).id
    return Course(enrolments)


def run(course: Course, racer: str, line: threading.Barrier, seed: int) -> None:
    """One race after the other, all racers from the same line. Only these two refusals may happen."""
    delays = random.Random(f"{racer} {seed}")
    try:
        for number, workspace_id in enumerate(course.enrolments):
            line.wait(PATIENCE_SECONDS)
            time.sleep(delays.uniform(0, LATEST_SECONDS))
            try:
                RACERS[racer](course, workspace_id, number)
            except (Removed, BadCredential):
                course.refused.add((racer, workspace_id))
    except BaseException:
        line.abort()
        raise


def nobody_is_back(course: Course) -> None:
    ids = course.enrolments.keys()
    assert course.won("remove") == ids
    assert set(Workspace.objects.filter(id__in=ids).values_list("status", flat=True)) == {Status.REMOVED}
    last = {i: kind for i, _seq, kind in events(course)}
    assert last == dict.fromkeys(ids, EventType.WORKSPACE_REMOVED)
    assert [kind for _i, _seq, kind in events(course)].count(EventType.WORKSPACE_REMOVED) == len(ids)
    assert not WorkspaceToken.objects.filter(workspace_id__in=ids, revoked_at=None).exists()
    assert not CanvasLayout.objects.filter(workspace_id__in=ids).exists()
    assert redis.client().keys("ws:*") == []


def who_lost_left_nothing(course: Course) -> None:
    """And who won left all."""
    ids = course.enrolments.keys()
    rows = Workspace.objects.filter(id__in=ids)
    assert set(rows.filter(url=URL).values_list("id", flat=True)) == course.won("register")
    assert set(rows.exclude(last_heartbeat_at=None).values_list("id", flat=True)) == course.won("beat")
    carded = {i for i, _seq, kind in events(course) if kind == EventType.AGENT_CARD_UPDATED}
    assert carded == course.won("update card")
    told = ActivityLog.objects.filter(workspace_id__in=ids).values_list("workspace_id", "created_at")
    assert {i for i, _at in told} == course.won("report")
    removals = StructureEvent.objects.filter(workspace_id__in=ids, event_type=EventType.WORKSPACE_REMOVED)
    ends = dict(removals.values_list("workspace_id", "created_at"))
    assert all(at < ends[i] for i, at in told)
    issued = WorkspaceToken.objects.filter(workspace_id__in=ids, kind=TokenKind.AGENT)
    held = {i for number, i in enumerate(ids) if number % 3 == 0}
    assert set(issued.values_list("workspace_id", flat=True)) == course.won("register") - held


def events(course: Course) -> list[tuple[UUID | None, int, str]]:
    found = StructureEvent.objects.filter(workspace_id__in=course.enrolments).order_by("seq")
    return list(found.values_list("workspace_id", "seq", "event_type"))
