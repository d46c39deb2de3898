"""How long reconcile() takes to set 10,000 workspaces with expired leases offline, events and broadcast included.

    .venv/bin/python -m molecule.embedded .venv/bin/python -m tests.bench.expiry [WORKSPACES [TIMES]]

reconcile() is timed three times, and once more under the profiler, which shows where the time goes (and makes it
longer). TIMES: how often each workspace went offline just before, which decides about flapping.
"""

import cProfile
import os
import sys
import time
from pathlib import Path
from typing import Any

import django
from django.core.management import call_command
from django.db import connection
from django.utils.module_loading import import_string

WORKSPACES = 10_000
ROUNDS = 3
TARGET_SECONDS = 1.5
SEED = """
INSERT INTO workspaces (name, role, url, agent_card)
SELECT 'Workspace ' || n, 'QA', 'http://agent:' || n, jsonb_build_object('name', 'Agent ' || n, 'skills',
  (SELECT jsonb_agg(md5(n || '.' || i)) FROM generate_series(1, 28) i))
FROM generate_series(1, %s) n
"""
EARLIER_OUTAGES = """
INSERT INTO structure_events (event_type, workspace_id, payload, actor)
SELECT kind, w.id, '{}', 'bench'
FROM generate_series(1, %s), unnest(ARRAY['WORKSPACE_ONLINE', 'WORKSPACE_OFFLINE']) kind, workspaces w
"""
EXPIRE = """
UPDATE workspaces
SET status = 'online', last_heartbeat_at = now(), lease_expires_at = now() - random() * interval '1 second'
"""
SERVING = "INSERT INTO loop_ticks (name, since, ticked_at) VALUES ('web', '2000-01-01', now() + interval '1 day')"
LEFT = "SELECT count(*) FROM workspaces WHERE status <> 'offline'"
RECORDED = "SELECT count(*) FROM structure_events WHERE actor = 'supervisor'"
# The functions shown from the profile, and their files.
PHASES = (
    ("expiry.py", "_serving_since"),
    ("expiry.py", "_lock_expired"),
    ("flapping.py", "detect"),
    ("events.py", "record"),
    ("projection.py", "apply"),
    ("bus.py", "publish"),
)


def main(workspaces: int, times: int) -> int:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "molecule.settings")
    os.environ.setdefault("SECRET_KEY", "only for a benchmark")
    django.setup()
    call_command("migrate", verbosity=0)
    reconcile = import_string("registry.liveness.expiry.reconcile")
    run(SERVING)
    run(SEED, workspaces)
    run(EARLIER_OUTAGES, times)
    took = []
    for _ in range(ROUNDS):
        expire_all()
        began, busy = time.perf_counter(), time.process_time()
        assert reconcile() == workspaces
        took.append(time.perf_counter() - began)
        print(f"{workspaces} offline in {took[-1]:.2f} s; CPU of this process {time.process_time() - busy:.2f} s")
    assert run(LEFT) == 0
    assert run(RECORDED) == workspaces * ROUNDS
    expire_all()
    explain(reconcile)
    print(f"at best {min(took):.2f} s; at most {TARGET_SECONDS:g} s for {WORKSPACES}")
    return int(min(took) > TARGET_SECONDS * workspaces / WORKSPACES)


def run(statement: str, *values: int) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return cursor.fetchone()[0] if cursor.description else None


def expire_all() -> None:
    run(EXPIRE)
    run("VACUUM ANALYZE workspaces")
    run("VACUUM ANALYZE structure_events")


def explain(reconcile: Any) -> None:
    profile = cProfile.Profile()
    began = time.perf_counter()
    profile.runcall(reconcile)
    print(f"under the profiler {time.perf_counter() - began:.2f} s, of which")
    for entry in profile.getstats():
        if not isinstance(entry.code, str) and (Path(entry.code.co_filename).name, entry.code.co_name) in PHASES:
            name = entry.code.co_name.strip("_").replace("_", " ")
            print(f"  {entry.totaltime:6.2f} s  {entry.callcount:4d} times {name}")


if __name__ == "__main__":
    given = [int(argument) for argument in sys.argv[1:]]
    sys.exit(main(*(given + [WORKSPACES, 0][len(given) :])))
