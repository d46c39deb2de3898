"""Races between two operations, in a forced order."""

import threading
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from django.db import OperationalError, connection, transaction

from activity.events import lock_log
from activity.group_commit import Unknown
from activity.log import Entry
from activity.models import ActivityLog, StructureEvent
from registry.exceptions import BadCredential, NotFound, Removed
from registry.identity import enrolment, tokens
from registry.liveness import expiry, heartbeats, presence
from registry.liveness.heartbeats import Beat
from registry.messaging import reports
from registry.messaging.reports import Report
from registry.models import Workspace, WorkspaceToken
from registry.organisation import rebuild, removal, workspaces
from registry.organisation.workspaces import NewWorkspace
from registry.structure.rows import lock
from tests.e2e.stack import until
from tests.registry.racing import PATIENCE_SECONDS, together, waiting

Make = Callable[..., Workspace]
ACTOR = "operator:test"


def until_waiting(count: int) -> None:
    """Wait until `count` connections wait for a lock."""
    until(lambda: waiting() >= count, f"{count} connections to wait for a lock")


@pytest.mark.django_db(transaction=True)
def test_of_two_first_registrations_of_one_id_one_succeeds() -> None:
    """Both have found no workspace with that id, and wait for the lock of the log."""
    workspace_id, outcomes, holding = uuid4(), [], threading.Event()

    def register() -> None:
        holding.wait(PATIENCE_SECONDS)
        try:
            card = {"name": "Agent"}
            outcomes.append(workspaces.register(workspace_id, url="u", agent_card=card, held=False, enrolment_id=None))
        except BadCredential:
            outcomes.append("refused")

    def hold_the_log() -> None:
        with transaction.atomic():
            lock_log()
            holding.set()
            until_waiting(2)

    together(hold_the_log, register, register)
    assert outcomes.count("refused") == 1
    assert WorkspaceToken.objects.count() == 1
    assert StructureEvent.objects.filter(event_type="WORKSPACE_PROVISIONING").count() == 1


@pytest.mark.django_db(transaction=True)
def test_a_creation_waits_for_a_repair(monkeypatch: pytest.MonkeyPatch) -> None:
    """The repair has locked the tables, not yet the log. A creation that waits for the tables must not hold the log."""
    repairing = threading.Event()

    def lock_log_late() -> int:
        repairing.set()
        until_waiting(1)
        return lock_log()

    def create() -> None:
        repairing.wait(PATIENCE_SECONDS)
        workspaces.create(NewWorkspace(name="Workspace"), actor=ACTOR)

    monkeypatch.setattr(rebuild, "lock_log", lock_log_late)
    together(rebuild.fix, create)
    assert Workspace.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_a_repair_takes_no_workspace_offline(
    make_workspace: Make, serving: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lease expiry has found expired leases and waits for the tables. The repair gives every workspace a new lease."""
    workspace, repairing = make_workspace(), threading.Event()
    workspaces.register(workspace.id, url="u", agent_card={"name": "a"}, held=True, enrolment_id=None)
    Workspace.objects.update(lease_expires_at="2000-01-01T00:00:00Z")
    expired: list[int] = []

    def lock_log_late() -> int:
        repairing.set()
        until_waiting(1)
        return lock_log()

    def watch() -> None:
        repairing.wait(PATIENCE_SECONDS)
        expired.append(expiry.reconcile())

    monkeypatch.setattr(rebuild, "lock_log", lock_log_late)
    together(rebuild.fix, watch)
    assert expired == [0]
    workspace.refresh_from_db()
    assert workspace.status == "online"


@pytest.mark.django_db(transaction=True)
def test_a_batch_of_heartbeats_waits_for_no_row_while_it_holds_the_log(make_workspace: Make) -> None:
    """The batch brings one workspace online and has another one, whose row is locked by a rename that needs the log."""
    x, y = make_workspace("X", status="offline"), make_workspace("Y", status="online")
    presented_tokens = [tokens.presented_token(tokens.issue_workspace_token(each.id).text) for each in (x, x, y)]
    beats = [
        Beat(workspace_id=each.id, token=presented) for each, presented in zip((x, x, y), presented_tokens, strict=True)
    ]
    holding, done = threading.Event(), threading.Event()

    def beat() -> None:
        holding.wait(PATIENCE_SECONDS)
        accepted, busy = heartbeats.commit(beats)
        assert (set(accepted), busy) == ({0, 1}, {2})
        done.set()

    def rename() -> None:
        with transaction.atomic():
            lock([y.id])
            holding.set()
            done.wait(PATIENCE_SECONDS)
            workspaces.update(y.id, {"name": "new"}, actor=ACTOR)

    together(beat, rename)
    x.refresh_from_db()
    y.refresh_from_db()
    assert (x.status, y.name, y.last_heartbeat_at) == ("online", "new", None)
    assert StructureEvent.objects.filter(workspace_id=x.id, event_type="WORKSPACE_ONLINE").count() == 1
    assert set(heartbeats.commit(beats).accepted) == {0, 1, 2}


@pytest.mark.django_db(transaction=True)
def test_a_batch_writes_nothing_of_what_is_busy_or_refused(make_workspace: Make) -> None:
    """Rows that another transaction holds are busy if the token is good, whatever it does with them."""
    free, held, gone = (make_workspace(name, status="online") for name in ("free", "held", "gone"))
    good = {each.id: tokens.presented_token(tokens.issue_workspace_token(each.id).text) for each in (free, held, gone)}
    named = [(free.id, good[free.id]), (held.id, good[held.id]), (held.id, good[free.id]), (gone.id, good[gone.id])]
    removal.remove(gone.id, actor=ACTOR, confirm=True)
    beats = [Beat(workspace_id=workspace_id, token=token) for workspace_id, token in named]
    given = [Report(workspace_id, token, [Entry(activity_type="error")]) for workspace_id, token in named if token]
    outcomes: list[tuple[set[int], set[int]]] = []

    def commit() -> None:
        for accepted, busy in (heartbeats.commit(beats), reports.commit(given)):
            outcomes.append((set(accepted), busy))

    with transaction.atomic():
        lock([held.id])
        together(commit)
    assert outcomes == [({0}, {1})] * 2
    assert set(ActivityLog.objects.values_list("workspace_id", flat=True)) == {free.id}
    held.refresh_from_db()
    assert held.last_heartbeat_at is None


@pytest.mark.django_db(transaction=True)
def test_while_another_transaction_holds_the_log_only_heartbeats_that_need_it_are_busy(
    make_workspace: Make, settings: Any
) -> None:
    settings.BATCH_LOCK_SECONDS = 0.1
    quiet, loud = make_workspace("quiet", status="online"), make_workspace("loud", status="online")
    beats = [Beat(workspace_id=quiet.id), Beat(workspace_id=loud.id), Beat(workspace_id=loud.id, error_rate=0.9)]
    outcomes: list[tuple[set[int], set[int]]] = []

    def commit() -> None:
        accepted, busy = heartbeats.commit(beats)
        outcomes.append((set(accepted), busy))

    with transaction.atomic():
        lock_log()
        together(commit)
    together(commit)
    assert outcomes == [({0}, {1, 2}), ({0, 1, 2}, set())]
    loud.refresh_from_db()
    assert loud.status == "degraded"


@pytest.mark.django_db(transaction=True)
def test_of_two_web_processes_messages_the_newer_task_has_the_later_time(
    make_workspace: Make, monkeypatch: pytest.MonkeyPatch, broadcasts: Callable[[], list[dict[str, Any]]]
) -> None:
    """The first process commits and is then slow to publish; the second one commits and publishes meanwhile."""
    workspace = make_workspace(status="online")
    committed, published = threading.Event(), threading.Event()
    mark_alive = presence.mark_alive

    def mark_alive_slowly(intervals: Any) -> None:
        mark_alive(intervals)
        if threading.current_thread().name == "slow":
            committed.set()
            published.wait(PATIENCE_SECONDS)

    def slow() -> None:
        threading.current_thread().name = "slow"
        heartbeats.commit([Beat(workspace_id=workspace.id, current_task="older")])

    def quick() -> None:
        committed.wait(PATIENCE_SECONDS)
        heartbeats.commit([Beat(workspace_id=workspace.id, current_task="newer")])
        published.set()

    monkeypatch.setattr(presence, "mark_alive", mark_alive_slowly)
    together(slow, quick)
    messages = [message for message in broadcasts() if message["event"] == "TASK_UPDATED"]
    by_time = sorted(messages, key=lambda message: str(message["timestamp"]))
    assert [message["payload"]["current_task"] for message in by_time] == ["older", "newer"]


SLOW_COMMIT = """
CREATE FUNCTION be_slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(60); RETURN NULL; END';
CREATE CONSTRAINT TRIGGER slow_commit AFTER INSERT ON activity_logs DEFERRABLE INITIALLY DEFERRED
  FOR EACH ROW EXECUTE FUNCTION be_slow()
"""
SLEEPING = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"


@pytest.mark.django_db(transaction=True)
def test_a_report_whose_commit_is_cut_off_is_unknown(make_workspace: Make) -> None:
    """A report that fails before has not happened."""
    workspace = make_workspace()
    token = tokens.presented_token(tokens.issue_workspace_token(workspace.id).text)
    assert token is not None
    given = [Report(workspace.id, token, [Entry(activity_type="error")])]
    errors: list[type[Exception]] = []

    def commit() -> None:
        try:
            reports.commit(given)
        except (Unknown, OperationalError) as error:
            errors.append(type(error))

    def cut_off() -> None:
        def is_ended() -> bool:
            with connection.cursor() as cursor:
                cursor.execute(SLEEPING)
                return cursor.fetchone() is not None

        until(is_ended, "the commit")

    try:
        with connection.cursor() as cursor:
            cursor.execute(SLOW_COMMIT)
        together(commit, cut_off)
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("LOCK TABLE activity_logs")
            together(commit)
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DROP FUNCTION be_slow CASCADE")
    assert errors == [Unknown, OperationalError]


def test_no_token_is_issued_for_a_removed_or_unknown_workspace(make_workspace: Make) -> None:
    workspace = make_workspace()
    removal.remove(workspace.id, actor=ACTOR, confirm=True)
    for issue in (tokens.issue_workspace_token, enrolment.issue):
        with pytest.raises(Removed):
            issue(workspace.id)
        with pytest.raises(NotFound):
            issue(uuid4())
    assert not WorkspaceToken.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_a_message_is_stored_while_redis_is_unreachable(make_workspace: Make, unreachable_redis: None) -> None:
    reports.notify(make_workspace().id, "done")
    assert ActivityLog.objects.get().response_body == {"result": "done"}
