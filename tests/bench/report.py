"""docs/benchmarks.md: the table, the machine it was measured on, and what the words in it mean."""

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

Written by `make bench`, which starts its own engines, web process and supervisor, seeds {workspaces:,} workspaces and
measures each figure for {seconds:g} seconds. `make bench BENCH=heartbeats` prints one part and writes nothing.

| | |
|---|---|
{machine}

{table}

{missed}

After all of it `manage.py rebuild --check` says: {replayed}.

**How to read it.** Everything, the clients too, shares the cores of one machine.

- *CPU of all* is the CPU time of web, supervisor, PostgreSQL and Redis together for one of what is counted, *of it* how
  much of one core each of them used. *client* is how much of one core the client used: below 100 % it is not what
  limits. *others* is what the machine did besides.
- *naive* is the figure as a multiple of what the straightforward DRF view (`tests/bench/naive.py`) reached in the same
  minutes on the same engines.
- *PostgreSQL* and *Redis* are the figure as a multiple of what the engine alone takes (`tests/bench/limits.py`): for
  single beats one prepared `UPDATE` of one row by `pgbench`, for batches an `UPDATE` of many rows at a time, for
  activity and discoveries one `INSERT` or `SELECT` by `pgbench`; `SET` in pipelines.
- After each run of beats or activity the tables are asked whether they have what was answered.

Settings are those of production (`DEBUG=false`), web as `make run` starts it, PostgreSQL with `fsync` and
`synchronous_commit` on. Limits on requests per credential are lifted, and leases are ten minutes, so that nobody goes
offline meanwhile.
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
        return "Every target is reached."
    lines = ["**Out of reach:**", "", *(f"- {each}" for each in missed)]
    for what, profile in profiles.items():
        lines += ["", f"Where web's CPU time goes, {what}:", "", *profile]
    return "\n".join(lines)


def _commit() -> str:
    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True).stdout.strip()

    return git("rev-parse", "--short", "HEAD") + (" and uncommitted changes" if git("status", "--porcelain") else "")
