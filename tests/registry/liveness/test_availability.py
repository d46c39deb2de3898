"""Availability from the log: a pure fold, compared with a second-by-second count on random histories."""

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection

from activity.events import NewEvent, record
from activity.models import EventType, StructureEvent
from registry.liveness import availability
from registry.liveness.availability import DOWN, SEVERITY, UP, Span, Window, spans, summarize
from registry.models import Status, Workspace
from registry.structure import projection
from registry.structure.projection import STATUSES

Make = Callable[..., Workspace]
START = datetime(2026, 1, 31, 12, tzinfo=UTC)
SECONDS = 240
WINDOW = Window(START, START + timedelta(seconds=SECONDS))


def at(second: float) -> datetime:
    return START + timedelta(seconds=second)


def brute_force(initial: str | None, changes: list[tuple[datetime, str]]) -> list[str | None]:
    """The status in each second of the window."""
    seconds, status = [], initial
    for second in range(SECONDS):
        for moment, reached in changes:
            if moment <= at(second):
                status = reached
        seconds.append(status)
        status = initial
    return seconds


def random_history(seed: int) -> tuple[str | None, list[tuple[datetime, str]]]:
    chance = random.Random(seed)
    moments = sorted(chance.choices(range(SECONDS), k=chance.randrange(12)))
    statuses = [str(status) for status in Status]
    changes = [(at(moment), chance.choice(statuses)) for moment in moments]
    return chance.choice([None, *statuses]), changes


@pytest.mark.parametrize("seed", range(200))
def test_it_is_what_counting_each_second_gives(seed: int) -> None:
    initial, changes = random_history(seed)
    found = summarize(WINDOW, spans(WINDOW, initial, changes), parts=24)
    seconds = brute_force(initial, changes)
    assert found.up == sum(status in UP for status in seconds)
    assert found.down == sum(status in DOWN for status in seconds)
    down = {second for one in found.outages for second in range(SECONDS) if one.since <= at(second) < one.until}
    assert down == {second for second, status in enumerate(seconds) if status in DOWN}
    assert all(one.until < other.since for one, other in zip(found.outages, found.outages[1:], strict=False))
    for part, shown in enumerate(found.strip):
        statuses = [status for status in seconds[part * 10 : part * 10 + 10] if status in SEVERITY]
        worst = max(statuses, key=SEVERITY.__getitem__, default=None)
        assert shown == worst


def test_a_time_that_goes_back_by_a_moment_counts_once() -> None:
    changes = [(at(10), "offline"), (at(9), "online")]
    assert list(spans(WINDOW, "online", changes)) == [
        Span("online", at(0), at(10)),
        Span("online", at(10), at(SECONDS)),
    ]


@pytest.fixture
def log(make_workspace: Make) -> Callable[..., None]:
    def write(workspace: Workspace, *changes: tuple[EventType, float]) -> None:
        for kind, second in changes:
            payload = {"from": "online", "forwarded_to": None}
            event = NewEvent(event_type=kind, workspace_id=workspace.id, payload=payload)
            projection.apply(record([event], actor="test"))
            _date(StructureEvent.objects.latest("seq"), at(second))

    return write


def _date(event: StructureEvent, when: datetime) -> None:
    """The log is append-only, except for its owner's test."""
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE structure_events DISABLE TRIGGER structure_events_append_only")
        cursor.execute("UPDATE structure_events SET created_at = %s WHERE seq = %s", [when, event.seq])
        cursor.execute("ALTER TABLE structure_events ENABLE ALWAYS TRIGGER structure_events_append_only")


def born(make_workspace: Make, second: float) -> Workspace:
    workspace = make_workspace()
    Workspace.objects.filter(id=workspace.id).update(created_at=at(second))
    _date(StructureEvent.objects.latest("seq"), at(second))
    return workspace


def test_it_is_read_from_the_log(make_workspace: Make, log: Any) -> None:
    early, late = born(make_workspace, -50), born(make_workspace, 100)
    log(early, (EventType.WORKSPACE_ONLINE, -20), (EventType.WORKSPACE_OFFLINE, 60), (EventType.WORKSPACE_ONLINE, 120))
    log(late, (EventType.WORKSPACE_ONLINE, 140), (EventType.WORKSPACE_DEGRADED, 200))
    found = availability.of([early.id, late.id], WINDOW, parts=4)
    assert (found[early.id].up, found[early.id].down, found[early.id].ratio) == (180, 60, 0.75)
    assert found[early.id].outages == [Span("offline", at(60), at(120))]
    assert found[early.id].strip == ["online", "offline", "online", "online"]
    assert (found[late.id].up, found[late.id].down, found[late.id].ratio) == (100, 0, 1.0)
    assert found[late.id].strip == [None, None, "online", "degraded"]


def test_a_time_that_goes_back_across_the_start_of_the_window_leaves_the_last_status(
    make_workspace: Make, log: Any
) -> None:
    workspace = born(make_workspace, -50)
    log(workspace, (EventType.WORKSPACE_OFFLINE, 1), (EventType.WORKSPACE_ONLINE, -1))
    found = availability.of([workspace.id], WINDOW)[workspace.id]
    assert (found.up, found.down) == (SECONDS, 0)


def test_a_window_in_the_past_is_not_changed_by_what_happened_since(make_workspace: Make, log: Any) -> None:
    workspace = born(make_workspace, -50)
    log(workspace, (EventType.WORKSPACE_ONLINE, -20), (EventType.WORKSPACE_REMOVED, SECONDS + 10))
    assert availability.of([workspace.id], WINDOW)[workspace.id].ratio == 1.0
    later = Window(at(SECONDS + 100), at(SECONDS + 200))
    assert availability.of([workspace.id], later)[workspace.id].ratio is None


def test_every_status_is_set_by_its_event(make_workspace: Make, log: Any) -> None:
    """The fold has the statuses from the same table as the projection."""
    for kind, status in STATUSES.items():
        workspace = make_workspace()
        log(workspace, (kind, 0))
        workspace.refresh_from_db()
        assert workspace.status == status
