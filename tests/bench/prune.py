"""Rows of old activity removed per second by `manage.py prune_activity`."""

import subprocess
import time
from collections.abc import Iterator

from tests.bench.bench import Bench
from tests.bench.load import Unavailable
from tests.bench.machine import Cpu
from tests.bench.table import Figure
from tests.e2e.stack import manage

ROWS = 1_000_000
FILL = """
INSERT INTO activity_logs (workspace_id, activity_type, method, summary, request_body, duration_ms, created_at)
SELECT ids[1 + n %% array_length(ids, 1)], 'a2a_send', 'message/send', 'Asked for the figures',
  '{"text": "What were the figures of the last quarter?"}', 120, now() - interval '90 days' + n * interval '1 second'
FROM generate_series(1, %s) AS n, (SELECT array_agg(id) AS ids FROM workspaces) AS w
"""
OLD = "SELECT count(*) FROM activity_logs WHERE created_at < now() - interval '60 days'"


def measure(bench: Bench) -> Iterator[Figure]:
    try:
        manage(bench.platform.environment, "help", "prune_activity")
    except subprocess.CalledProcessError:
        raise Unavailable("manage.py prune_activity does not exist yet") from None
    bench.database.execute(FILL, [ROWS])
    bench.database.execute("ANALYZE activity_logs")
    before, began = Cpu.now(bench.roots(bench.platform.web.pid)), time.perf_counter()
    manage(bench.platform.environment, "prune_activity", "--days", "60")
    seconds = time.perf_counter() - began
    spent = Cpu.now(bench.roots(bench.platform.web.pid)).since(before)
    if left := bench.one(OLD):
        raise RuntimeError(f"{left} of {ROWS} old rows are still there")
    yield bench.figure(f"prune {ROWS:,} rows", ROWS, seconds, spent)
