"""Several at the same database: threads that start together, or one thread that is somebody else for a while."""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from django.db import connection, connections

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
def another_connection() -> Iterator[None]:
    """What this thread does meanwhile is not part of the transaction that it is in."""
    own = connections["default"]
    connections["default"] = connections.create_connection("default")
    try:
        yield
    finally:
        connection.close()
        connections["default"] = own
