"""One supervisor process. While it is the leader it runs the background jobs, each in its own thread."""

import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Mapping
from queue import Empty, SimpleQueue

from django.db import DatabaseError, connection
from psycopg_pool import PoolTimeout

from registry.supervision import jobs
from registry.supervision.leadership import TRY_SECONDS, Leadership

log = logging.getLogger(__name__)

POLL_SECONDS = 0.2
# Wait after a failed step; doubled for each further failure in a row.
BACKOFF_SECONDS = 0.5
MAX_BACKOFF_SECONDS = 5.0
STOP_SECONDS = 5.0
# Limits for PostgreSQL. A step that reaches one fails and is retried; another leader would have to wait as well.
LOCK_SECONDS = 5.0
STATEMENT_SECONDS = 8.0
# A longer step hangs: the process ends, so that another supervisor takes over.
MAX_STEP_SECONDS = 15.0

Step = Callable[[], object]


class JobDied(RuntimeError):
    """A job's thread hangs, or ended without being stopped."""


class Job:
    """Runs one step at a time. A failed step is counted, shown in the job's row, and retried."""

    def __init__(self, name: str, step: Step) -> None:
        self.name = name
        self.step = step
        self.failures = jobs.Failures(name)
        self.backoff = 0.0
        self.began: float | None = None

    @property
    def hanging_since(self) -> float | None:
        """Monotonic time at which the current step began, if it takes longer than MAX_STEP_SECONDS; else None."""
        began = self.began
        return began if began is not None and time.monotonic() - began > MAX_STEP_SECONDS else None

    def run_step(self) -> float:
        """Run one step. Return the seconds to wait before the next one: 0, or the backoff after a failure."""
        self.began = time.monotonic()
        try:
            bound_statements()
            self.failures.write()
            self.step()
        except Exception as error:
            connection.close()  # the connection itself may be broken
            self.failures.add(error)
            self.backoff = min(MAX_BACKOFF_SECONDS, 2 * self.backoff or BACKOFF_SECONDS)
        else:
            self.backoff = 0.0
        self.began = None
        return self.backoff


class Process:
    """`steps`: the leader's jobs, by name. A step takes a few seconds at most and returns once `stopping` is set."""

    def __init__(self, steps: Mapping[str, Step], stopping: threading.Event) -> None:
        self.host, self.pid = socket.gethostname(), os.getpid()
        self.name = jobs.process_name(jobs.PROCESS)
        self.leadership = Leadership()
        self.stopping = stopping
        self.jobs = [Job(name, step) for name, step in steps.items()]
        self.threads = [
            threading.Thread(target=self._lead, args=(job,), name=job.name, daemon=True) for job in self.jobs
        ]
        self.hanging: set[tuple[str, float]] = set()
        self.state = ""

    def run(self, stop: "SimpleQueue[int]") -> None:
        """Run until a value arrives in `stop`. Raises JobDied."""
        for thread in self.threads:
            thread.start()
        candidate = Job(self.name, self.seek)
        try:
            while not _received(stop, TRY_SECONDS):
                candidate.run_step()
                self._check_threads()
                self._check_steps()
        finally:
            self._stop()

    def seek(self) -> None:
        """Become the leader if there is none, and write the state, leading or standby, to this process's row."""
        state = "leading" if self.leadership.seek() else "standby"
        if state != self.state:
            log.info("%s: %s", self.name, state)
        self.state = state
        jobs.tick(self.name, state=state, host=self.host, pid=self.pid)
        if state == "leading":
            jobs.forget_dead_processes()

    def _lead(self, job: Job) -> None:
        try:
            while not self.stopping.is_set():
                if self.leadership.holds():
                    self.stopping.wait(job.run_step())
                else:
                    connection.close()
                    self.stopping.wait(POLL_SECONDS)
        finally:
            connection.close()

    def _check_threads(self) -> None:
        if dead := [thread.name for thread in self.threads if not thread.is_alive()]:
            raise JobDied(f"{', '.join(dead)}: the thread ended without being stopped")

    def _check_steps(self) -> None:
        """Raise JobDied if a step hangs in two checks in a row and this process leads.

        After a pause of the whole process every step looks long in the first check. While PostgreSQL is unavailable
        no process leads, so there is none to take over.
        """
        hanging = {(job.name, since) for job in self.jobs if (since := job.hanging_since) is not None}
        if (still := self.hanging & hanging) and self.leadership.holds():
            names = ", ".join(sorted(name for name, _ in still))
            raise JobDied(f"{names}: hangs, a step takes more than {MAX_STEP_SECONDS:g} s")
        self.hanging = hanging

    def _stop(self) -> None:
        self.stopping.set()
        deadline = time.monotonic() + STOP_SECONDS
        for thread in self.threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        self.leadership.resign()
        try:
            jobs.forget(self.name)
        except (DatabaseError, PoolTimeout) as error:
            log.warning("%s: could not delete its row: %s", self.name, type(error).__name__)
        log.info("%s: stopped", self.name)


def bound_statements() -> None:
    """Limit the statements of this thread's connection."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT set_config('lock_timeout', %s, false), set_config('statement_timeout', %s, false)",
            [f"{LOCK_SECONDS:g}s", f"{STATEMENT_SECONDS:g}s"],
        )


def _received(stop: "SimpleQueue[int]", seconds: float) -> bool:
    try:
        stop.get(timeout=seconds)
    except Empty:
        return False
    return True
