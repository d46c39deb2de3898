"""How long the statements of a process may take: no bound, unless the process sets one when it starts."""

from django.db import connection


def bound_process(*, connect_seconds: float, lock_seconds: float, statement_seconds: float) -> None:
    """Bound every connection that this process opens from now on: waiting for it, for locks and for statements.

    Options of the session, so they survive every transaction and cost no statement. Behind PgBouncer, which ignores
    them, they belong to the role: see docs/configuration.md.
    """
    options = connection.settings_dict["OPTIONS"]
    options["pool"]["timeout"] = connect_seconds
    options["options"] += f" -c lock_timeout={lock_seconds:g}s -c statement_timeout={statement_seconds:g}s"
