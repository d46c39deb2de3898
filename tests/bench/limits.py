"""What PostgreSQL and Redis reach alone: one statement or one command at a time."""

import re
import subprocess
import tempfile
import time
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

from molecule.embedded import POSTGRES
from tests.bench.agents import identity
from tests.bench.bench import Bench

# More clients than cores, as the server has.
CLIENTS = 64
ROWS = 256
# The live columns of one row, as a heartbeat writes them.
UPDATE = """\\set n random(0, {last})
UPDATE workspaces SET last_heartbeat_at = now(), lease_expires_at = now() + interval '600 seconds',
  last_error_rate = 0.01, active_tasks = 1, uptime_seconds = 3600, current_task = 'Write the report'
WHERE id = ('{prefix}' || lpad(:n::text, 12, '0'))::uuid;
"""
INSERT = """\\set n random(0, {last})
INSERT INTO activity_logs (workspace_id, activity_type, method, summary, request_body, duration_ms)
VALUES (('{prefix}' || lpad(:n::text, 12, '0'))::uuid, 'a2a_send', 'message/send', 'Asked for the figures',
  '{{"text": "What were the figures of the last quarter?"}}', 120);
"""
SELECT = """\\set n random(0, {last})
SELECT id, url, name, status, parent_id FROM workspaces
WHERE id = ('{prefix}' || lpad(:n::text, 12, '0'))::uuid;
"""
MANY = """
UPDATE workspaces w SET last_heartbeat_at = clock_timestamp(),
  lease_expires_at = clock_timestamp() + interval '600 seconds', last_error_rate = b.error_rate,
  active_tasks = b.active_tasks, uptime_seconds = b.uptime_seconds, current_task = b.current_task
FROM unnest(%s::uuid[], %s::float[], %s::int[], %s::int[], %s::text[])
  AS b(id, error_rate, active_tasks, uptime_seconds, current_task) WHERE w.id = b.id
"""


def single_updates(bench: Bench) -> float:
    return bench.once("single updates", lambda: _pgbench(bench, UPDATE))


def inserts(bench: Bench) -> float:
    return bench.once("inserts", lambda: _pgbench(bench, INSERT))


def selects(bench: Bench) -> float:
    return bench.once("selects", lambda: _pgbench(bench, SELECT))


def updates_of_many(bench: Bench) -> float:
    """Rows per second with statements that update ROWS rows each, on one connection."""
    return bench.once("updates of many", lambda: _updates_of_many(bench))


def sets(bench: Bench) -> float:
    """SET commands per second in pipelines of ROWS, on one connection."""
    return bench.once("sets", lambda: _sets(bench))


def _pgbench(bench: Bench, script: str) -> float:
    """Transactions per second of one prepared statement on CLIENTS connections."""
    parts = urlsplit(bench.platform.environment["DATABASE_URL"])
    where = parse_qs(parts.query)
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as file:
        file.write(script.format(last=len(bench.agents) - 1, prefix=str(identity(0))[:-12]))
        file.flush()
        command = [POSTGRES / "pgbench", "-n", "-M", "prepared", "-j1", f"-c{CLIENTS}", f"-T{bench.seconds / 2:.0f}"]
        command += ["-f", file.name, "-h", where["host"][0], "-p", where["port"][0]]
        command += ["-U", parts.username or "", parts.path.strip("/")]
        done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    rate = re.search(r"tps = ([\d.]+)", done.stdout)
    if rate is None:
        raise RuntimeError(f"pgbench failed:\n{done.stdout}{done.stderr[:1000]}")
    return float(rate[1])


def _updates_of_many(bench: Bench) -> float:
    ids = [UUID(agent.id) for agent in bench.agents]
    done, began = 0, time.perf_counter()
    while time.perf_counter() - began < bench.seconds / 4:
        some = [ids[(done + offset) % len(ids)] for offset in range(ROWS)]
        columns = [some, [0.01] * ROWS, [1] * ROWS, [3600] * ROWS, ["Write the report"] * ROWS]
        bench.database.execute(MANY, columns, prepare=True, binary=True)
        done += ROWS
    return done / (time.perf_counter() - began)


def _sets(bench: Bench) -> float:
    keys = [f"bench:{agent.id}" for agent in bench.agents]
    done, began = 0, time.perf_counter()
    while time.perf_counter() - began < bench.seconds / 4:
        with bench.redis.pipeline(transaction=False) as pipe:
            for offset in range(ROWS):
                pipe.set(keys[(done + offset) % len(keys)], "online", px=600_000)
            pipe.execute()
        done += ROWS
    rate = done / (time.perf_counter() - began)
    bench.redis.delete(*keys)
    return rate
