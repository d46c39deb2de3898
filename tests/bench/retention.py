"""How retention slows heartbeats: ROWS of old activity are removed while 10,000 workspaces send heartbeats.

    .venv/bin/python -m molecule.embedded .venv/bin/python -m tests.bench.retention [ROWS]

A real supervisor removes them; this process commits batches of heartbeats at a fixed rate, before, during and after.
The time of a batch counts from when it was due, so waiting for an earlier batch is included.
"""

import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import django
from django.core.management import call_command
from django.db import connection

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "molecule.settings")
os.environ.setdefault("SECRET_KEY", "only for a benchmark")
django.setup()

from registry.liveness.heartbeats import Beat, flush  # noqa: E402
from registry.supervision import jobs  # noqa: E402  # these need the apps that it loads

ROWS = 1_000_000
WORKSPACES = 10_000
BATCH = 64
# 10,000 workspaces with a heartbeat every 30 s make five batches per second; this is twice as many.
FLUSHES_PER_SECOND = 10
QUIET_SECONDS = 60.0
TARGET = 1.5
ROOT = Path(__file__).resolve().parents[2]

WORKSPACE_ROWS = """
INSERT INTO workspaces (name, status, lease_expires_at)
SELECT 'Workspace ' || n, 'online', now() + interval '1 day' FROM generate_series(1, %s) n
"""
# Two weeks of old rows; then a tenth as many new rows, which stay.
OLD_ROWS = """
INSERT INTO activity_logs (workspace_id, activity_type, method, summary, request_body, duration_ms, created_at)
SELECT (%s::uuid[])[1 + n %% %s], 'task_update', 'message/send', 'Something that an agent did, number ' || n,
  jsonb_build_object('task', md5(n::text), 'note', repeat(md5(n::text), 6)), n %% 1000,
  now() - interval '22 days' + n * interval '14 days' / %s
FROM generate_series(1, %s::bigint) n
"""
NEW_ROWS = """
INSERT INTO activity_logs (workspace_id, activity_type, summary)
SELECT workspace_id, activity_type, summary FROM activity_logs LIMIT %s
"""
VACUUMED = """
SELECT autovacuum_count, n_dead_tup, pg_size_pretty(pg_total_relation_size(relid))
FROM pg_stat_user_tables WHERE relname = 'activity_logs'
"""


def seed(rows: int) -> list[UUID]:
    with connection.cursor() as cursor:
        cursor.execute(WORKSPACE_ROWS, [WORKSPACES])
        cursor.execute("SELECT id FROM workspaces")
        ids: list[UUID] = [i for (i,) in cursor.fetchall()]
        cursor.execute(OLD_ROWS, [ids, WORKSPACES, rows, rows])
        cursor.execute(NEW_ROWS, [rows // 10])
        cursor.execute("VACUUM ANALYZE activity_logs, workspaces")
    return ids


def beat(ids: list[UUID], is_running: Callable[[], bool]) -> list[float]:
    """Milliseconds that each batch took, from when it was due."""
    took, due = [], time.perf_counter()
    while is_running():
        due += 1 / FLUSHES_PER_SECOND
        time.sleep(max(0.0, due - time.perf_counter()))
        flush([Beat(workspace_id=i) for i in random.sample(ids, BATCH)])
        took.append(1000 * (time.perf_counter() - due))
    return took


def p99(what: str, took: list[float]) -> float:
    ordered = sorted(took)
    at = {share: ordered[int(share / 100 * len(ordered))] for share in (50, 95, 99)}
    shown = ", ".join(f"p{share} {value:.1f}" for share, value in at.items())
    print(f"{what}: {len(took)} flushes of {BATCH}, ms: {shown}, longest {ordered[-1]:.1f}", flush=True)
    return at[99]


def quiet(what: str, ids: list[UUID]) -> float:
    until = time.perf_counter() + QUIET_SECONDS
    return p99(what, beat(ids, lambda: time.perf_counter() < until))


def is_pruning() -> bool:
    tick = jobs.last(jobs.RETENTION)
    return tick is None or tick.detail["finished_at"] is None


def vacuumed() -> str:
    with connection.cursor() as cursor:
        cursor.execute(VACUUMED)
        runs, dead, size = cursor.fetchone()
    return f"autovacuum has run {runs} times, {dead} dead rows are left, table and indexes take {size}"


def main(rows: int) -> int:
    call_command("migrate", verbosity=0)
    ids = seed(rows)
    print(
        f"{rows} old rows of activity, {rows // 10} new ones, {WORKSPACES} workspaces, {FLUSHES_PER_SECOND} flushes/s"
    )
    before = quiet("quiet", ids)
    supervisor = subprocess.Popen([sys.executable, "manage.py", "supervise"], cwd=ROOT)
    began = time.perf_counter()
    try:
        meanwhile = p99("pruning", beat(ids, is_pruning))
        seconds = time.perf_counter() - began
    finally:
        supervisor.terminate()
        supervisor.wait()
    print(vacuumed(), flush=True)
    quiet("afterwards", ids)
    print(vacuumed())
    tick = jobs.last(jobs.RETENTION)
    removed = tick.detail["removed"] if tick else 0
    print(f"{removed} rows in {seconds:.0f} s: {removed / seconds:.0f} rows/s")
    print(f"p99 while pruning is {meanwhile / before:.2f} times the quiet one; at most {TARGET:g}")
    return int(removed != rows or meanwhile > TARGET * before)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else ROWS))
