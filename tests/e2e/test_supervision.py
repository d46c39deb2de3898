"""Supervisors as real processes: killed, stopped or cut off; another takes over and nothing is done twice."""

import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from molecule.embedded import running_postgres, running_redis
from tests import prepared
from tests.e2e.stack import SUPERVISE, free_port, process, stopped, until, web_command

LEASE_SECONDS = 2
METRICS_TOKEN = "a-token-of-metrics-only"
Supervisor = subprocess.Popen[bytes]
# A supervisor that counts as hanging sooner.
IMPATIENT = """
import os
os.environ["DJANGO_SETTINGS_MODULE"] = "molecule.settings"
import django
django.setup()
from django.core.management import call_command
from registry.liveness import watch
from registry.supervision import process
process.MAX_STEP_SECONDS = 5
{more}
call_command("supervise")
"""
SUPERVISE_IMPATIENT = [sys.executable, "-c", IMPATIENT.format(more="")]
# Hangs in a thread that a normal exit of the process waits for, as the channel layer's client does.
HANG_ELSEWHERE = """
import threading
from asgiref.sync import async_to_sync
async def hang():
    threading.Event().wait()
watch.LeaseWatch.step = lambda self: async_to_sync(hang)()
"""
SMALL_BATCHES = """
from registry.liveness import expiry
expiry.BATCH = 10
"""
# A disk that has a bad day: every batch of events takes a second.
SLOW_LOG = """
CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(1); RETURN NULL; END';
CREATE TRIGGER slow BEFORE INSERT ON structure_events FOR EACH STATEMENT EXECUTE FUNCTION slow();
"""
# The last query of the lease watch before it waits.
WATCH = """
SELECT pid FROM pg_stat_activity
WHERE strpos(query, 'MIN(GREATEST("workspaces"."lease_expires_at"') > 0 AND pid <> pg_backend_pid()
"""

ROW = """
SELECT to_jsonb(t) || jsonb_build_object('age', extract(epoch FROM now() - ticked_at)) FROM loop_ticks t WHERE name = %s
"""
STATE = "SELECT detail->>'state' FROM loop_ticks WHERE name LIKE %s AND ticked_at > now() - interval '3 s'"
WEB_HEARTBEAT = """
INSERT INTO loop_ticks (name, since, ticked_at) VALUES ('web', now() - interval '1 day', now() + interval '1 h')
"""
OLD_ROWS = """
INSERT INTO activity_logs (workspace_id, activity_type, created_at)
SELECT id, 'error', now() - interval '30 days' + n * interval '1 s' FROM workspaces, generate_series(1, %s) n
"""
OFFLINE_COUNTS = "SELECT count(*) FROM structure_events WHERE event_type = 'WORKSPACE_OFFLINE' GROUP BY workspace_id"


class Ground:
    """Engines with a migrated database, and access to the rows of background jobs."""

    def __init__(self, state: Path, stack: ExitStack) -> None:
        self.state = state
        prepared.copy_to(state)
        self.postgres = ExitStack()
        stack.callback(self.stop_postgres)
        self.start_postgres()
        redis = stack.enter_context(running_redis(state))
        self.environment = {
            "DATABASE_URL": self.database,
            "REDIS_URL": redis,
            "SECRET_KEY": "only for tests",
            "SECRETS_ENCRYPTION_KEY": "ab" * 32,
            "MOLECULE_READ_ENV_FILE": "false",
            "DEBUG": "true",
            "LEASE_SECONDS": str(LEASE_SECONDS),
            "METRICS_TOKEN": METRICS_TOKEN,
        }

    def start_postgres(self) -> None:
        self.database = self.postgres.enter_context(running_postgres(self.state))

    def stop_postgres(self) -> None:
        self.postgres.close()

    def query(self, statement: str, *values: Any) -> list[Any]:
        with psycopg.connect(self.database, autocommit=True) as connection:
            cursor = connection.execute(statement, values)
            return cursor.fetchall() if cursor.description else []

    def job(self, name: str) -> dict[str, Any]:
        rows = self.query(ROW, name)
        return dict(rows[0][0]) if rows else {"detail": {}, "errors": 0, "age": None}

    def is_fresh(self, name: str) -> bool:
        age = self.job(name)["age"]
        return age is not None and age < 3

    def state_of(self, supervisor: Supervisor) -> str | None:
        rows = self.query(STATE, f"supervisor@%:{supervisor.pid}")
        return rows[0][0] if rows else None

    def leads(self, supervisor: Supervisor) -> Callable[[], bool]:
        return lambda: self.state_of(supervisor) == "leading"

    def stands_by(self, supervisor: Supervisor) -> Callable[[], bool]:
        return lambda: self.state_of(supervisor) == "standby"

    def web_serves_for_long(self) -> None:
        """Heartbeats of the web process from a day ago into the future: leases can end at once."""
        self.query(WEB_HEARTBEAT)

    def workspaces(self, count: int) -> None:
        self.query(
            "INSERT INTO workspaces (name, status, lease_expires_at)"
            " SELECT 'W' || n, 'online', now() FROM generate_series(1, %s) n",
            count,
        )

    def online(self) -> int:
        return int(self.query("SELECT count(*) FROM workspaces WHERE status = 'online'")[0][0])

    def backend_of_the_lease_watch(self) -> int:
        [(pid,)] = until(lambda: self.query(WATCH), "the lease watch to wait")
        return int(pid)

    def offline_counts(self) -> list[int]:
        """How often each workspace went offline, of those that did."""
        return [count for (count,) in self.query(OFFLINE_COUNTS)]


@pytest.fixture
def ground() -> Iterator[Ground]:
    with ExitStack() as stack:
        yield Ground(Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="molecule-e2e-"))), stack)


@contextmanager
def supervisors(ground: Ground, count: int, **settings: str) -> Iterator[list[Supervisor]]:
    """The first leads, the others are on standby."""
    with ExitStack() as stack:
        started: list[Supervisor] = []
        for number in range(count):
            started.append(stack.enter_context(process(SUPERVISE, ground.environment | settings)))
            wanted = ground.stands_by if number else ground.leads
            until(wanted(started[-1]), "it to lead or stand by")
        yield started


def test_another_takes_over_from_a_killed_leader(ground: Ground) -> None:
    ground.web_serves_for_long()
    with supervisors(ground, 3) as (leader, *others):
        leader.kill()
        leader.wait()
        ground.workspaces(3)
        until(lambda: any(ground.leads(other)() for other in others), "another to lead")
        until(lambda: not ground.online(), "all to be offline")
        assert sorted(ground.state_of(other) or "" for other in others) == ["leading", "standby"]
        assert ground.offline_counts() == [1, 1, 1]


def test_a_stopped_leader_hands_over_and_deletes_its_row(ground: Ground) -> None:
    with supervisors(ground, 2) as (leader, other):
        leader.terminate()
        assert leader.wait(20) == 0
        until(ground.leads(other), "the other to lead")
        assert ground.query("SELECT name FROM loop_ticks WHERE name LIKE %s", f"supervisor@%:{leader.pid}") == []


def test_a_paused_leader_loses_the_lead_and_does_no_harm_when_it_continues(ground: Ground) -> None:
    ground.web_serves_for_long()
    with supervisors(ground, 2) as (leader, other):
        leader.send_signal(signal.SIGSTOP)
        try:
            until(ground.leads(other), "the other to lead")
            ground.workspaces(50)
        finally:
            leader.send_signal(signal.SIGCONT)
        until(ground.stands_by(leader), "the first to be on standby")
        until(lambda: not ground.online(), "all to be offline")
        assert ground.offline_counts() == [1] * 50
        assert ground.state_of(other) == "leading"


def test_another_takes_over_from_a_hanging_leader(ground: Ground) -> None:
    """The connection of the lease watch is open and returns nothing, while the one that holds the lead works."""
    ground.web_serves_for_long()
    with process(SUPERVISE_IMPATIENT, ground.environment) as leader:
        until(lambda: ground.is_fresh("supervisor"), "its lease watch to tick")
        with supervisors_standing_by(ground) as other, stopped(ground.backend_of_the_lease_watch()):
            assert leader.wait(60) == 1
            until(ground.leads(other), "the other to lead")
            ground.workspaces(1)
            until(lambda: not ground.online(), "the workspace to be offline")


def test_a_leader_that_is_slow_but_gets_on_does_not_end(ground: Ground) -> None:
    """All batches together take longer than a step may, each alone does not."""
    ground.web_serves_for_long()
    ground.workspaces(120)
    ground.query(SLOW_LOG)
    with process([sys.executable, "-c", IMPATIENT.format(more=SMALL_BATCHES)], ground.environment) as leader:
        until(lambda: ground.online() < 120, "the first batch")
        until(lambda: leader.poll() is not None or not ground.online(), "all to be offline", seconds=60)
        assert leader.poll() is None
        assert ground.job("supervisor")["errors"] == 0
    assert ground.offline_counts() == [1] * 120


def test_a_hanging_process_ends_although_its_threads_do_not(ground: Ground) -> None:
    with process([sys.executable, "-c", IMPATIENT.format(more=HANG_ELSEWHERE)], ground.environment) as leader:
        until(ground.leads(leader), "it to lead")
        assert leader.wait(60) == 1
    assert ground.query("SELECT name FROM loop_ticks WHERE name LIKE 'supervisor@%%'") == []


@contextmanager
def supervisors_standing_by(ground: Ground) -> Iterator[Supervisor]:
    with process(SUPERVISE, ground.environment) as started:
        until(ground.stands_by(started), "it to stand by")
        yield started


def test_one_leads_again_after_a_restart_of_postgresql(ground: Ground) -> None:
    with supervisors(ground, 2) as both:
        ground.stop_postgres()
        ground.start_postgres()
        until(lambda: {ground.state_of(one) for one in both} == {"leading", "standby"}, "one to lead, one to stand by")
        ground.web_serves_for_long()
        ground.workspaces(1)
        until(lambda: not ground.online(), "the workspace to be offline")
        assert [one.poll() for one in both] == [None, None]


def test_the_next_leader_finishes_a_retention_run(ground: Ground) -> None:
    rows = 20_000
    ground.workspaces(1)
    ground.query(OLD_ROWS, rows)
    ground.query("INSERT INTO activity_logs (workspace_id, activity_type) SELECT id, 'error' FROM workspaces")
    with supervisors(ground, 2) as (leader, other):
        until(lambda: ground.job("retention")["detail"].get("removed"), "the first batches")
        leader.kill()
        leader.wait()
        broken = ground.job("retention")["detail"]
        gone = rows + 1 - ground.query("SELECT count(*) FROM activity_logs")[0][0]
        assert broken["removed"] <= gone <= rows
        until(ground.leads(other), "the other to lead")
        until(lambda: ground.job("retention")["detail"]["state"] == "waiting", "the run to end")
    ended = ground.job("retention")["detail"]
    assert (ended["removed"], ended["total"]) == (rows, rows)
    if broken["state"] == "pruning":
        assert ended["started_at"] == broken["started_at"]
    assert ground.query("SELECT count(*) FROM activity_logs") == [(1,)]


def test_hanging_retention_is_stale_and_delays_no_expiry(ground: Ground) -> None:
    ground.web_serves_for_long()
    with supervisors(ground, 1, ACTIVITY_CLEANUP_INTERVAL_HOURS="0.000001"), psycopg.connect(ground.database) as holder:
        until(lambda: ground.is_fresh("retention"), "retention to tick")
        holder.execute("LOCK TABLE activity_logs")
        until(lambda: not ground.is_fresh("retention"), "retention to hang")
        ground.workspaces(1)
        until(lambda: not ground.online(), "the workspace to be offline")
        assert ground.is_fresh("supervisor")
        holder.rollback()
        until(lambda: ground.is_fresh("retention"), "retention to continue")


def test_a_failing_job_shows_its_error_and_recovers(ground: Ground) -> None:
    with supervisors(ground, 1, ACTIVITY_CLEANUP_INTERVAL_HOURS="0.000001") as (leader,):
        until(lambda: ground.is_fresh("retention"), "retention to tick")
        ground.query("ALTER TABLE activity_logs RENAME TO away")
        until(lambda: ground.job("retention")["errors"] > 1, "errors to be counted")
        ground.query("ALTER TABLE away RENAME TO activity_logs")
        until(lambda: ground.is_fresh("retention"), "retention to continue")
        assert ground.job("retention")["last_error"].startswith("ProgrammingError: relation")
        assert ground.job("supervisor")["errors"] == 0
        assert leader.poll() is None


def test_metrics_while_the_database_is_down_and_the_web_heartbeat_afterwards(ground: Ground) -> None:
    port = free_port()
    with process(web_command(port), ground.environment), httpx.Client(base_url=f"http://127.0.0.1:{port}") as web:
        web.headers["Authorization"] = f"Bearer {METRICS_TOKEN}"
        up = 'molecule_up{dependency="postgres"} '
        until(lambda: f"{up}1.0" in scraped(web), "the web process to answer")
        until(lambda: ground.is_fresh("web"), "its heartbeat")
        ground.stop_postgres()
        until(lambda: f"{up}0.0" in scraped(web), "it to report PostgreSQL as down")
        # Each request waits for a connection as long as a heartbeat does, so at least one heartbeat fails meanwhile.
        scraped(web)
        text = scraped(web)
        assert "process_resident_memory_bytes" in text
        assert "molecule_workspaces" not in text
        ground.start_postgres()
        until(lambda: f"{up}1.0" in scraped(web), "it to report PostgreSQL as up")
        until(lambda: ground.is_fresh("web"), "its heartbeat to continue")
        until(lambda: ground.job("web")["errors"], "the failed heartbeats to be counted")


def scraped(web: httpx.Client) -> str:
    try:
        answer = web.get("/metrics", timeout=20)
    except httpx.TransportError:
        return ""
    assert answer.status_code == 200, answer.text
    return answer.text
