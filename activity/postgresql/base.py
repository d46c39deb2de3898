"""Django's PostgreSQL engine. While PostgreSQL is unavailable, most requests for a connection fail at once."""

import threading
import time
from typing import Any

import psycopg
from django.db.backends.postgresql import base

from activity import clock

# After a failed attempt one thread tries again after this time; all others fail meanwhile without trying.
RETRY_SECONDS = 1.0


class Outage:
    """Whether this process's last attempt to get a connection failed."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.is_on = False
        self.retry_at = 0.0

    def begin(self) -> None:
        with self.lock:
            self.is_on, self.retry_at = True, time.monotonic() + RETRY_SECONDS

    def end(self) -> None:
        self.is_on = False

    def may_try(self) -> bool:
        """True without an outage; during one, for one caller in RETRY_SECONDS."""
        with self.lock:
            now = time.monotonic()
            if self.is_on and now < self.retry_at:
                return False
            self.retry_at = now + RETRY_SECONDS
            return True


OUTAGE = Outage()


class DatabaseWrapper(base.DatabaseWrapper):
    """Raises OperationalError if it gets no connection; at once during an outage."""

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        pool = self.pool
        if pool is None:
            return super().get_new_connection(conn_params)
        if not pool.get_stats()["pool_available"] and not OUTAGE.may_try():
            raise psycopg.OperationalError("PostgreSQL did not answer a moment ago")
        try:
            opened = super().get_new_connection(conn_params)
        except psycopg.Error:
            OUTAGE.begin()
            raise
        OUTAGE.end()
        return opened

    def init_connection_state(self) -> None:
        """The first connection of a process reads the database's clock, before anything is judged by it."""
        super().init_connection_state()
        if not clock.is_set():
            [time_there] = self.connection.execute("SELECT clock_timestamp()").fetchone()
            clock.set_database_time(time_there)
