from collections.abc import Callable
from uuid import uuid4

import pytest
from pytest_django import DjangoCaptureOnCommitCallbacks

from activity import redis
from activity.models import EventType, StructureEvent
from molecule.asgi import fast_path
from registry.exceptions import NotFound, Removed
from registry.liveness import presence
from registry.liveness.heartbeats import Beat, flush, transitions
from registry.models import Workspace

Make = Callable[..., Workspace]


@pytest.mark.parametrize(
    ("status", "rate", "is_wedged", "reached"),
    [
        ("provisioning", 0.0, False, ["online"]),
        ("offline", 0.49, False, ["online"]),
        ("failed", 0.5, False, ["online", "degraded"]),
        ("online", 0.5, False, ["degraded"]),
        ("online", 0.49, False, []),
        ("degraded", 0.1, False, []),
        ("degraded", 0.099, False, ["online"]),
        ("paused", 1.0, False, []),
        ("offline", 0.0, True, ["online", "degraded"]),
        ("online", 0.0, True, ["degraded"]),
        ("degraded", 0.0, True, []),
        ("paused", 0.0, True, []),
    ],
)
def test_the_transitions_of_a_heartbeat(status: str, rate: float, is_wedged: bool, reached: list[str]) -> None:
    beat = Beat(workspace_id=uuid4(), error_rate=rate, is_wedged=is_wedged)
    assert [str(to) for _event, to in transitions(status, beat)] == reached


def beat(make: DjangoCaptureOnCommitCallbacks, workspace: Workspace, **fields: object) -> Workspace:
    with make(execute=True):
        assert flush([Beat(workspace_id=workspace.id, **fields)]) == {workspace.id: None}  # type: ignore[arg-type]
    workspace.refresh_from_db()
    return workspace


def event_types(workspace: Workspace) -> list[str]:
    return list(
        StructureEvent.objects.filter(workspace_id=workspace.id).order_by("seq").values_list("event_type", flat=True)
    )


def test_a_heartbeat_writes_live_columns_lease_and_key(
    make_workspace: Make, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    workspace = make_workspace(status="online")
    beat(
        django_capture_on_commit_callbacks,
        workspace,
        active_tasks=3,
        uptime_seconds=60,
        error_rate=0.2,
        sample_error="timeout",
        current_task="writing",
    )
    assert (workspace.active_tasks, workspace.uptime_seconds, workspace.last_error_rate) == (3, 60, 0.2)
    assert (workspace.last_sample_error, workspace.current_task) == ("timeout", "writing")
    assert workspace.last_heartbeat_at is not None
    assert workspace.lease_expires_at is not None
    lease = (workspace.lease_expires_at - workspace.last_heartbeat_at).total_seconds()
    assert lease == pytest.approx(60, abs=0.1)
    assert redis.client().get(f"ws:{workspace.id}") == "online"
    assert 58 <= redis.client().ttl(f"ws:{workspace.id}") <= 60


def test_a_beat_restores_a_lost_key(
    make_workspace: Make, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    workspace = make_workspace(status="online")
    beat(django_capture_on_commit_callbacks, workspace)
    redis.client().flushall()
    beat(django_capture_on_commit_callbacks, workspace)
    assert redis.client().ttl(f"ws:{workspace.id}") > 0


def test_a_batch_of_many_intervals_is_one_call_to_redis(db: None) -> None:
    intervals = {uuid4(): interval for interval in (None, 10, 60, 600)}
    redis.client().config_resetstat()
    presence.mark_alive(intervals)
    assert redis.client().info("commandstats")["cmdstat_eval"]["calls"] == 1
    left = [redis.client().ttl(presence.liveness_key(i)) for i in intervals]
    assert left == [pytest.approx(seconds, abs=10) for seconds in (60, 60, 150, 1500)]


def test_a_tombstone_outlives_a_heartbeat_that_was_committed_before_the_removal(db: None) -> None:
    """Its key is set late: after the longest time that a batch takes."""
    removed = uuid4()
    presence.mark_alive({removed: None})
    presence.set_tombstones([removed])
    left = redis.client().ttl(presence.tombstone_key(removed))
    assert fast_path.beats.max_wait_seconds + fast_path.beats.max_write_seconds < left < 600
    presence.mark_alive({removed: None})
    presence.cache_url(removed, "http://late")
    assert redis.client().keys("ws:*") == []


def test_a_heartbeat_without_a_transition_records_no_event_and_keeps_updated_at(
    make_workspace: Make, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    workspace = make_workspace(status="online")
    before, updated_at = event_types(workspace), workspace.updated_at
    beat(django_capture_on_commit_callbacks, workspace, current_task="same old")
    assert event_types(workspace) == before
    assert workspace.updated_at == updated_at


def test_degraded_keeps_the_sample_error_until_it_recovers(
    make_workspace: Make, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    workspace = make_workspace(status="online")
    beat(django_capture_on_commit_callbacks, workspace, error_rate=0.5, sample_error="boom")
    assert (workspace.status, workspace.last_sample_error) == ("degraded", "boom")
    beat(django_capture_on_commit_callbacks, workspace, error_rate=0.3)
    assert (workspace.status, workspace.last_sample_error) == ("degraded", "boom")
    beat(django_capture_on_commit_callbacks, workspace, error_rate=0.05)
    assert (workspace.status, workspace.last_sample_error) == ("online", None)
    assert event_types(workspace)[-2:] == [EventType.WORKSPACE_DEGRADED, EventType.WORKSPACE_ONLINE]
    degraded = StructureEvent.objects.get(event_type=EventType.WORKSPACE_DEGRADED)
    assert degraded.payload == {"from": "online", "error_rate": 0.5, "sample_error": "boom"}
    assert degraded.actor == f"workspace:{workspace.id}"


def test_paused_stays_paused(
    make_workspace: Make, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    workspace = make_workspace(status="paused")
    before = event_types(workspace)
    beat(django_capture_on_commit_callbacks, workspace, error_rate=1.0, active_tasks=2)
    assert (workspace.status, workspace.active_tasks) == ("paused", 2)
    assert event_types(workspace) == before


def test_removed_and_unknown_workspaces_are_unchanged_and_do_not_affect_the_others(
    make_workspace: Make, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    good, gone, unknown = make_workspace("good"), make_workspace("gone", status="removed"), uuid4()
    before = Workspace.objects.filter(id=gone.id).values().get()
    with django_capture_on_commit_callbacks(execute=True):
        results = flush([Beat(workspace_id=good.id), Beat(workspace_id=gone.id), Beat(workspace_id=unknown)])
    assert results[good.id] is None
    assert isinstance(results[gone.id], Removed)
    assert isinstance(results[unknown], NotFound)
    assert Workspace.objects.filter(id=gone.id).values().get() == before
    assert redis.client().keys("ws:*") == [f"ws:{good.id}"]


def test_of_two_heartbeats_of_one_workspace_the_last_counts(
    make_workspace: Make, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    workspace = make_workspace(status="online")
    with django_capture_on_commit_callbacks(execute=True):
        flush([Beat(workspace_id=workspace.id, active_tasks=1), Beat(workspace_id=workspace.id, active_tasks=2)])
    workspace.refresh_from_db()
    assert workspace.active_tasks == 2


def test_long_texts_are_cut(make_workspace: Make) -> None:
    workspace = make_workspace()
    flush([Beat(workspace_id=workspace.id, current_task="x" * 5000, sample_error="y" * 5000)])
    workspace.refresh_from_db()
    assert (workspace.current_task, workspace.last_sample_error) == ("x" * 4000, "y" * 4000)


@pytest.mark.parametrize(("characters", "weight"), [(0, 1), (8000, 1), (8001, 2), (64 * 1024, 9)])
def test_texts_longer_than_what_is_kept_take_more_of_the_queue(characters: int, weight: int) -> None:
    assert Beat(workspace_id=uuid4(), current_task="x" * characters).weight == weight
