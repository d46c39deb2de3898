"""Leases decide; hints and timers only say when to look."""

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
from registry.management.commands.supervise import Supervisor
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
def test_only_a_lease_that_is_past_ends_a_life(
    make_workspace: Make, serving: None, before: str, seconds: float, after: str
) -> None:
    workspace = lease(make_workspace(status=before), seconds)
    assert expiry.reconcile() == (before != after)
    assert status(workspace) == after


@pytest.mark.parametrize("way", ["create", "resume", "restart"])
def test_who_waits_for_an_agent_never_fails(make_workspace: Make, serving: None, settings: Any, way: str) -> None:
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


def test_a_stale_hint_does_not_kill_a_fresh_life(make_workspace: Make, serving: None) -> None:
    workspace = make_workspace(status="online")
    flush([Beat(workspace_id=workspace.id)])
    supervisor = Supervisor()
    supervisor.step()
    redis.client().set(presence.liveness_key(workspace.id), "online", px=1)
    assert not supervisor.step()
    assert not redis.client().exists(presence.liveness_key(workspace.id))
    assert status(workspace) == "online"


def test_a_second_look_finds_nothing(make_workspace: Make, serving: None) -> None:
    lease(make_workspace(status="online"), -1)
    assert [expiry.reconcile(), expiry.reconcile()] == [1, 0]
    assert StructureEvent.objects.filter(event_type=EventType.WORKSPACE_OFFLINE).count() == 1


def test_more_than_one_batch_goes_in_one_reconciliation(
    make_workspace: Make, serving: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(expiry, "BATCH", 2)
    for _ in range(5):
        lease(make_workspace(status="online"), -1)
    assert expiry.reconcile() == 5


def test_what_is_too_much_for_one_look_is_for_the_next(
    make_workspace: Make, serving: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(expiry, "MOST", 2)
    for _ in range(3):
        lease(make_workspace(status="online"), -1)
    assert [expiry.reconcile() for _ in range(3)] == [2, 1, 0]


def test_whoever_beats_after_the_look_is_spared(
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
def test_of_two_looks_at_once_the_second_leaves_everything_to_the_first(
    make_workspace: Make, serving: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It neither waits nor repeats: the first has locked the rows and has not yet recorded anything."""
    workspaces = [lease(make_workspace(status="online"), -1) for _ in range(3)]
    gone: list[int] = []

    def look_again(ids: list[UUID]) -> dict[UUID, datetime]:
        monkeypatch.undo()
        together(lambda: gone.append(expiry.reconcile()))
        return {}

    monkeypatch.setattr(flapping, "marks", look_again)
    gone.append(expiry.reconcile())
    assert gone == [0, 3]
    deaths = StructureEvent.objects.filter(event_type=EventType.WORKSPACE_OFFLINE)
    assert {event.workspace_id for event in deaths} == {workspace.id for workspace in workspaces}
    assert len(deaths) == 3


def test_while_no_web_process_serves_nobody_dies(make_workspace: Make) -> None:
    """Agents could not have reached us: silence says nothing about them."""
    workspace = lease(make_workspace(status="online"), -100)
    assert expiry.reconcile() == 0
    jobs.tick(jobs.WEB)
    LoopTick.objects.update(since="2000-01-01T00:00:00Z", ticked_at=timezone.now() - timedelta(seconds=60))
    assert expiry.reconcile() == 0
    assert status(workspace) == "online"


def test_after_the_platforms_own_outage_agents_get_one_fresh_lease(make_workspace: Make, settings: object) -> None:
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


def test_a_loop_that_ticks_keeps_its_beginning(db: None) -> None:
    jobs.tick("a loop")
    LoopTick.objects.update(since="2020-01-01T00:00:00Z")
    jobs.tick("a loop", seen=3)
    tick = jobs.last("a loop")
    assert tick is not None
    assert (tick.since.year, tick.detail) == (2020, {"seen": 3})


def test_the_supervisor_turns_on_expiry_announcements_and_keeps_the_others(db: None) -> None:
    redis.client().config_set("notify-keyspace-events", "Kg")
    assert not presence.expiries_are_announced()
    assert presence.announce_expiries()
    flags = str(redis.client().config_get("notify-keyspace-events")["notify-keyspace-events"])
    assert set("KEA") <= set(flags)


def test_the_supervisor_acts_on_an_expired_key(make_workspace: Make, serving: None) -> None:
    supervisor = Supervisor()
    supervisor.step()
    workspace = lease(make_workspace(status="online"), 0.1)
    redis.client().set(f"ws:{workspace.id}", "online", px=100)
    assert any(supervisor.step() for _ in range(20))
    assert status(workspace) == "offline"


def test_the_supervisor_needs_no_redis_to_see_a_lease_end(
    make_workspace: Make, serving: None, unreachable_redis: None
) -> None:
    supervisor = Supervisor()
    supervisor.step()
    workspace = lease(make_workspace(status="online"), 0.2)
    assert any(supervisor.step() for _ in range(20))
    assert status(workspace) == "offline"


def test_after_a_lost_subscription_everything_is_looked_at_again(make_workspace: Make, serving: None) -> None:
    supervisor = Supervisor()
    supervisor.step()
    workspace = lease(make_workspace(status="online"), -1)
    redis.client().client_kill_filter(_type="pubsub", skipme=False)
    assert any(supervisor.step() for _ in range(5))
    assert status(workspace) == "offline"


def test_the_supervisor_says_that_it_lives(db: None) -> None:
    Supervisor().step()
    assert jobs.is_fresh(jobs.last(jobs.SUPERVISOR))


@pytest.mark.parametrize("hours", [-1, 1])
def test_only_the_clock_of_postgresql_counts(
    make_workspace: Make, serving: None, monkeypatch: pytest.MonkeyPatch, hours: int
) -> None:
    """That of a supervisor's or a web process's host may be wrong."""
    dead = lease(make_workspace(status="online"), -1)
    LoopTick.objects.update(since=timezone.now() - timedelta(minutes=2))
    elsewhere = timezone.now() + timedelta(hours=hours)
    monkeypatch.setattr(timezone, "now", lambda: elsewhere)
    assert jobs.is_fresh(jobs.last(jobs.WEB))
    assert expiry.reconcile() == 1
    assert status(dead) == "offline"
    presence.grant_leases([dead.id])
    Workspace.objects.update(status="online")
    assert expiry.seconds_to_deadline() == pytest.approx(60, abs=1)
    jobs.Failures(jobs.WEB).add(ValueError())
    web = jobs.last(jobs.WEB)
    assert web is not None
    assert web.failed_at == pytest.approx(web.now, abs=timedelta(seconds=10))


@pytest.mark.parametrize("other", ["limit:a", f"ws:{UUID(int=1)}:url"])
def test_only_the_key_of_a_workspaces_life_wakes_the_supervisor(db: None, other: str) -> None:
    """Those of the throttle expire by the hundred each second."""
    supervisor = Supervisor()
    supervisor.step()
    life, client = f"ws:{uuid4()}", redis.client()
    client.set(other, "x", px=1)
    client.set(life, "online", px=500)
    supervisor.step()
    assert not client.exists(life)


def test_while_nobody_could_reach_us_no_lease_is_waited_for(make_workspace: Make, serving: None) -> None:
    lease(make_workspace(status="online"), -1)
    deadline = expiry.seconds_to_deadline()
    assert deadline is not None
    assert deadline < 0
    LoopTick.objects.update(ticked_at=timezone.now() - timedelta(seconds=60))
    assert expiry.seconds_to_deadline() is None


@pytest.mark.django_db(transaction=True)
def test_who_is_held_by_somebody_else_is_not_asked_for_again_and_again(
    make_workspace: Make, serving: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = lease(make_workspace(status="online"), -1)
    supervisor, waits = Supervisor(), list[float]()
    monkeypatch.setattr(supervisor, "_wait", waits.append)
    with psycopg.connect(**connection.get_connection_params()) as holder:
        holder.execute("SELECT 1 FROM workspaces WHERE id = %s FOR UPDATE", [workspace.id])
        assert [supervisor.step(), supervisor.step()] == [False, False]
    assert supervisor.step()
    lease(make_workspace(status="online"), -1)
    assert supervisor.step()
    assert waits == [watch.SHORTEST_WAIT, watch.HELD_WAIT, watch.HELD_WAIT, watch.SHORTEST_WAIT]
