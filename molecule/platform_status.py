"""The platform itself: its checks, background jobs, processes and engines, as the System page and the overview show it.

Every part is read by itself, so that what is known is shown while an engine is down. Nothing here has a credential.
"""

import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

import django
from django.conf import settings
from django.db import DatabaseError, connection
from psycopg_pool import PoolTimeout
from redis.exceptions import RedisError

from activity import redis
from activity.short_cache import ShortCache
from molecule import health
from registry.models import LoopTick
from registry.supervision import jobs
from registry.supervision.jobs import Description, State
from registry.supervision.retention import Progress

UNAVAILABLE_ERRORS = (DatabaseError, PoolTimeout, RedisError)
Value = TypeVar("Value")


@dataclass(frozen=True, kw_only=True)
class Problem:
    """A check that fails, or that warns. `detail` says what to do."""

    label: str
    detail: str
    is_failure: bool


@dataclass(frozen=True, kw_only=True)
class Job:
    """A background job. `milliseconds`: how long its last run took, where it is known."""

    name: str
    words: Description
    state: State | None = None
    """None: it has never run."""
    last_run: datetime | None = None
    milliseconds: int | None = None
    errors: int = 0
    last_error: str | None = None
    failed_at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Process:
    """A web process or a supervisor. `state`: "serving", "leading", "standby", or "silent" without a recent report.

    `sockets` and `behind`, how many events its streams are behind the log, are those of web processes.
    """

    name: str
    is_web: bool
    state: str
    since: datetime
    reported_at: datetime | None
    sockets: int | None
    behind: int | None


@dataclass(frozen=True, kw_only=True)
class PostgreSQL:
    version: str
    bytes: int
    connections: int
    most_connections: int
    replication_slots: int
    head: int
    """The position of the newest event."""


@dataclass(frozen=True, kw_only=True)
class Redis:
    version: str
    bytes: int
    connections: int


@dataclass(frozen=True, kw_only=True)
class PlatformStatus:
    """What is known. A part that could not be read is None or empty."""

    problems: Sequence[Problem]
    checks: Mapping[str, str]
    jobs: Sequence[Job] = ()
    processes: Sequence[Process] = ()
    postgresql: PostgreSQL | None = None
    redis: Redis | None = None
    retention: Progress = field(default_factory=Progress)

    @property
    def is_failing(self) -> bool:
        """Whether a check fails, and not only warns."""
        return any(problem.is_failure for problem in self.problems)

    def count(self, state: str) -> int:
        """How many processes are in that state."""
        return sum(process.state == state for process in self.processes)


def read() -> PlatformStatus:
    """The status now. Takes as long as the checks of /health/ready, with the limits of the caller's connection."""
    checks = health.checks()
    ticks = (_known(jobs.every) if checks["postgres"]["ok"] else None) or []
    of_retention = next((tick for tick in ticks if tick.name == jobs.RETENTION), None)
    return PlatformStatus(
        problems=list(_problems(checks)),
        checks={name: str(check["detail"]) for name, check in checks.items()},
        jobs=[_job(name, words, ticks) for name, words in jobs.descriptions().items()] if ticks else [],
        processes=sorted(map(_process, filter(jobs.is_process, ticks)), key=lambda one: (not one.is_web, one.since)),
        postgresql=_known(_postgresql) if checks["postgres"]["ok"] else None,
        redis=_known(_redis) if checks["redis"]["ok"] else None,
        retention=Progress.of(of_retention.detail if of_retention else {}),
    )


recent = ShortCache(read)


def versions() -> dict[str, str]:
    """What runs, by name."""
    return {
        "Molecule": str(settings.SPECTACULAR_SETTINGS["VERSION"]),
        "Django": django.get_version(),
        "Python": platform.python_version(),
    }


def _known(read_part: Callable[[], Value]) -> Value | None:
    try:
        return read_part()
    except UNAVAILABLE_ERRORS:
        return None


def _problems(checks: Mapping[str, Mapping[str, Any]]) -> Iterator[Problem]:
    for name, check in checks.items():
        if not check["ok"] or check.get("warning"):
            label = health.LABELS.get(name, name.replace("-", " ").capitalize())
            yield Problem(label=label, detail=str(check["detail"]), is_failure=not check["ok"])


def _job(name: str, words: Description, ticks: Sequence[LoopTick]) -> Job:
    tick = next((one for one in ticks if one.name == name), None)
    if tick is None:
        return Job(name=name, words=words)
    return Job(
        name=name,
        words=words,
        state=jobs.state(tick),
        last_run=tick.ticked_at,
        milliseconds=_milliseconds(tick),
        errors=tick.errors,
        last_error=tick.last_error,
        failed_at=tick.failed_at,
    )


def _milliseconds(tick: LoopTick) -> int | None:
    """Retention runs for many steps; of the other jobs each step is a run."""
    if tick.name == jobs.RETENTION:
        return Progress.of(tick.detail).milliseconds
    took: int | None = tick.detail.get("took_ms")
    return took


def _process(tick: LoopTick) -> Process:
    is_web = tick.name.startswith(jobs.WEB_PROCESS)
    state = "serving" if is_web else str(tick.detail.get("state"))
    return Process(
        name=tick.name.partition("@")[2],
        is_web=is_web,
        state=state if jobs.is_fresh(tick) else "silent",
        since=tick.since,
        reported_at=tick.ticked_at,
        sockets=tick.detail.get("sockets"),
        behind=tick.detail.get("behind"),
    )


def _postgresql() -> PostgreSQL:
    with connection.cursor() as cursor:
        cursor.execute(POSTGRESQL)
        columns = [column.name for column in cursor.description or ()]
        return PostgreSQL(**dict(zip(columns, cursor.fetchone(), strict=True)))


def _redis() -> Redis:
    found: Any = redis.client().info()
    return Redis(version=found["redis_version"], bytes=found["used_memory"], connections=found["connected_clients"])


# Of the whole server, also what other databases of it use.
POSTGRESQL = """
SELECT current_setting('server_version') AS version, pg_database_size(current_database()) AS bytes,
  (SELECT sum(numbackends)::int FROM pg_stat_database) AS connections,
  current_setting('max_connections')::int AS most_connections,
  (SELECT count(*) FROM pg_replication_slots) AS replication_slots,
  (SELECT coalesce(max(seq), 0) FROM structure_events) AS head
"""
