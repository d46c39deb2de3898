"""The uptime of all workspaces together is that of each one, added up."""

import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from django.db import connection

from activity import clock
from registry.liveness import availability, uptime
from registry.liveness.availability import Window
from registry.liveness.uptime import HOUR, Uptime
from registry.models import Status, Workspace

Make = Callable[..., Workspace]
NOW = datetime.now(UTC).replace(minute=20, second=0, microsecond=0)
HOURS = 6
FIRST = NOW.replace(minute=0) - (HOURS - 1) * HOUR
KINDS = [
    "WORKSPACE_PROVISIONING", "WORKSPACE_ONLINE", "WORKSPACE_DEGRADED", "WORKSPACE_OFFLINE",
    "WORKSPACE_PROVISION_FAILED", "WORKSPACE_PAUSED",
]  # fmt: skip


@pytest.fixture(autouse=True)
def _forget(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(clock, "now", lambda: NOW)
    uptime.forget()
    yield
    uptime.forget()


def history(workspace_id: UUID, changes: list[tuple[datetime, str]]) -> None:
    """The whole log of a workspace, in this order."""
    with connection.cursor() as cursor:
        for at, kind in changes:
            payload = '{"name": "x", "forwarded_to": null}'
            cursor.execute(
                "INSERT INTO structure_events (event_type, workspace_id, payload, actor, created_at)"
                " VALUES (%s, %s, %s, 'test', %s)",
                [kind, workspace_id, payload, at],
            )


def born(at: datetime, changes: list[tuple[datetime, str]]) -> UUID:
    workspace = Workspace.objects.create(name="x", status=Status.ONLINE, created_at=at)
    Workspace.objects.filter(id=workspace.id).update(created_at=at)
    history(workspace.id, [(at, "WORKSPACE_PROVISIONING"), *changes])
    return workspace.id


def one_by_one(workspace_ids: list[UUID], window: Window) -> Uptime:
    found = availability.of(workspace_ids, window).values()
    return Uptime(sum(one.up for one in found), sum(one.down for one in found))


def random_changes(chance: random.Random) -> tuple[datetime, list[tuple[datetime, str]]]:
    """From before the first hour until after the last minute; some times go back by a moment."""
    moments = sorted(FIRST + timedelta(minutes=chance.uniform(-200, 400)) for _ in range(chance.randrange(1, 12)))
    born_at = moments[0] - timedelta(minutes=chance.choice([1, 300]))
    shifted = [moment - timedelta(milliseconds=chance.choice([0, 0, 0, 5])) for moment in moments]
    return born_at, [(at, chance.choice(KINDS)) for at in shifted]


@pytest.mark.parametrize("seed", range(30))
def test_each_hour_is_the_sum_of_all_workspaces(db: None, seed: int) -> None:
    chance = random.Random(seed)
    ids = [born(*random_changes(chance)) for _ in range(8)]
    found = uptime.hours(NOW, HOURS, seed)
    assert [start for start, _found in found] == [FIRST + n * HOUR for n in range(HOURS)]
    for start, hour in found:
        expected = one_by_one(ids, Window(start, min(start + HOUR, NOW)))
        assert (hour.up, hour.down) == pytest.approx((expected.up, expected.down), abs=0.02)


def test_a_time_that_goes_back_across_the_start_of_the_first_hour_leaves_the_last_status(db: None) -> None:
    moment = timedelta(milliseconds=5)
    born(FIRST - HOUR, [(FIRST + moment, "WORKSPACE_OFFLINE"), (FIRST - moment, "WORKSPACE_ONLINE")])
    assert [hour.ratio for _start, hour in uptime.hours(NOW, HOURS, 1)] == [1.0] * HOURS


def test_a_removed_workspace_counts_until_it_was_removed(db: None) -> None:
    at = FIRST + timedelta(minutes=30)
    workspace_id = born(FIRST - HOUR, [(FIRST - HOUR / 2, "WORKSPACE_ONLINE"), (at, "WORKSPACE_REMOVED")])
    Workspace.objects.filter(id=workspace_id).update(status=Status.REMOVED, updated_at=at)
    assert [hour for _start, hour in uptime.hours(NOW, HOURS, 1)] == [Uptime(1800, 0), *[Uptime()] * (HOURS - 1)]


def test_without_workspaces_there_is_no_ratio(db: None) -> None:
    assert [hour.ratio for _start, hour in uptime.hours(NOW, HOURS, 1)] == [None] * HOURS
    assert Uptime(up=3, down=1).ratio == 0.75
    assert Uptime(1, 2) + Uptime(3, 4) == Uptime(4, 6)


def test_past_hours_are_read_once_and_the_current_one_for_each_position(db: None) -> None:
    workspace_id = born(FIRST - HOUR, [(FIRST - HOUR / 2, "WORKSPACE_ONLINE")])
    first = uptime.hours(NOW, HOURS, 1)
    assert first[-1][1] == Uptime(up=1200)
    history(workspace_id, [(FIRST, "WORKSPACE_OFFLINE")])
    assert uptime.hours(NOW, HOURS, 1) == first
    second = uptime.hours(NOW, HOURS, 2)
    assert second[:-1] == first[:-1], "what is past has been read"
    assert second[-1][1] == Uptime(down=1200)
    uptime.forget()
    assert uptime.hours(NOW, HOURS, 2)[0][1] == Uptime(down=3600)


def test_an_hour_that_has_only_just_begun_has_no_uptime_yet(db: None) -> None:
    born(FIRST - HOUR, [(FIRST - HOUR / 2, "WORKSPACE_ONLINE")])
    found = dict(uptime.hours(NOW.replace(minute=0), HOURS, 1))
    assert found[NOW.replace(minute=0)] == Uptime()
    assert found[NOW.replace(minute=0) - HOUR] == Uptime(up=3600)
