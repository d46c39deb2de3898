"""Writes docs/benchmarks.md: the table, the machine it was measured on, and the meaning of its columns."""

import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version

from tests.bench import machine
from tests.bench.bench import Bench
from tests.bench.table import Figure, markdown
from tests.e2e.stack import ROOT

PACKAGES = ("Django", "uvicorn", "psycopg", "redis", "orjson")
TEXT = """# Benchmarks

How fast Molecule is on one machine, compared with a naive implementation and with PostgreSQL and Redis alone.
`make bench` measures again and writes this page: it starts PostgreSQL, Redis, a web process and a supervisor, creates
{workspaces:,} workspaces and measures each figure for {seconds:g} seconds. `make bench BENCH=heartbeats` prints one
part and writes nothing.

| | |
|---|---|
{machine}

{table}

{missed}

`manage.py rebuild --check` after the run: {replayed}.

**How to read the table.** All processes, the clients included, share the cores of one machine.

- *CPU of all* is the CPU time of web, supervisor, PostgreSQL and Redis together per counted unit; *of it* is the share
  of one core that each of them used. *client* is the share of one core that the client used: below 100% the client is
  not the bottleneck. *others* is what unrelated processes used.
- *naive* is the figure as a multiple of what a simple DRF view (`tests/bench/naive.py`) reached in the same run.
- *PostgreSQL* and *Redis* are the figure as a multiple of what that server reaches alone (`tests/bench/limits.py`): for
  single heartbeats one prepared `UPDATE` of one row by `pgbench`, for batches an `UPDATE` of many rows at a time, for
  activity and discovery one `INSERT` or `SELECT` by `pgbench`; for Redis `SET` in pipelines.
- *admin* are pages of the admin in an organisation of {workspaces:,} workspaces with 1,000,000 rows of activity and
  120,000 events, requested one after the other: the figure is the 95th percentile of the time until the answer,
  *p50 / p99* are those of the same requests. *kB, cold* is what a browser without a cache loads, compressed by gzip:
  the page, its style sheets, scripts and pictures.
- After each run of heartbeats or activity the tables are checked for everything that was acknowledged.

Settings are those of production (`DEBUG=false`), web as `make run` starts it, PostgreSQL with `fsync` and
`synchronous_commit` on. Rate limits are lifted, and leases last ten minutes, so that no workspace goes offline during
the run.
"""


def text(bench: Bench, figures: Sequence[Figure], profiles: Mapping[str, Sequence[str]], replayed: str) -> str:
    facts = {
        "when": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "commit": _commit(),
        **machine.description(),
        "PostgreSQL": bench.one("SHOW server_version"),
        "Redis": str(bench.redis.info("server")["redis_version"]),
        **{name: version(name) for name in PACKAGES},
    }
    return TEXT.format(
        workspaces=len(bench.agents),
        seconds=bench.seconds,
        machine="\n".join(f"| {name} | {value} |" for name, value in facts.items()),
        table=markdown(figures),
        missed=_missed(figures, profiles),
        replayed=replayed,
    )


def _missed(figures: Sequence[Figure], profiles: Mapping[str, Sequence[str]]) -> str:
    missed = [each for figure in figures for each in figure.missed]
    if not missed:
        return "All targets are met."
    lines = ["**Targets missed:**", "", *(f"- {each}" for each in missed)]
    for what, profile in profiles.items():
        lines += ["", f"CPU time of web by function, {what}:", "", *profile]
    return "\n".join(lines)


def _commit() -> str:
    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True).stdout.strip()

    return git("rev-parse", "--short", "HEAD") + (" and uncommitted changes" if git("status", "--porcelain") else "")
