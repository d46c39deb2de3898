"""Leader election, failing and hanging jobs, and retention that continues where it stopped."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from queue import SimpleQueue
from typing import Any

import psycopg
import pytest
from django.db import connection, transaction
from django.utils import timezone

from activity import log
from activity.models import ActivityLog
from registry.models import LoopTick, Workspace
from registry.supervision import jobs, leadership, process
from registry.supervision.leadership import Leadership
from registry.supervision.process import Job, JobDied, Process
from registry.supervision.retention import Progress, Retention
from tests.e2e.stack import until
from tests.registry.racing import PATIENCE_SECONDS, together, waiting

Make = Callable[..., Workspace]


def end_session_of(leader: Leadership) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s, 5000)", [leader._backend])


@pytest.fixture(autouse=True)
def session_without_limits(request: pytest.FixtureRequest) -> Iterator[None]:
    """The limits that steps set on their sessions, which the pool keeps, must not end the statements of later tests."""
    is_committing = "transactional_db" in request.fixturenames
    if is_committing:
        request.getfixturevalue("transactional_db")
    yield
    if is_committing:
        connection.close()
        connection.close_pool()  # type: ignore[attr-defined]  # of PostgreSQL's backend


@pytest.fixture
def free_lock(db: None) -> None:
    """The sessions of the test before end a moment after their connections."""
    query = """
        SELECT 1 FROM pg_locks JOIN pg_database ON pg_database.oid = pg_locks.database
        WHERE datname = current_database() AND locktype = 'advisory' AND objid = %s
    """
    with connection.cursor() as cursor:

        def is_free() -> bool:
            cursor.execute(query, [leadership.LEADER_LOCK])
            return cursor.fetchone() is None

        until(is_free, "the lock to be free")


@pytest.fixture
def leader(free_lock: None) -> Iterator[Leadership]:
    leader = Leadership()
    assert leader.seek()
    yield leader
    leader.resign()


@pytest.fixture
def other(free_lock: None) -> Iterator[Leadership]:
    other = Leadership()
    yield other
    other.resign()


def test_one_leads_and_keeps_leading(leader: Leadership, other: Leadership) -> None:
    for _ in range(2):
        assert [leader.seek(), leader.holds(), other.seek(), other.holds()] == [True, True, False, False]


def test_after_a_resignation_another_can_lead(leader: Leadership, other: Leadership) -> None:
    other.seek()
    leader.resign()
    until(other.seek, "the lock to be free")
    assert [leader.holds(), leader.seek(), other.holds()] == [False, False, True]


def test_a_lost_connection_ends_leadership_at_once(leader: Leadership, other: Leadership) -> None:
    end_session_of(leader)
    assert not leader.holds()
    assert other.seek()
    assert not leader.seek()
    other.resign()
    until(leader.seek, "the lock to be free")


def test_an_idle_leader_loses_the_lock(monkeypatch: pytest.MonkeyPatch, other: Leadership, db: None) -> None:
    """The connection of a stopped process or a vanished host stays open for long."""
    silent = Leadership()
    with monkeypatch.context() as brief:
        brief.setattr(leadership, "SESSION", "-c idle_session_timeout=50ms")
        assert silent.seek()
    until(other.seek, "the idle session to end")
    assert [silent.holds(), silent.seek()] == [False, False]
    silent.resign()


def test_another_backend_on_the_same_connection_does_not_lead(leader: Leadership) -> None:
    """As behind a pooler in transaction mode: the connection is well, and another session holds the lock."""
    taken = leader._connection
    assert taken is not None
    assert taken.info.backend_pid == leader._backend
    leader._connection = leadership._connect()
    assert not leader.holds()
    assert not leader.seek(), "the first session still holds the lock"
    taken.close()
    until(leader.seek, "the lock to be free")
    assert leader._connection.info.backend_pid == leader._backend


def test_an_unavailable_database_is_an_error(monkeypatch: pytest.MonkeyPatch, db: None) -> None:
    monkeypatch.setitem(leadership.NETWORK, "host", "/nonexistent")
    with pytest.raises(psycopg.OperationalError):
        Leadership().seek()


class Failing:
    """A step that raises the given errors in turn; None: it succeeds."""

    def __init__(self, *errors: Exception | None) -> None:
        self.errors = list(errors)

    def __call__(self) -> None:
        if error := self.errors.pop(0):
            raise error


def errors_of(name: str) -> int:
    return int(LoopTick.objects.get(name=name).errors)


@pytest.mark.parametrize("error", [ValueError("any"), psycopg.OperationalError("gone"), RecursionError()])
def test_any_error_in_a_step_is_counted_and_retried(transactional_db: None, error: Exception) -> None:
    job = Job("a job", Failing(error, error, None, error))
    waits = [job.run_step() for _ in range(4)]
    assert errors_of("a job") == 3
    first, second, good, again = waits
    assert (second, good, again) == (2 * first, 0.0, first)


def test_the_backoff_is_bounded(transactional_db: None) -> None:
    job = Job("a job", Failing(*[ValueError()] * 20))
    assert max(job.run_step() for _ in range(20)) == process.MAX_BACKOFF_SECONDS < jobs.STALE_SECONDS


def test_a_broken_connection_is_replaced(transactional_db: None) -> None:
    job = Job("a job", lambda: jobs.tick("a job"))
    job.run_step()
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        (pid,) = cursor.fetchone()
    with psycopg.connect(**connection.get_connection_params(), autocommit=True) as killer:
        killer.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
    assert job.run_step() > 0
    assert errors_of("a job") == 1
    assert job.run_step() == 0


@contextmanager
def supervising(**steps: Callable[[], object]) -> Iterator[Process]:
    """A supervisor in a thread; the steps must not block."""
    stop: SimpleQueue[int] = SimpleQueue()
    supervisor = Process(steps, threading.Event())

    def run() -> None:
        supervisor.run(stop)
        connection.close()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield supervisor
    finally:
        stop.put(15)
        thread.join(20)
        assert not thread.is_alive()


def slowly(act: Callable[[], object]) -> Callable[[], object]:
    """A step that waits a moment first."""
    pause = threading.Event()
    return lambda: (pause.wait(0.01), act())


def state_of(supervisor: Process) -> str | None:
    tick = jobs.last(supervisor.name)
    return None if tick is None else tick.detail["state"]


def test_a_process_leads_shows_its_state_and_deletes_its_row(transactional_db: None) -> None:
    stepped = threading.Event()
    with supervising(watch=slowly(stepped.set)) as supervisor:
        until(lambda: state_of(supervisor) == "leading", "it to lead")
        assert stepped.wait(20)
        (tick,) = jobs.every()
        assert (tick.name, tick.detail["pid"]) == (f"supervisor@{supervisor.host}:{supervisor.pid}", supervisor.pid)
    assert jobs.every() == []


def test_a_standby_runs_steps_only_after_the_leader_is_gone(leader: Leadership, transactional_db: None) -> None:
    stepped = threading.Event()
    with supervising(watch=slowly(stepped.set)) as supervisor:
        until(lambda: state_of(supervisor) == "standby", "it to stand by")
        assert not stepped.is_set()
        leader.resign()
        assert stepped.wait(20)


def test_a_hanging_job_delays_no_other(transactional_db: None) -> None:
    hangs, held, stepped = threading.Event(), threading.Event(), threading.Event()

    def hang() -> None:
        hangs.set()
        held.wait(60)

    def step() -> None:
        if hangs.is_set():
            stepped.set()

    with supervising(hanging=hang, watch=slowly(step)):
        assert hangs.wait(20)
        assert stepped.wait(20)
        held.set()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_ends_ends_the_process_with_an_error(transactional_db: None) -> None:
    supervisor = Process({"watch": exit_quietly}, threading.Event())
    with pytest.raises(JobDied, match="watch"):
        supervisor.run(SimpleQueue())


def exit_quietly() -> None:
    raise SystemExit


def test_a_leader_with_a_hanging_job_ends(
    transactional_db: None, other: Leadership, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "MAX_STEP_SECONDS", 0.2)
    monkeypatch.setattr(process, "STOP_SECONDS", 0.2)
    never, stop = threading.Event(), SimpleQueue[int]()
    too_late = threading.Timer(60, stop.put, [15])
    too_late.start()
    supervisor = Process({"watch": never.wait, "retention": slowly(bool)}, threading.Event())
    try:
        with pytest.raises(JobDied, match="watch: hangs"):
            supervisor.run(stop)
        until(other.seek, "the lock to be free")
    finally:
        too_late.cancel()
        never.set()
        for thread in supervisor.threads:
            thread.join()


def test_a_long_step_ends_the_process_only_if_seen_twice_while_it_leads(free_lock: None) -> None:
    """After a pause of the whole process, and without PostgreSQL, every step is long."""
    supervisor = Process({"watch": bool}, threading.Event())
    (job,) = supervisor.jobs
    for _ in range(3):
        job.began = time.monotonic() - 60
        supervisor._check_steps()
        supervisor._check_steps()
    assert supervisor.leadership.seek()
    job.began = time.monotonic() - 60
    supervisor._check_steps()
    job.began = None
    supervisor._check_steps()
    job.began = time.monotonic() - 60
    supervisor._check_steps()
    with pytest.raises(JobDied):
        supervisor._check_steps()
    supervisor.leadership.resign()


def test_waiting_too_long_for_a_lock_is_a_failure(transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "LOCK_SECONDS", 0.05)
    job = Job("a job", lambda: list(Workspace.objects.select_for_update(skip_locked=True)))
    with transaction.atomic(), psycopg.connect(**connection.get_connection_params()) as holder:
        holder.execute("LOCK TABLE workspaces IN EXCLUSIVE MODE")
        assert job.run_step() > 0
    assert "lock timeout" in job.failures.text


def test_a_statement_that_takes_too_long_is_a_failure(transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def sleep() -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_sleep(60)")

    monkeypatch.setattr(process, "STATEMENT_SECONDS", 0.05)
    job = Job("a job", sleep)
    assert job.run_step() > 0
    assert "statement timeout" in job.failures.text


@pytest.fixture
def old_rows(make_workspace: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Five rows to delete and two to keep, in batches of two."""
    monkeypatch.setattr(log, "PRUNE_BATCH", 2)
    workspace_id, now = make_workspace().id, timezone.now()
    ActivityLog.objects.bulk_create(
        ActivityLog(workspace_id=workspace_id, activity_type="error", created_at=now - timedelta(days=days))
        for days in (1, 2, 8, 9, 10, 11, 12)
    )


def steps(count: int) -> list[bool]:
    rests: list[float] = []
    retention = Retention(rest=rests.append)
    went = [retention.step() for _ in range(count)]
    assert len(rests) == count
    return went


def progress() -> tuple[str, int, int, int]:
    """(state, removed in this run, removed ever, rows left)."""
    tick = jobs.last(jobs.RETENTION)
    assert tick is not None
    detail = tick.detail
    return detail["state"], detail["removed"], detail["total"], ActivityLog.objects.count()


def test_retention_deletes_batch_by_batch_then_waits(old_rows: None) -> None:
    assert steps(1) == [True]
    assert progress() == ("pruning", 2, 2, 5)
    assert steps(3) == [True, True, False]
    assert progress() == ("waiting", 5, 5, 2)
    tick = jobs.last(jobs.RETENTION)
    assert tick is not None
    assert tick.detail["next_at"] is not None


def test_the_next_leader_continues_the_run(old_rows: None) -> None:
    steps(1)
    began = Progress.of(LoopTick.objects.get().detail).started_at
    steps(2)
    ended = Progress.of(LoopTick.objects.get().detail)
    assert (ended.started_at, ended.removed) == (began, 5)
    assert ended.finished_at is not None


def test_the_next_run_is_due_after_the_interval(old_rows: None, settings: Any) -> None:
    steps(3)
    ActivityLog.objects.update(created_at=timezone.now() - timedelta(days=30))
    assert steps(1) == [False]
    settings.ACTIVITY_CLEANUP_INTERVAL_HOURS = 1e-9
    assert steps(1) == [True]
    assert progress() == ("pruning", 2, 7, 0)


def test_zero_days_keep_everything(old_rows: None, settings: Any) -> None:
    settings.ACTIVITY_RETENTION_DAYS = 0.0
    assert steps(2) == [False, False]
    assert progress() == ("off", 0, 0, 7)


def test_a_longer_retention_applies_from_the_next_batch(old_rows: None, settings: Any) -> None:
    steps(1)
    settings.ACTIVITY_RETENTION_DAYS = 365.0
    assert steps(1) == [False]
    assert progress() == ("waiting", 2, 2, 5)


def test_concurrent_runs_count_every_row_once(old_rows: None, transactional_db: None) -> None:
    jobs.tick(jobs.RETENTION)
    together(*[lambda: steps(3)] * 3)
    assert progress() == ("waiting", 5, 5, 2)


def test_deletion_and_progress_are_one_transaction(
    old_rows: None, transactional_db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object, **detail: object) -> None:
        raise ConnectionError

    with monkeypatch.context() as broken:
        broken.setattr(jobs, "tick", fail)
        with pytest.raises(ConnectionError):
            steps(1)
    assert ActivityLog.objects.count() == 7


def test_pruning_takes_a_tenth_of_the_time(old_rows: None, transactional_db: None) -> None:
    """A batch that waits for a lock takes long enough to compare: the rest after it is nine times as long."""
    rests: list[float] = []
    retention = Retention(rest=rests.append)
    retention.step()
    took: list[float] = []
    held = threading.Event()

    def hold() -> None:
        with transaction.atomic():
            LoopTick.objects.select_for_update().get(name=jobs.RETENTION)
            held.set()
            until(waiting, "the batch to wait")
            time.sleep(0.3)

    def step() -> None:
        held.wait(PATIENCE_SECONDS)
        began = time.monotonic()
        retention.step()
        took.append(time.monotonic() - began)

    together(hold, step)
    assert 6 < rests[1] / took[0] <= 9


def test_the_rest_depends_on_how_long_the_batch_took(old_rows: None) -> None:
    rests: list[float] = []
    Retention(rest=rests.append).step()
    assert 0 < rests[0] <= 5
    Retention(rest=rests.append).step()
    settled = Retention(rest=rests.append)
    while settled.step():
        pass
    assert rests[-1] == jobs.TICK_SECONDS
