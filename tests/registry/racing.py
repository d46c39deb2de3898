"""Threads that start together, each with its own database connection, and what they raised."""

import os
import threading
from collections.abc import Callable

from django.db import connection

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
