"""Liveness and readiness: does the process serve, and does everything that it needs?"""

from collections.abc import Callable
from copy import deepcopy
from decimal import Decimal
from functools import cache
from typing import Any

from django.db import DEFAULT_DB_ALIAS, DatabaseError, connection, connections
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder
from psycopg_pool import PoolTimeout
from redis.exceptions import RedisError
from rest_framework.request import Request
from rest_framework.response import Response

from activity import clock, redis, roles
from activity.endpoints import Endpoint, documented
from activity.postgresql.base import DatabaseWrapper
from activity.principals import Level
from molecule.checks import POSTGRESQL_MINIMUM, postgresql_major
from registry.liveness import presence
from registry.models import LoopTick
from registry.supervision import jobs

# A slot keeps WAL until its consumer has it. A forgotten one fills the disk, whichever database it belongs to.
RETAINED_WAL_BYTES = 1024**3
PUBLICATION = "molecule_changes"
PUBLISHED = "structure_events, workspaces"
# For the connection of /health/ready. libpq waits for at least two seconds.
CONNECT_SECONDS = 2
QUERY_SECONDS = 1.0
# By which the clocks of this process and of PostgreSQL may differ.
CLOCK_SECONDS = 5.0


class CheckFailed(Exception):
    """Not ready; the message tells operators why."""


class CheckWarning(Exception):
    """Ready; the message tells operators what needs attention."""


class Health(Endpoint):
    """200 while the process serves. Needs neither PostgreSQL nor Redis nor a credential."""

    authentication_classes = []

    @documented("The process serves", answers={200: dict})
    def get(self, request: Request) -> Response:
        return Response({"status": "ok"})


class Ready(Endpoint):
    """200, or 503 when a check fails. Only operators see details; everybody else sees which checks fail.

    "degraded" is 200: an outage of Redis or of the supervisor concerns all web processes, which still serve, and 503
    would take all of them out of the load balancer.
    """

    @documented("Everything it needs is there", answers={200: dict, 503: dict})
    def get(self, request: Request) -> Response:
        found = checks()
        failed = [name for name, check in found.items() if not check["ok"]]
        is_ready = set(failed) <= set(SERVES_WITHOUT)
        answer: dict[str, object] = {"status": "ok" if not failed else "degraded" if is_ready else "unavailable"}
        if failed:
            answer["reason"] = f"failing: {', '.join(failed)}"
        if self.principal.level < Level.VIEW:
            answer["checks"] = {name: {"ok": check["ok"]} for name, check in found.items()}
        else:
            answer |= {"checks": found, "loops": _jobs() if found["postgres"]["ok"] else []}
        return Response(answer, status=200 if is_ready else 503)


def use_own_connection() -> None:
    """Give this thread a connection outside the pool, which stays open and has short limits.

    With it /health/ready is answered while the pool or all of PostgreSQL's connection slots are taken.
    """
    options = deepcopy(connections.settings[DEFAULT_DB_ALIAS])
    del options["OPTIONS"]["pool"]
    options["OPTIONS"]["connect_timeout"] = CONNECT_SECONDS
    options["OPTIONS"]["options"] += f" -c lock_timeout={QUERY_SECONDS:g}s -c statement_timeout={QUERY_SECONDS:g}s"
    options["CONN_MAX_AGE"] = None
    connections[DEFAULT_DB_ALIAS] = DatabaseWrapper(options)


def checks() -> dict[str, dict[str, object]]:
    """By name. When PostgreSQL does not answer, the checks that need it fail at once: each would wait five seconds."""
    results: dict[str, dict[str, object]] = {}
    for name in CHECKS:
        cannot_run = name in NEED_POSTGRES and not results["postgres"]["ok"]
        results[name] = {"ok": False, "detail": "PostgreSQL does not answer"} if cannot_run else result(name)
    return results


def result(name: str) -> dict[str, object]:
    """The result of one check."""
    try:
        return {"ok": True, "detail": CHECKS[name]()}
    except CheckWarning as reason:
        return {"ok": True, "warning": True, "detail": str(reason)}
    except CheckFailed as reason:
        return {"ok": False, "detail": str(reason)}
    except (DatabaseError, PoolTimeout, RedisError) as error:
        return {"ok": False, "detail": f"{type(error).__name__}: cannot reach it"}


def _rows(query: str, *parameters: str) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(query, parameters)
        return list(cursor.fetchall())


def _postgres() -> str:
    major = postgresql_major(connection)
    if major < POSTGRESQL_MINIMUM:
        raise CheckFailed(f"PostgreSQL {major}: Molecule needs {POSTGRESQL_MINIMUM} or newer")
    [(version,)] = _rows("SHOW server_version")
    return f"PostgreSQL {version}"


def _clocks() -> str:
    [(database_time,)] = _rows("SELECT clock_timestamp()")
    clock.set_database_time(database_time)
    ahead = clock.seconds_ahead()
    if abs(ahead) > CLOCK_SECONDS:
        side = "behind" if ahead > 0 else "ahead of"
        raise CheckWarning(f"this process's clock is {abs(ahead):.0f} s {side} PostgreSQL's: synchronise both with NTP")
    return "those of this process and PostgreSQL agree"


def _migrations() -> str:
    missing = sorted(_known_migrations() - set(MigrationRecorder(connection).applied_migrations()))
    if missing:
        raise CheckFailed(f"not applied: {', '.join('.'.join(name) for name in missing)}; run manage.py migrate")
    return "all applied"


@cache
def _known_migrations() -> frozenset[tuple[str, str]]:
    return frozenset(MigrationLoader(None).disk_migrations)


def _redis() -> str:
    redis.client().ping()
    return "answers"


def _expiry_hints() -> str:
    if not presence.expiries_are_announced():
        raise CheckFailed("notify-keyspace-events lacks KEA: set it. Until then only leases show who is offline")
    return "keyspace notifications on"


def _jobs() -> list[dict[str, object]]:
    return [
        {
            "name": tick.name,
            "fresh": jobs.is_fresh(tick),
            "since": tick.since,
            "ticked_at": tick.ticked_at,
            "errors": tick.errors,
            "last_error": tick.last_error,
            "failed_at": tick.failed_at,
            "detail": tick.detail,
        }
        for tick in jobs.every()
    ]


def _supervisor() -> str:
    tick = jobs.last(jobs.SUPERVISOR)
    if tick is None or tick.ticked_at is None:
        raise CheckFailed("never ran: start manage.py supervise")
    if not jobs.is_fresh(tick):
        raise CheckFailed(f"{_age(tick)}: start manage.py supervise")
    return _age(tick)


def _background_jobs() -> str:
    """Every job that has a row. `_supervisor` checks the one that Molecule is not ready without."""
    ticks = jobs.every()
    if warnings := [warning for tick in ticks if (warning := _job_warning(tick))]:
        raise CheckWarning("; ".join(warnings))
    return ", ".join(f"{tick.name}: {_age(tick)}" for tick in ticks) or "none has run yet"


def _job_warning(tick: LoopTick) -> str | None:
    if jobs.is_failing(tick):
        return f"{tick.name}: errors: {tick.errors}, the last: {tick.last_error}"
    return None if jobs.is_fresh(tick) else f"{tick.name}: {_age(tick)}"


def _age(tick: LoopTick) -> str:
    seconds = jobs.age(tick)
    return "never ran" if seconds is None else f"last run {seconds:.0f} s ago"


def _change_stream() -> str:
    [(level,)] = _rows("SHOW wal_level")
    if level != "logical":
        raise CheckWarning(f"wal_level is {level}, the change stream is off: set wal_level=logical, restart PostgreSQL")
    tables = _rows("SELECT tablename FROM pg_publication_tables WHERE pubname = %s ORDER BY 1", PUBLICATION)
    published = ", ".join(name for (name,) in tables)
    if published != PUBLISHED:
        raise CheckWarning(f"{PUBLICATION} publishes {published or 'nothing'}: make it FOR TABLE {PUBLISHED}")
    return f"{PUBLICATION} publishes {published}"


def _database_role() -> str:
    if excess_rights := roles.excess_rights():
        raise CheckWarning(f"{roles.serving_role()} {', '.join(excess_rights)}: see Two roles in docs/configuration.md")
    return f"{roles.serving_role()} may append to the log, not change it"


def _replication_slots() -> str:
    slots = _rows("SELECT slot_name, active, wal_status, pg_current_wal_lsn() - restart_lsn FROM pg_replication_slots")
    if warnings := [warning for slot in sorted(slots) if (warning := _slot_warning(*slot))]:
        raise CheckWarning("; ".join(warnings))
    return f"{len(slots)}, none holds WAL back"


def _slot_warning(slot: str, active: bool, status: str | None, retained: Decimal | None) -> str | None:
    drop = f"SELECT pg_drop_replication_slot('{slot}')"
    if status == "lost":
        return f"{slot} has lost WAL that its consumer needs: {drop}, then copy everything to the consumer again"
    if status not in ("extended", "unreserved") and (retained or 0) <= RETAINED_WAL_BYTES:
        return None
    state = f"{'active' if active else 'inactive'}, holds back {(retained or 0) / 1024**2:,.0f} MiB of WAL"
    return f"{slot}: {state}: let its consumer catch up, or {drop}"


CHECKS: dict[str, Callable[[], str]] = {
    "postgres": _postgres,
    "migrations": _migrations,
    "clocks": _clocks,
    "redis": _redis,
    "expiry-hints": _expiry_hints,
    "supervisor": _supervisor,
    "loops": _background_jobs,
    "change-stream": _change_stream,
    "replication-slots": _replication_slots,
    "database-role": _database_role,
}
LABELS = {
    "postgres": "PostgreSQL",
    "loops": "Background jobs",
}
"""Names of checks for people; those of others are their words."""
# Without Redis, leases in PostgreSQL decide and streams read the log; without a supervisor no lease ends.
SERVES_WITHOUT = ("redis", "expiry-hints", "supervisor")
NEED_POSTGRES = ("migrations", "clocks", "supervisor", "loops", "change-stream", "replication-slots", "database-role")
