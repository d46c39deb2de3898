"""Leader election: the leader holds one advisory lock, on a connection of its own."""

import logging
import threading
from typing import Any

import psycopg
from django.db import connection

log = logging.getLogger(__name__)

# Session-level lock of the leading supervisor. The other lock keys: activity.events, registry.structure.hierarchy.
LEADER_LOCK = 0x4D4F4C03
TRY_SECONDS = 1.0
# PostgreSQL ends a session that is idle for so long: a leader that hangs, or whose host is gone, loses the lock.
SILENCE_SECONDS = 3
SESSION = f"-c idle_session_timeout={SILENCE_SECONDS}s -c application_name=molecule-supervisor"
# Shorter than in settings.DATABASES: once its session has ended, a process must not believe that it still leads.
NETWORK = {"connect_timeout": SILENCE_SECONDS, "tcp_user_timeout": SILENCE_SECONDS * 1000, "keepalives_idle": 1}


class Leadership:
    """One thread calls `seek()` every TRY_SECONDS; every thread calls `holds()` before work reserved to the leader."""

    def __init__(self) -> None:
        self._connection: psycopg.Connection[Any] | None = None
        self._backend: int | None = None
        self._mutex = threading.Lock()

    def seek(self) -> bool:
        """Keep the lock or try to take it; return whether we hold it. Raises psycopg.Error if PostgreSQL is away."""
        with self._mutex:
            return self._is_ours() or self._take()

    def holds(self) -> bool:
        """Whether we hold the lock, checked in PostgreSQL: a lost connection has released it."""
        with self._mutex:
            return self._is_ours()

    def resign(self) -> None:
        """Release the lock."""
        with self._mutex:
            self._drop()

    def _take(self) -> bool:
        if self._connection is None:
            self._connection = _connect()
        try:
            taken = self._ask("SELECT pg_backend_pid() WHERE pg_try_advisory_lock(%s)", LEADER_LOCK)
        except psycopg.Error:
            self._drop()
            raise
        self._backend = taken
        return taken is not None

    def _is_ours(self) -> bool:
        """Whether the session is the one that took the lock; behind a pooler it may be another."""
        if self._backend is None:
            return False
        try:
            ours = self._ask("SELECT 1 WHERE pg_backend_pid() = %s", self._backend) is not None
        except psycopg.Error as error:
            log.warning("no longer leading: %s", type(error).__name__)
            ours = False
        if not ours:
            self._drop()
        return ours

    def _ask(self, query: str, value: int) -> int | None:
        if self._connection is None:
            return None
        row = self._connection.execute(query, [value]).fetchone()
        return None if row is None else int(row[0])

    def _drop(self) -> None:
        """Closing the connection releases the lock."""
        self._backend = None
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _connect() -> psycopg.Connection[Any]:
    params: dict[str, Any] = connection.get_connection_params()
    params |= NETWORK | {"options": f"{params.get('options', '')} {SESSION}", "autocommit": True}
    return psycopg.connect(**params)
