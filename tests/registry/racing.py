"""Several at the same database: threads that start together, or one thread that is somebody else for a while."""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

from django.db import connection, connections
from django.db.backends.base.base import BaseDatabaseWrapper

PATIENCE_SECONDS = 120
STRESS = os.environ.get("MOLECULE_STRESS") == "1"


def together(*acts: Callable[[], object]) -> None:
    """Run the acts at once, each in a thread; raises what they raised once all have ended."""
    start, errors = threading.Barrier(len(acts)), []

    def run(act: Callable[[], object]) -> None:
        try:
            start.wait(PATIENCE_SECONDS)
            act()
        except Exception as error:
            errors.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=(act,), daemon=True) for act in acts]
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
    """What this thread does meanwhile, it does on that connection."""
    own = connections["default"]
    connections["default"] = other
    try:
        yield
    finally:
        connections["default"] = own


@contextmanager
def another_connection() -> Iterator[None]:
    """What this thread does meanwhile is not part of the transaction that it is in."""
    other = connections.create_connection("default")
    with closing(other), as_if_on(other):
        yield


def waiting() -> int:
    """How many connections wait for a lock."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
        return int(cursor.fetchone()[0])
