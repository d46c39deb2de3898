"""Flapping: workspaces that go offline too often are marked for a time; the mark is shown and not part of replay."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from rest_framework.test import APIClient

from activity.models import EventType, StructureEvent
from registry.liveness import expiry
from registry.liveness.heartbeats import Beat, flush
from registry.models import Workspace
from registry.organisation import rebuild, workspaces

Make = Callable[..., Workspace]
OFFLINE = EventType.WORKSPACE_OFFLINE


@pytest.fixture(autouse=True)
def often(settings: Any) -> None:
    settings.FLAPPING_TIMES, settings.FLAPPING_MINUTES = 3, 15


def go_offline(*workspaces: Workspace) -> None:
    """A heartbeat arrives, then the lease ends."""
    flush([Beat(workspace_id=workspace.id) for workspace in workspaces])
    Workspace.objects.filter(id__in=[w.id for w in workspaces]).update(
        lease_expires_at=timezone.now() - timedelta(seconds=1)
    )
    assert expiry.reconcile() == len(workspaces)


def was_offline(workspace: Workspace, *minutes_ago: float) -> None:
    """Add earlier WORKSPACE_OFFLINE events to the log."""
    for minutes in minutes_ago:
        at = timezone.now() - timedelta(minutes=minutes)
        StructureEvent.objects.create(event_type=OFFLINE, workspace_id=workspace.id, actor="supervisor", created_at=at)


def until(workspace: Workspace) -> datetime | None:
    workspace.refresh_from_db()
    return workspace.flapping_until


def last_offline(workspace: Workspace) -> StructureEvent:
    return StructureEvent.objects.filter(workspace_id=workspace.id, event_type=OFFLINE).latest("seq")


def test_only_more_than_flapping_times_counts(make_workspace: Make, serving: None) -> None:
    often, twice = make_workspace(), make_workspace()
    for _ in range(3):
        go_offline(often)
    assert until(often) is None
    assert "flapping_until" not in (last_offline(often).payload or {})
    go_offline(often, twice)
    assert until(twice) is None
    assert until(often) is not None
    assert "flapping_until" in (last_offline(often).payload or {})
    assert "flapping_until" not in (last_offline(twice).payload or {})


def test_the_mark_ends_when_the_earliest_of_the_last_times_leaves_the_window(
    make_workspace: Make, serving: None
) -> None:
    workspace = make_workspace()
    was_offline(workspace, 14, 13, 10, 5)
    go_offline(workspace)
    # The earliest of the last four of these five times was 13 minutes ago.
    third = StructureEvent.objects.filter(event_type=OFFLINE).order_by("seq")[1]
    assert until(workspace) == third.created_at + timedelta(minutes=15)


def test_times_before_the_window_do_not_count(make_workspace: Make, serving: None) -> None:
    workspace = make_workspace()
    was_offline(workspace, 17, 16, 5, 4)
    go_offline(workspace)
    assert until(workspace) is None


def test_other_workspaces_and_other_events_do_not_count(make_workspace: Make, serving: None) -> None:
    workspace, other = make_workspace(), make_workspace()
    was_offline(other, 4, 3, 2)
    for _ in range(3):
        for rate in (0.9, 0):
            flush([Beat(workspace_id=workspace.id, error_rate=rate)])
    go_offline(workspace)
    assert until(workspace) is None


def test_zero_times_turn_it_off(make_workspace: Make, serving: None, settings: Any) -> None:
    settings.FLAPPING_TIMES = 0
    workspace = make_workspace()
    was_offline(workspace, 4, 3, 2)
    go_offline(workspace)
    assert until(workspace) is None


def test_the_number_of_queries_does_not_grow(make_workspace: Make, serving: None) -> None:
    def asked(count: int) -> int:
        workspaces = [make_workspace() for _ in range(count)]
        for workspace in workspaces:
            was_offline(workspace, 3, 2, 1)
        with CaptureQueriesContext(connection) as captured:
            go_offline(*workspaces)
        assert all(until(workspace) for workspace in workspaces)
        return len(captured)

    assert asked(1) == asked(7)


@pytest.mark.django_db(transaction=True)
def test_it_is_shown_and_not_part_of_replay(make_workspace: Make, serving: None, as_viewer: APIClient) -> None:
    workspace, calm = make_workspace("flapping"), make_workspace("calm")
    for _ in range(4):
        go_offline(workspace)
    workspaces.update(workspace.id, {"name": "renamed"}, actor="test")
    assert rebuild.check() == []
    Workspace.objects.filter(id=workspace.id).update(name="damaged")
    mark = until(workspace)
    assert [difference.id for difference in rebuild.fix()] == [workspace.id]
    assert until(workspace) == mark
    rows = {row["id"]: row for row in as_viewer.get("/workspaces").json()}
    assert rows[str(calm.id)]["flapping_until"] is None
    shown = rows[str(workspace.id)]["flapping_until"]
    assert datetime.fromisoformat(shown) == mark
    assert shown.endswith("Z")
    assert as_viewer.get(f"/workspaces/{workspace.id}").json()["flapping_until"] == shown
    seq = StructureEvent.objects.latest("seq").seq
    past = {row["id"]: row for row in as_viewer.get(f"/canvas/snapshot?at={seq}").json()["workspaces"]}
    assert past[str(workspace.id)]["flapping_until"] is None
    said = (last_offline(workspace).payload or {})["flapping_until"]
    assert datetime.fromisoformat(said) == mark
