"""Calls by hour: counted from the rows of activity, once for each past hour."""

import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from django.db import connection

from activity import clock, traffic
from activity.models import ActivityLog
from activity.traffic import Traffic
from registry.models import Workspace

Make = Callable[..., Workspace]
NOW = datetime.now(UTC).replace(minute=20, second=0, microsecond=0)


@pytest.fixture(autouse=True)
def _forget(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(clock, "now", lambda: NOW)
    traffic._past.clear()
    yield
    traffic._past.clear()


def call(
    workspace_id: UUID, ago: timedelta, duration: int | None = 10, status: str = "ok", kind: str = "a2a_receive"
) -> None:
    row = ActivityLog.objects.create(workspace_id=workspace_id, activity_type=kind, duration_ms=duration, status=status)
    ActivityLog.objects.filter(id=row.id).update(created_at=NOW - ago)


def test_calls_and_errors_are_counted_by_hour(make_workspace: Make) -> None:
    one, other = make_workspace().id, make_workspace().id
    for minutes, status in ((5, "ok"), (10, "error"), (30, "timeout"), (80, "ok"), (200, "ok")):
        call(one, timedelta(minutes=minutes), status=status)
    call(other, timedelta(minutes=5))
    call(one, timedelta(minutes=5), kind="agent_log")
    counted = [(found.calls, found.errors) for _hour, found in traffic.hours(NOW, 3)]
    assert counted == [(0, 0), (1 + 1, 1), (3, 1)]
    of_one = [(found.calls, found.errors) for _hour, found in traffic.hours_of(one, NOW, 3)]
    assert of_one == [(0, 0), (2, 1), (2, 1)]
    starts = [hour for hour, _found in traffic.hours(NOW, 3)]
    assert starts == [NOW.replace(minute=0) - timedelta(hours=back) for back in (2, 1, 0)]


@pytest.mark.parametrize("seed", range(20))
def test_the_percentile_is_right_to_within_three_percent(make_workspace: Make, seed: int) -> None:
    workspace_id, chance = make_workspace().id, random.Random(seed)
    durations = sorted(int(chance.lognormvariate(6, 2)) + 20 for _ in range(100))
    for duration in durations:
        call(workspace_id, timedelta(minutes=2), duration)
    [(_hour, found)] = traffic.hours_of(workspace_id, NOW, 1)
    assert found.p95_ms == pytest.approx(durations[94], rel=0.03)


def test_calls_without_a_duration_are_counted_and_have_no_percentile(make_workspace: Make) -> None:
    workspace_id = make_workspace().id
    call(workspace_id, timedelta(minutes=1), None)
    [(_hour, found)] = traffic.hours_of(workspace_id, NOW, 1)
    assert (found.calls, found.p95_ms) == (1, None)
    assert Traffic().error_rate is None


def test_hours_add_up(make_workspace: Make) -> None:
    workspace_id = make_workspace().id
    for minutes, duration in ((5, 100), (70, 200), (75, None)):
        call(workspace_id, timedelta(minutes=minutes), duration, status="error")
    together = Traffic.sum(found for _hour, found in traffic.hours_of(workspace_id, NOW, 24))
    assert (together.calls, together.errors, together.error_rate) == (3, 3, 1.0)
    assert together.p95_ms == pytest.approx(200, rel=0.03)


def test_a_past_hour_is_read_once_and_the_current_one_each_time(make_workspace: Make) -> None:
    workspace_id = make_workspace().id
    call(workspace_id, timedelta(hours=2))
    assert sum(found.calls for _hour, found in traffic.hours(NOW, 4)) == 1
    call(workspace_id, timedelta(hours=2))
    call(workspace_id, timedelta(minutes=3))
    counted = [found.calls for _hour, found in traffic.hours(NOW, 4)]
    assert counted == [0, 1, 0, 1]
    traffic._past.clear()
    assert [found.calls for _hour, found in traffic.hours(NOW, 4)] == [0, 2, 0, 1]


def test_an_hour_that_has_just_ended_is_not_kept_yet(make_workspace: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """A transaction that began before the end of the hour may still commit."""
    monkeypatch.setattr(clock, "now", lambda: NOW.replace(minute=0, second=30))
    traffic.hours(NOW, 2)
    assert NOW.replace(minute=0) - timedelta(hours=1) not in traffic._past


@pytest.mark.django_db
def test_all_calls_are_counted_from_the_index() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute(
            "EXPLAIN SELECT count(*), count(duration_ms) FROM activity_logs "
            "WHERE created_at >= now() - interval '1 day' AND activity_type = 'a2a_receive' AND status <> 'ok'"
        )
        plan = "\n".join(line for (line,) in cursor.fetchall())
    assert "activity_logs_calls_idx" in plan
