"""One supervisor process: it seeks to lead, and while it does its jobs run, each in a thread of its own."""

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
# After a failure; doubled by each that follows at once.
BACKOFF_SECONDS = 0.5
MAX_BACKOFF_SECONDS = 5.0
STOP_SECONDS = 5.0
# Whoever waits for a lock, or for an answer, fails and tries again: the next leader would wait for it just as well.
LOCK_SECONDS = 5.0
STATEMENT_SECONDS = 8.0
# What takes longer hangs, and only another process can help.
MAX_STEP_SECONDS = 15.0

Step = Callable[[], object]


class JobDied(RuntimeError):
    """A job's thread hangs, or has ended although nobody stopped it."""


class Job:
    """Steps, one after the other. One that fails is counted, shown in the job's row, and tried again."""

    def __init__(self, name: str, step: Step) -> None:
        self.name = name
        self.step = step
        self.failures = jobs.Failures(name)
        self.backoff = 0.0
        self.began: float | None = None

    @property
    def hanging_since(self) -> float | None:
        """When its turn began, if that takes too long; by the monotonic clock."""
        began = self.began
        return began if began is not None and time.monotonic() - began > MAX_STEP_SECONDS else None

    def run_step(self) -> float:
        """One step; returns how many seconds to wait before the next."""
        self.began = time.monotonic()
        try:
            _bound_statements()
            self.failures.write()
            self.step()
        except Exception as error:
            connection.close()  # it may be what is broken
            self.failures.add(error)
            self.backoff = min(MAX_BACKOFF_SECONDS, 2 * self.backoff or BACKOFF_SECONDS)
        else:
            self.backoff = 0.0
        self.began = None
        return self.backoff


class Process:
    """`steps`: what the leader does, by the name of the job; one takes seconds at most, and ends once `stopping`."""

    def __init__(self, steps: Mapping[str, Step], stopping: threading.Event) -> None:
        self.host, self.pid = socket.gethostname(), os.getpid()
        self.name = f"{jobs.PROCESS}{self.host}:{self.pid}"
        self.leadership = Leadership()
        self.stopping = stopping
        self.jobs = [Job(name, step) for name, step in steps.items()]
        self.threads = [
            threading.Thread(target=self._lead, args=(job,), name=job.name, daemon=True) for job in self.jobs
        ]
        self.hanging: set[tuple[str, float]] = set()
        self.state = ""

    def run(self, stop: "SimpleQueue[int]") -> None:
        """Until `stop` gives anything. Raises JobDied."""
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
        """Lead if nobody does, and show which of the two it is."""
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
            raise JobDied(f"{', '.join(dead)}: ended by itself")

    def _check_steps(self) -> None:
        """Seen twice, as after a pause of the whole process the first look finds every turn long; and only of the
        leader: while PostgreSQL is away there is nobody to hand over to."""
        hanging = {(job.name, since) for job in self.jobs if (since := job.hanging_since) is not None}
        if (still := self.hanging & hanging) and self.leadership.holds():
            names = ", ".join(sorted(name for name, _ in still))
            raise JobDied(f"{names}: hangs for more than {MAX_STEP_SECONDS:g} s")
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
            log.warning("%s: its row stays for a while: %s", self.name, type(error).__name__)
        log.info("%s: stopped", self.name)


def _bound_statements() -> None:
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
