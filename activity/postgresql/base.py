"""Django's PostgreSQL engine; while PostgreSQL is away, most requests for a connection fail at once instead of
waiting."""

import threading
import time
from typing import Any

import psycopg
from django.db.backends.postgresql import base

# After a failed attempt one thread may wait for a connection again, once in so long; all others fail meanwhile.
RETRY_SECONDS = 1.0


class Outage:
    """Whether this process's last attempt to get a connection failed."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.is_on = False
        self.retry_at = 0.0

    def begins(self) -> None:
        with self.lock:
            self.is_on, self.retry_at = True, time.monotonic() + RETRY_SECONDS

    def ends(self) -> None:
        self.is_on = False

    def is_worth_an_attempt(self) -> bool:
        """True without an outage, and for one caller per RETRY_SECONDS of it."""
        with self.lock:
            now = time.monotonic()
            if self.is_on and now < self.retry_at:
                return False
            self.retry_at = now + RETRY_SECONDS
            return True


OUTAGE = Outage()


class DatabaseWrapper(base.DatabaseWrapper):
    """Raises OperationalError where no connection was to be had, at once during an outage."""

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        pool = self.pool
        if pool is None:
            return super().get_new_connection(conn_params)
        if not pool.get_stats()["pool_available"] and not OUTAGE.is_worth_an_attempt():
            raise psycopg.OperationalError("PostgreSQL did not answer a moment ago")
        try:
            opened = super().get_new_connection(conn_params)
        except psycopg.Error:
            OUTAGE.begins()
            raise
        OUTAGE.ends()
        return opened
