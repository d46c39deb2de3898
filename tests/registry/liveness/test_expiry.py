"""Lease expiry: only the lease in PostgreSQL decides; Redis notifications and timers say when to check."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from django.db import connection
from django.utils import timezone

from activity import redis
from activity.models import EventType, StructureEvent
from registry.liveness import expiry, flapping, presence, watch
from registry.liveness.heartbeats import Beat, flush
from registry.liveness.watch import LeaseWatch
from registry.models import LoopTick, Workspace
from registry.organisation import pausing
from registry.supervision import jobs
from tests.registry.racing import together

Make = Callable[..., Workspace]


def lease(workspace: Workspace, seconds: float) -> Workspace:
    Workspace.objects.filter(id=workspace.id).update(lease_expires_at=timezone.now() + timedelta(seconds=seconds))
    return workspace


def status(workspace: Workspace) -> str:
    return Workspace.objects.get(id=workspace.id).status


@pytest.mark.parametrize(
    ("before", "seconds", "after"),
    [
        ("online", -1, "offline"),
        ("degraded", -1, "offline"),
        ("provisioning", -1, "provisioning"),
        ("failed", -1, "failed"),
        ("online", 30, "online"),
        ("paused", -1, "paused"),
        ("offline", -1, "offline"),
        ("removed", -1, "removed"),
    ],
)
def test_only_an_ended_lease_sets_a_workspace_offline(
    make_workspace: Make, serving: None, before: str, seconds: float, after: str
) -> None:
    workspace = lease(make_workspace(status=before), seconds)
    assert expiry.reconcile() == (before != after)
    assert status(workspace) == after


@pytest.mark.parametrize("way", ["create", "resume", "restart"])
def test_a_workspace_waiting_for_its_agent_never_fails(
    make_workspace: Make, serving: None, settings: Any, way: str
) -> None:
    settings.PROVISIONING_SECONDS = -1000.0
    settings.MOLECULE_OPEN = True  # which lets a restart through
    workspace = make_workspace()
    if way != "create":
        flush([Beat(workspace_id=workspace.id)])
    if way == "resume":
        pausing.pause(workspace.id, actor="test")
    if way != "create":
        getattr(pausing, way)(workspace.id, actor="test")
    workspace.refresh_from_db()
    assert (workspace.status, workspace.lease_expires_at) == ("provisioning", None)
    events = StructureEvent.objects.count()
    assert expiry.seconds_to_deadline() is None
    assert expiry.reconcile() == 0
    assert (status(workspace), StructureEvent.objects.count()) == ("provisioning", events)


def test_going_offline_is_recorded_with_its_reason(make_workspace: Make, serving: None) -> None:
    workspace = make_workspace(status="online")
    flush([Beat(workspace_id=workspace.id)])
    lease(workspace, -1)
    expiry.reconcile()
    event = StructureEvent.objects.get(event_type=EventType.WORKSPACE_OFFLINE)
    assert event.actor == "supervisor"
    assert event.payload is not None
    assert (event.payload["from"], event.payload["reason"]) == ("online", "lease expired")
    assert event.payload["last_heartbeat_at"]


def test_a_stale_notification_does_not_set_a_live_workspace_offline(make_workspace: Make, serving: None) -> None:
    workspace = make_workspace(status="online")
    flush([Beat(workspace_id=workspace.id)])
    leases = LeaseWatch()
    leases.step()
    redis.client().set(presence.liveness_key(workspace.id), "online", px=1)
    assert not leases.step()
    assert not redis.client().exists(presence.liveness_key(workspace.id))
    assert status(workspace) == "online"


def test_a_second_call_finds_nothing(make_workspace: Make, serving: None) -> None:
    lease(make_workspace(status="online"), -1)
    assert [expiry.reconcile(), expiry.reconcile()] == [1, 0]
    assert StructureEvent.objects.filter(event_type=EventType.WORKSPACE_OFFLINE).count() == 1


def test_one_call_handles_several_batches(make_workspace: Make, serving: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expiry, "BATCH", 2)
    for _ in range(5):
        lease(make_workspace(status="online"), -1)
    assert expiry.reconcile() == 5


def test_the_next_call_continues_after_the_limit(
    make_workspace: Make, serving: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(expiry, "MAX_PER_CALL", 2)
    for _ in range(3):
        lease(make_workspace(status="online"), -1)
    assert [expiry.reconcile() for _ in range(3)] == [2, 1, 0]


def test_a_slow_call_ends_after_its_batch_and_the_next_continues(
    make_workspace: Make, serving: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(expiry, "BATCH", 2)
    monkeypatch.setattr(expiry, "MAX_CALL_SECONDS", 0)
    for _ in range(3):
        lease(make_workspace(status="online"), -1)
    assert [expiry.reconcile() for _ in range(3)] == [2, 1, 0]


def test_a_heartbeat_after_the_scan_keeps_the_workspace_online(
    make_workspace: Make, serving: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    beating, silent = (lease(make_workspace(status="online"), -1) for _ in range(2))
    expire = expiry._expire

    def after_a_beat(ids: list[UUID], since: datetime) -> int:
        flush([Beat(workspace_id=beating.id)])
        return expire(ids, since)

    monkeypatch.setattr(expiry, "_expire", after_a_beat)
    assert expiry.reconcile() == 1
    assert (status(beating), status(silent)) == ("online", "offline")


@pytest.mark.django_db(transaction=True)
def test_of_two_concurrent_calls_the_second_skips_locked_rows(
    make_workspace: Make, serving: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second neither waits nor repeats: the first has locked the rows and not recorded anything yet."""
    workspaces = [lease(make_workspace(status="online"), -1) for _ in range(3)]
    counts: list[int] = []

    def reconcile_again(ids: list[UUID]) -> dict[UUID, datetime]:
        monkeypatch.undo()
        together(lambda: counts.append(expiry.reconcile()))
        return {}

    monkeypatch.setattr(flapping, "detect", reconcile_again)
    counts.append(expiry.reconcile())
    assert counts == [0, 3]
    offline = StructureEvent.objects.filter(event_type=EventType.WORKSPACE_OFFLINE)
    assert {event.workspace_id for event in offline} == {workspace.id for workspace in workspaces}
    assert len(offline) == 3


def test_while_no_web_process_serves_nothing_expires(make_workspace: Make) -> None:
    """Agents could not have reached us."""
    workspace = lease(make_workspace(status="online"), -100)
    assert expiry.reconcile() == 0
    jobs.tick(jobs.WEB)
    LoopTick.objects.update(since="2000-01-01T00:00:00Z", ticked_at=timezone.now() - timedelta(seconds=60))
    assert expiry.reconcile() == 0
    assert status(workspace) == "online"


def test_after_an_outage_of_the_platform_agents_get_one_new_lease(make_workspace: Make, settings: object) -> None:
    workspace = lease(make_workspace(status="online"), -100)
    jobs.tick(jobs.WEB)
    LoopTick.objects.update(since="2000-01-01T00:00:00Z", ticked_at=timezone.now() - timedelta(seconds=300))
    jobs.tick(jobs.WEB)
    assert expiry.reconcile() == 0
    assert expiry.seconds_to_deadline() == pytest.approx(60, abs=1)
    LoopTick.objects.update(since=timezone.now() - timedelta(seconds=61))
    assert expiry.reconcile() == 1
    assert status(workspace) == "offline"


def test_after_an_outage_each_agent_gets_a_whole_lease_of_its_own(make_workspace: Make) -> None:
    """One that declared to send heartbeats every 600 seconds has said nothing yet two minutes after we are back."""
    ordinary, slow = (lease(make_workspace(status="online"), -100) for _ in range(2))
    Workspace.objects.filter(id=slow.id).update(heartbeat_interval=600)
    jobs.tick(jobs.WEB)
    LoopTick.objects.update(since=timezone.now() - timedelta(seconds=120))
    assert expiry.reconcile() == 1
    assert (status(ordinary), status(slow)) == ("offline", "online")
    assert expiry.seconds_to_deadline() == pytest.approx(1500 - 120, abs=5)
    LoopTick.objects.update(since=timezone.now() - timedelta(seconds=1501))
    assert expiry.reconcile() == 1
    assert status(slow) == "offline"


def test_the_watch_wakes_when_the_grace_after_an_outage_ends(
    make_workspace: Make, serving: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither at the end of the lease, which is long past, nor at the next regular check, which is later."""
    workspace = lease(make_workspace(status="online"), -100)
    monkeypatch.setattr(jobs, "TICK_SECONDS", 20.0)
    LoopTick.objects.update(since=timezone.now() - timedelta(seconds=60 - 12))
    leases, waits = LeaseWatch(), list[float]()
    monkeypatch.setattr(leases, "_wait", waits.append)
    assert not leases.step()
    assert watch.LOCKED_WAIT_SECONDS < waits[0] < 15
    LoopTick.objects.filter(name=jobs.WEB).update(since=timezone.now() - timedelta(seconds=60 - 0.5))
    monkeypatch.undo()
    assert leases.step(), "it woke before the grace had ended"
    assert status(workspace) == "offline"


def test_a_job_that_ticks_keeps_its_start_time(db: None) -> None:
    jobs.tick("a job")
    LoopTick.objects.update(since="2020-01-01T00:00:00Z")
    jobs.tick("a job", seen=3)
    tick = jobs.last("a job")
    assert tick is not None
    assert (tick.since.year, tick.detail) == (2020, {"seen": 3})


def test_the_supervisor_turns_on_expiry_notifications_and_keeps_other_flags(db: None) -> None:
    redis.client().config_set("notify-keyspace-events", "Kg")
    assert not presence.expiries_are_announced()
    assert presence.announce_expiries()
    flags = str(redis.client().config_get("notify-keyspace-events")["notify-keyspace-events"])
    assert set("KEA") <= set(flags)


def test_the_supervisor_acts_on_an_expired_key(make_workspace: Make, serving: None) -> None:
    leases = LeaseWatch()
    leases.step()
    workspace = lease(make_workspace(status="online"), 0.1)
    redis.client().set(f"ws:{workspace.id}", "online", px=100)
    assert any(leases.step() for _ in range(20))
    assert status(workspace) == "offline"


def test_leases_end_without_redis_too(make_workspace: Make, serving: None, unreachable_redis: None) -> None:
    leases = LeaseWatch()
    leases.step()
    workspace = lease(make_workspace(status="online"), 0.2)
    assert any(leases.step() for _ in range(20))
    assert status(workspace) == "offline"


def test_after_a_lost_subscription_all_leases_are_checked_again(make_workspace: Make, serving: None) -> None:
    leases = LeaseWatch()
    leases.step()
    workspace = lease(make_workspace(status="online"), -1)
    redis.client().client_kill_filter(_type="pubsub", skipme=False)
    assert any(leases.step() for _ in range(5))
    assert status(workspace) == "offline"


def test_each_step_updates_the_row_of_the_job(db: None) -> None:
    LeaseWatch().step()
    assert jobs.is_fresh(jobs.last(jobs.SUPERVISOR))


@pytest.mark.parametrize("hours", [-1, 1])
def test_only_postgresqls_clock_counts(
    make_workspace: Make, serving: None, monkeypatch: pytest.MonkeyPatch, hours: int
) -> None:
    """The clock of a supervisor's or web process's host may be wrong."""
    silent = lease(make_workspace(status="online"), -1)
    LoopTick.objects.update(since=timezone.now() - timedelta(minutes=2))
    elsewhere = timezone.now() + timedelta(hours=hours)
    monkeypatch.setattr(timezone, "now", lambda: elsewhere)
    assert jobs.is_fresh(jobs.last(jobs.WEB))
    assert expiry.reconcile() == 1
    assert status(silent) == "offline"
    presence.grant_leases([silent.id])
    Workspace.objects.update(status="online")
    assert expiry.seconds_to_deadline() == pytest.approx(60, abs=1)
    jobs.Failures(jobs.WEB).add(ValueError())
    web = jobs.last(jobs.WEB)
    assert web is not None
    assert web.failed_at == pytest.approx(web.now, abs=timedelta(seconds=10))


@pytest.mark.parametrize("other", ["limit:a", f"ws:{UUID(int=1)}:url"])
def test_only_a_liveness_key_wakes_the_supervisor(db: None, other: str) -> None:
    """Hundreds of rate limit keys expire each second."""
    leases = LeaseWatch()
    leases.step()
    life, client = f"ws:{uuid4()}", redis.client()
    client.set(other, "x", px=1)
    client.set(life, "online", px=500)
    leases.step()
    assert not client.exists(life)


def test_while_no_web_process_serves_there_is_no_deadline(make_workspace: Make, serving: None) -> None:
    lease(make_workspace(status="online"), -1)
    deadline = expiry.seconds_to_deadline()
    assert deadline is not None
    assert deadline < 0
    LoopTick.objects.update(ticked_at=timezone.now() - timedelta(seconds=60))
    assert expiry.seconds_to_deadline() is None


@pytest.mark.django_db(transaction=True)
def test_locked_rows_are_not_polled_without_a_pause(
    make_workspace: Make, serving: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = lease(make_workspace(status="online"), -1)
    leases, waits = LeaseWatch(), list[float]()
    monkeypatch.setattr(leases, "_wait", waits.append)
    with psycopg.connect(**connection.get_connection_params()) as holder:
        holder.execute("SELECT 1 FROM workspaces WHERE id = %s FOR UPDATE", [workspace.id])
        assert [leases.step(), leases.step()] == [False, False]
    assert leases.step()
    lease(make_workspace(status="online"), -1)
    assert leases.step()
    assert waits == [
        watch.MIN_WAIT_SECONDS,
        watch.LOCKED_WAIT_SECONDS,
        watch.LOCKED_WAIT_SECONDS,
        watch.MIN_WAIT_SECONDS,
    ]
