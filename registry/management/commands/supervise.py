"""manage.py supervise: one of any number of supervisors; one of them leads."""

import logging
import os
import signal
import threading
from queue import SimpleQueue
from typing import Any

from django.core.management.base import BaseCommand

from registry.liveness.watch import LeaseWatch
from registry.supervision import jobs
from registry.supervision.process import JobDied, Process
from registry.supervision.retention import Retention

log = logging.getLogger(__name__)


class Command(BaseCommand):
    help = "Watch over leases and remove old activity. Run as many as you like: one leads, the others take over."

    def handle(self, *args: Any, **options: Any) -> None:
        # A queue, as a handler may interrupt the very thread that waits: an Event's lock would be held then.
        asked: SimpleQueue[int] = SimpleQueue()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda number, _frame: asked.put(number))
        stopping = threading.Event()
        steps = {jobs.SUPERVISOR: LeaseWatch().step, jobs.RETENTION: Retention(rest=stopping.wait).step}
        try:
            Process(steps, stopping).run(asked)
        except JobDied as error:
            log.critical("%s: another supervisor has to take over", error)
            # An ordinary end waits for the threads that the hanging one has started.
            os._exit(1)
