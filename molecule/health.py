"""Is it serving, and is all that it needs there?"""

from collections.abc import Callable
from functools import cache

from django.db import DatabaseError, connection
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder
from django.utils import timezone
from psycopg_pool import PoolTimeout
from redis.exceptions import RedisError
from rest_framework.request import Request
from rest_framework.response import Response

from activity import redis
from activity.endpoints import Endpoint, documented
from activity.principals import Level
from registry import loops, presence

# WAL that a replication slot may hold back before operators are warned: PostgreSQL's default max_wal_size.
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
        checks = report()
        well = all(check["ok"] for check in checks.values())
        if self.principal.level < Level.VIEW:
            checks = {name: {"ok": check["ok"]} for name, check in checks.items()}
        return Response({"status": "ok" if well else "unavailable", "checks": checks}, status=200 if well else 503)


def report() -> dict[str, dict[str, object]]:
    """Every check by name: `ok`, `detail`, and `warning` where it is true."""
    return {name: _outcome(check) for name, check in CHECKS.items()}


def _outcome(check: Callable[[], str]) -> dict[str, object]:
    try:
        return {"ok": True, "detail": check()}
    except Worrying as reason:
        return {"ok": True, "warning": True, "detail": str(reason)}
    except Unwell as reason:
        return {"ok": False, "detail": str(reason)}
    except (DatabaseError, PoolTimeout, RedisError) as error:
        return {"ok": False, "detail": f"{type(error).__name__}: cannot reach it"}


def _postgres() -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('server_version')")
        return f"PostgreSQL {cursor.fetchone()[0]}"


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


def _supervisor() -> str:
    tick = loops.last(loops.SUPERVISOR)
    if tick is None:
        raise Unwell("never ran: start manage.py supervise")
    age = (timezone.now() - tick.ticked_at).total_seconds()
    if not loops.is_fresh(tick, timezone.now()):
        raise Unwell(f"last tick {age:.0f} s ago: start manage.py supervise")
    return f"last tick {age:.0f} s ago"


def _change_stream() -> str:
    """Can others follow the publication? See docs/change-stream.md."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT current_setting('wal_level'), string_agg(tablename, ', ' ORDER BY tablename) "
            "FROM pg_publication_tables WHERE pubname = %s",
            [PUBLICATION],
        )
        level, published = cursor.fetchone()
    if level != "logical":
        raise Worrying(f"wal_level is {level}, nobody can follow changes: set wal_level=logical, restart PostgreSQL")
    if published is None:
        raise Worrying(f"nothing to follow: CREATE PUBLICATION {PUBLICATION} FOR TABLE {PUBLISHED}")
    if published != PUBLISHED:
        raise Worrying(f"it publishes {published}: ALTER PUBLICATION {PUBLICATION} SET TABLE {PUBLISHED}")
    return f"{PUBLICATION} publishes {PUBLISHED}"


def _replication_slots() -> str:
    """A slot keeps WAL until its consumer has it: one that is forgotten fills the disk, in any database."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT slot_name, active, wal_status, "
            "coalesce(pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn), 0)::bigint "
            "FROM pg_replication_slots ORDER BY slot_name"
        )
        slots = cursor.fetchall()
    if worries := [worry for slot in slots if (worry := _worry_about(*slot))]:
        raise Worrying("; ".join(worries))
    return f"{len(slots)} slots, none holds WAL back"


def _worry_about(name: str, active: bool, status: str | None, retained: int) -> str:
    drop = f"SELECT pg_drop_replication_slot('{name}')"
    if status == "lost":
        return f"{name} has lost WAL that its consumer needs: {drop}, and let the consumer copy everything anew"
    if status in ("extended", "unreserved") or retained > RETAINED_WAL_BYTES:
        state = "active" if active else "inactive"
        return f"{name} ({state}) holds back {retained / 1024**2:,.0f} MiB of WAL: let its consumer catch up, or {drop}"
    return ""


CHECKS: dict[str, Callable[[], str]] = {
    "postgres": _postgres,
    "migrations": _migrations,
    "redis": _redis,
    "expiry-hints": _expiry_hints,
    "supervisor": _supervisor,
    "change-stream": _change_stream,
    "replication-slots": _replication_slots,
}
