"""manage.py migrate: Django's command, run as the owner of the tables and with short waits for locks."""

import time
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError
from django.core.management.commands import migrate
from django.db import OperationalError, connections
from psycopg.errors import LockNotAvailable
from psycopg.pq import TransactionStatus

from activity import roles

# The pause between two tries, in which the requests that waited behind the first are served.
REST_SECONDS = 5.0
OLDEST = """
    SELECT pid, extract(epoch FROM now() - xact_start)::int, application_name FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND xact_start IS NOT NULL
    ORDER BY xact_start LIMIT 3
"""


class Command(migrate.Command):
    """`manage.py migrate`

    While an ALTER TABLE waits for a long transaction, such as a dump, all requests for that table wait behind it. So it
    waits only for MIGRATION_LOCK_SECONDS, and is tried again. CREATE INDEX CONCURRENTLY blocks no request, so it has no
    limit. At the end the serving role gets its rights.
    """

    def handle(self, *args: Any, **options: Any) -> None:
        with roles.as_owner():
            self._migrate(*args, **options)
            roles.grant()

    def _migrate(self, *args: Any, **options: Any) -> None:
        connection = connections[options["database"]]
        for left in reversed(range(settings.MIGRATION_TRIES)):
            try:
                with connection.execute_wrapper(_bound_lock):
                    super().handle(*args, **options)
                return
            except OperationalError as error:
                if not isinstance(error.__cause__, LockNotAvailable):
                    raise
                self._tell(connection, left)
        raise CommandError("The migration got no lock. What was applied stays; run it again after those transactions.")

    def _tell(self, connection: Any, left: int) -> None:
        with connection.cursor() as cursor:
            cursor.execute(OLDEST)
            open_now = [f"pid {pid} for {age} s ({name or 'unnamed'})" for pid, age, name in cursor.fetchall()]
        self.stderr.write(
            f"migrate: another transaction holds a lock that is needed; open now: {', '.join(open_now) or 'none'}. "
            f"Tries left: {left}."
        )
        time.sleep(REST_SECONDS if left else 0)


def _bound_lock(execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: dict[str, Any]) -> Any:
    """Set the limit around each statement; none for CONCURRENTLY, which blocks no request while it waits."""
    seconds = 0 if "CONCURRENTLY" in str(sql).upper() else settings.MIGRATION_LOCK_SECONDS
    opened = context["connection"].connection
    opened.execute("SELECT set_config('lock_timeout', %s, false)", [f"{seconds:g}s"])
    try:
        return execute(sql, params, many, context)
    finally:
        # A transaction that has failed ends with the limit that it began with.
        if opened.info.transaction_status != TransactionStatus.INERROR:
            opened.execute("RESET lock_timeout")
