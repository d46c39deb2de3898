"""Time limits for the connections of a process. There are none unless the process sets them when it starts."""

from django.db import connection


def limit_process(*, connect_seconds: float, lock_seconds: float, statement_seconds: float) -> None:
    """Limit how long this process waits for a connection, for a lock and for a statement, from now on.

    The limits are options of the session, so they outlast transactions and need no statement. PgBouncer ignores them:
    behind it, set them on the role (docs/configuration.md).
    """
    options = connection.settings_dict["OPTIONS"]
    options["pool"]["timeout"] = connect_seconds
    options["options"] += f" -c lock_timeout={lock_seconds:g}s -c statement_timeout={statement_seconds:g}s"
