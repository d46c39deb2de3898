"""Statements for whole batches, with arrays as binary parameters, and limits for how long they take."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple
from uuid import UUID

import psycopg
from django.conf import settings
from django.db import OperationalError, connection, transaction
from psycopg.errors import LockNotAvailable


class Outcome(NamedTuple):
    """The result of a batch, by the index of each item. Items in neither field were refused.

    `accepted` has the id of each item's token, if it had one. `busy` items are valid, but changed nothing, because
    another transaction holds the rows that they would change.
    """

    accepted: dict[int, UUID | None]
    busy: set[int]


@contextmanager
def snapshot() -> Iterator[None]:
    """A transaction whose statements all see the database as it is at the first of them. Inside of another one they
    see what that one sees."""
    is_outermost = not connection.in_atomic_block
    with transaction.atomic():
        if is_outermost:
            with connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        yield


def limit_waits() -> None:
    """Limit the statements of this transaction to BATCH_LOCK_SECONDS of waiting for a lock; OperationalError then."""
    with connection.cursor() as cursor:
        cursor.execute(f"SET LOCAL lock_timeout = {int(settings.BATCH_LOCK_SECONDS * 1000)}")


def is_lock_timeout(error: OperationalError) -> bool:
    """Whether a statement failed because another transaction held a lock for too long."""
    return isinstance(error.__cause__, LockNotAvailable)


def execute(query: str, parameters: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    """Run a query with `%(name)b` parameters on Django's connection, in its transaction. Returns the rows.

    It is not prepared: with a generic plan a batch of a thousand heartbeats takes an eighth longer.
    """
    connection.ensure_connection()
    with connection.wrap_database_errors, psycopg.Cursor(connection.connection) as cursor:
        cursor.execute(query.encode(), parameters, binary=True)
        return cursor.fetchall()


def rfc3339(column: str) -> str:
    """The SQL of a time as text, as the API has it: for ten thousand rows, creating and formatting datetimes would cost
    more than everything else."""
    return f"""replace(to_char({column} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), '.000000', '')"""
