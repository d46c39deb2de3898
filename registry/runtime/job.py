"""The job of the supervisor that reconciles deployments, several at once, each in a thread."""

import logging
import threading
import time
from collections.abc import Callable
from uuid import UUID

from django.conf import settings
from django.db import DatabaseError, connection
from psycopg_pool import PoolTimeout

from registry.runtime import claims, reconciler, watch
from registry.runtime.adoption import Adoption
from registry.runtime.backend import Backend, BackendError
from registry.supervision import jobs
from registry.supervision.process import bound_statements

log = logging.getLogger(__name__)

STEP_SECONDS = 1.0
WATCH_SECONDS = 10.0
ADOPT_SECONDS = 30.0


class Reconciliation:
    """`rest(seconds)` waits between steps; it may end early. Threads go on while other steps run, and may be killed at
    any time: what they do is done again."""

    def __init__(self, backend: Backend, rest: Callable[[float], object]) -> None:
        self.backend = backend
        self.rest = rest
        self.adoption = Adoption(backend)
        self.threads: dict[UUID, threading.Thread] = {}
        self._watched_at = self._adopted_at = float("-inf")

    def step(self) -> bool:
        """Begin what is due; returns whether there was anything. Raises DatabaseError, PoolTimeout, Unavailable."""
        began = time.monotonic()
        self.threads = {i: thread for i, thread in self.threads.items() if thread.is_alive()}
        claims.renew(self.threads.keys())
        orphans = self._adopt(began)
        claimed = claims.claim(settings.RUNTIME_CONCURRENCY - len(self.threads), also=self._watch(began))
        for claim in claimed:
            self._begin(claim.id, lambda claim=claim: reconciler.reconcile(claim, self.backend))  # type: ignore[misc]
        for workspace_id in orphans:
            if workspace_id not in self.threads and len(self.threads) < settings.RUNTIME_CONCURRENCY:
                self._begin(workspace_id, lambda i=workspace_id: self.backend.remove(i))  # type: ignore[misc]
        jobs.tick(jobs.RUNTIME, working=len(self.threads), took_ms=round(1000 * (time.monotonic() - began)))
        self.rest(STEP_SECONDS)
        return bool(claimed or orphans)

    def _watch(self, now: float) -> list[UUID]:
        found = watch.started()
        if now - self._watched_at >= WATCH_SECONDS:
            self._watched_at = now
            found += watch.ended(self.backend)
        return found

    def _adopt(self, now: float) -> list[UUID]:
        if now - self._adopted_at < ADOPT_SECONDS:
            return []
        self._adopted_at = now
        return self.adoption.adopt()

    def _begin(self, key: UUID, work: Callable[[], object]) -> None:
        thread = threading.Thread(target=_work, args=(work,), name=f"deployment {key}", daemon=True)
        self.threads[key] = thread
        thread.start()


def _work(work: Callable[[], object]) -> None:
    """What fails here is logged and tried again: the claim ends by itself."""
    try:
        bound_statements()
        work()
    except (DatabaseError, PoolTimeout, BackendError) as error:
        log.warning("a deployment is tried again: %s", jobs.describe(error))
    except Exception:
        log.exception("a deployment is tried again")
    finally:
        connection.close()
