"""Concurrency for tests: threads that start together, and a thread that uses a second connection for a while."""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

from django.db import connection, connections
from django.db.backends.base.base import BaseDatabaseWrapper

PATIENCE_SECONDS = 120
STRESS = os.environ.get("MOLECULE_STRESS") == "1"


def together(*operations: Callable[[], object]) -> None:
    """Run the operations at the same time, each in a thread. Raises ExceptionGroup with what they raised."""
    start, errors = threading.Barrier(len(operations)), []

    def run(operation: Callable[[], object]) -> None:
        try:
            start.wait(PATIENCE_SECONDS)
            operation()
        except Exception as error:
            errors.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=(operation,), daemon=True) for operation in operations]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_SECONDS)
    if any(thread.is_alive() for thread in threads):
        errors.append(TimeoutError(f"still running after {PATIENCE_SECONDS} s"))
    if errors:
        raise ExceptionGroup("in a thread", errors)


@contextmanager
def as_if_on(other: BaseDatabaseWrapper) -> Iterator[None]:
    """In this block the thread uses that connection."""
    own = connections["default"]
    connections["default"] = other
    try:
        yield
    finally:
        connections["default"] = own


@contextmanager
def another_connection() -> Iterator[None]:
    """In this block the thread works outside its current transaction."""
    other = connections.create_connection("default")
    with closing(other), as_if_on(other):
        yield


def waiting() -> int:
    """The number of connections that wait for a lock."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
        return int(cursor.fetchone()[0])
