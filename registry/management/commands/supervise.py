"""manage.py supervise: run a supervisor. Of all that run, one leads."""

import logging
import os
import signal
import threading
from queue import SimpleQueue
from typing import Any

from django.core.management.base import BaseCommand

from registry.liveness.watch import LeaseWatch
from registry.runtime import backends
from registry.runtime.job import Reconciliation
from registry.supervision import jobs
from registry.supervision.process import JobDied, Process, Step
from registry.supervision.retention import Retention

log = logging.getLogger(__name__)


class Command(BaseCommand):
    """`manage.py supervise`"""

    help = "Watch leases, delete old activity, run agents. Of any number of supervisors one leads, the others wait."

    def handle(self, *args: Any, **options: Any) -> None:
        # SimpleQueue.put() is reentrant: the handler interrupts the thread that waits, which may hold an Event's lock.
        asked: SimpleQueue[int] = SimpleQueue()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda number, _frame: asked.put(number))
        stopping = threading.Event()
        steps: dict[str, Step] = {
            jobs.SUPERVISOR: LeaseWatch().step,
            jobs.RETENTION: Retention(rest=stopping.wait).step,
        }
        if (backend := backends.configured()) is not None:
            steps[jobs.RUNTIME] = Reconciliation(backend, rest=stopping.wait).step
        try:
            Process(steps, stopping).run(asked)
        except JobDied as error:
            log.critical("%s: this process ends, another supervisor takes over", error)
            # A normal exit would wait for threads that the hanging job started.
            os._exit(1)
