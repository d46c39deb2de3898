"""Is it serving, and is all that it needs there?"""

from collections.abc import Callable
from decimal import Decimal
from functools import cache
from typing import Any

from django.db import DatabaseError, connection
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder
from psycopg_pool import PoolTimeout
from redis.exceptions import RedisError
from rest_framework.request import Request
from rest_framework.response import Response

from activity import redis
from activity.endpoints import Endpoint, documented
from activity.principals import Level
from registry.liveness import presence
from registry.models import LoopTick
from registry.supervision import jobs

# A slot keeps WAL until its consumer has it: a forgotten one fills the disk, whichever database it is of.
RETAINED_WAL_BYTES = 1024**3
PUBLICATION = "molecule_changes"
PUBLISHED = "structure_events, workspaces"


class Unwell(Exception):
    """What is wrong, in words for operators."""


class Worrying(Exception):
    """What wants attention although Molecule serves without it: a warning, still ready."""


class Health(Endpoint):
    """Asks nothing of anybody: it answers while the process serves."""

    authentication_classes = []

    @documented("The process serves", answers={200: dict})
    def get(self, request: Request) -> Response:
        return Response({"status": "ok"})


class Ready(Endpoint):
    """Details are for operators; strangers learn only what is not well."""

    @documented("Everything it needs is there", answers={200: dict, 503: dict})
    def get(self, request: Request) -> Response:
        checks = _checks()
        well = all(check["ok"] for check in checks.values())
        answer: dict[str, object] = {"status": "ok" if well else "unavailable"}
        if self.principal.level < Level.VIEW:
            answer["checks"] = {name: {"ok": check["ok"]} for name, check in checks.items()}
        else:
            answer |= {"checks": checks, "loops": _loops() if checks["postgres"]["ok"] else []}
        return Response(answer, status=200 if well else 503)


def _checks() -> dict[str, dict[str, object]]:
    """While PostgreSQL does not answer, one attempt to connect is enough: nothing else waits for it."""
    results: dict[str, dict[str, object]] = {}
    for name, check in CHECKS.items():
        is_down = name in NEED_POSTGRES and not results["postgres"]["ok"]
        results[name] = {"ok": False, "detail": "PostgreSQL does not answer"} if is_down else _outcome(check)
    return results


def _outcome(check: Callable[[], str]) -> dict[str, object]:
    try:
        return {"ok": True, "detail": check()}
    except Worrying as reason:
        return {"ok": True, "warning": True, "detail": str(reason)}
    except Unwell as reason:
        return {"ok": False, "detail": str(reason)}
    except (DatabaseError, PoolTimeout, RedisError) as error:
        return {"ok": False, "detail": f"{type(error).__name__}: cannot reach it"}


def _rows(query: str, *parameters: str) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(query, parameters)
        return list(cursor.fetchall())


def _postgres() -> str:
    return f"PostgreSQL {_rows('SHOW server_version')[0][0]}"


def _migrations() -> str:
    missing = sorted(_known_migrations() - set(MigrationRecorder(connection).applied_migrations()))
    if missing:
        raise Unwell(f"not applied: {', '.join('.'.join(name) for name in missing)}; run manage.py migrate")
    return "all applied"


@cache
def _known_migrations() -> frozenset[tuple[str, str]]:
    return frozenset(MigrationLoader(None).disk_migrations)


def _redis() -> str:
    redis.client().ping()
    return "answers"


def _expiry_hints() -> str:
    if not presence.expiries_are_announced():
        raise Unwell("notify-keyspace-events lacks KEA: set it; until then only leases in PostgreSQL tell who is gone")
    return "keyspace notifications on"


def _loops() -> list[dict[str, object]]:
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
        raise Unwell("never ran: start manage.py supervise")
    if not jobs.is_fresh(tick):
        raise Unwell(f"{_age(tick)}: start manage.py supervise")
    return _age(tick)


def _background_loops() -> str:
    """All that have a row; the watch over leases, without which deaths go unseen, is `_supervisor`."""
    ticks = jobs.every()
    if worries := [worry for tick in ticks if (worry := _worry_about_loop(tick))]:
        raise Worrying("; ".join(worries))
    return ", ".join(f"{tick.name}: {_age(tick)}" for tick in ticks) or "none has run yet"


def _worry_about_loop(tick: LoopTick) -> str | None:
    if jobs.is_troubled(tick):
        return f"{tick.name}: errors: {tick.errors}, the last: {tick.last_error}"
    return None if jobs.is_fresh(tick) else f"{tick.name}: {_age(tick)}"


def _age(tick: LoopTick) -> str:
    seconds = jobs.age(tick)
    return "never ran" if seconds is None else f"last tick {seconds:.0f} s ago"


def _change_stream() -> str:
    [(level,)] = _rows("SHOW wal_level")
    if level != "logical":
        raise Worrying(f"wal_level is {level}, nobody can follow changes: set wal_level=logical, restart PostgreSQL")
    tables = _rows("SELECT tablename FROM pg_publication_tables WHERE pubname = %s ORDER BY 1", PUBLICATION)
    published = ", ".join(name for (name,) in tables)
    if published != PUBLISHED:
        raise Worrying(f"{PUBLICATION} publishes {published or 'nothing'}: make it FOR TABLE {PUBLISHED}")
    return f"{PUBLICATION} publishes {published}"


def _replication_slots() -> str:
    slots = _rows("SELECT slot_name, active, wal_status, pg_current_wal_lsn() - restart_lsn FROM pg_replication_slots")
    if worries := [worry for slot in sorted(slots) if (worry := _worry_about(*slot))]:
        raise Worrying("; ".join(worries))
    return f"slots: {len(slots)}, none holds WAL back"


def _worry_about(slot: str, active: bool, status: str | None, retained: Decimal | None) -> str | None:
    drop = f"SELECT pg_drop_replication_slot('{slot}')"
    if status == "lost":
        return f"{slot} has lost WAL that its consumer needs: {drop}, then let the consumer copy everything anew"
    if status not in ("extended", "unreserved") and (retained or 0) <= RETAINED_WAL_BYTES:
        return None
    state = f"{'active' if active else 'inactive'}, holds back {(retained or 0) / 1024**2:,.0f} MiB of WAL"
    return f"{slot}: {state}: let its consumer catch up, or {drop}"


CHECKS: dict[str, Callable[[], str]] = {
    "postgres": _postgres,
    "migrations": _migrations,
    "redis": _redis,
    "expiry-hints": _expiry_hints,
    "supervisor": _supervisor,
    "loops": _background_loops,
    "change-stream": _change_stream,
    "replication-slots": _replication_slots,
}
NEED_POSTGRES = ("migrations", "supervisor", "loops", "change-stream", "replication-slots")
