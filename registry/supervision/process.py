"""One supervisor process: it seeks to lead, and while it does its loops run, each in a thread of its own."""

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

LOOK_SECONDS = 0.2
# After a failure; doubled by each that follows at once.
BACKOFF_SECONDS = 0.5
LONGEST_BACKOFF_SECONDS = 5.0
STOP_SECONDS = 5.0
# Whoever waits for a lock, or for an answer, fails and tries again: the next leader would wait for it just as well.
LOCK_SECONDS = 5.0
STATEMENT_SECONDS = 8.0
# What takes longer hangs, and only another process can help.
LONGEST_TURN_SECONDS = 15.0

Step = Callable[[], object]


class LoopDied(RuntimeError):
    """A loop's thread hangs, or has ended although nobody stopped it."""


class Loop:
    """Steps, one after the other. One that fails is counted, shown in the loop's row, and tried again."""

    def __init__(self, name: str, step: Step) -> None:
        self.name = name
        self.step = step
        self.failures = jobs.Failures(name)
        self.backoff = 0.0
        self.began: float | None = None

    @property
    def hangs_since(self) -> float | None:
        """When its turn began, if that takes too long; by the monotonic clock."""
        began = self.began
        return began if began is not None and time.monotonic() - began > LONGEST_TURN_SECONDS else None

    def turn(self) -> float:
        """One step; returns how many seconds to wait before the next."""
        self.began = time.monotonic()
        try:
            _bound_statements()
            self.failures.write()
            self.step()
        except Exception as error:
            connection.close()  # it may be what is broken
            self.failures.add(error)
            self.backoff = min(LONGEST_BACKOFF_SECONDS, 2 * self.backoff or BACKOFF_SECONDS)
        else:
            self.backoff = 0.0
        self.began = None
        return self.backoff


class Process:
    """`steps`: what the leader does, by the name of the loop; one takes seconds at most, and ends once `stopping`."""

    def __init__(self, steps: Mapping[str, Step], stopping: threading.Event) -> None:
        self.host, self.pid = socket.gethostname(), os.getpid()
        self.name = f"{jobs.PROCESS}{self.host}:{self.pid}"
        self.leadership = Leadership()
        self.stopping = stopping
        self.loops = [Loop(name, step) for name, step in steps.items()]
        self.threads = [
            threading.Thread(target=self._lead, args=(loop,), name=loop.name, daemon=True) for loop in self.loops
        ]
        self.hanging: set[tuple[str, float]] = set()
        self.state = ""

    def run(self, stop: "SimpleQueue[int]") -> None:
        """Until `stop` gives anything. Raises LoopDied."""
        for thread in self.threads:
            thread.start()
        candidate = Loop(self.name, self.seek)
        try:
            while not _given(stop, TRY_SECONDS):
                candidate.turn()
                self._check_threads()
                self._check_turns()
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

    def _lead(self, loop: Loop) -> None:
        try:
            while not self.stopping.is_set():
                if self.leadership.holds():
                    self.stopping.wait(loop.turn())
                else:
                    connection.close()
                    self.stopping.wait(LOOK_SECONDS)
        finally:
            connection.close()

    def _check_threads(self) -> None:
        if dead := [thread.name for thread in self.threads if not thread.is_alive()]:
            raise LoopDied(f"{', '.join(dead)}: ended by itself")

    def _check_turns(self) -> None:
        """Seen twice, as after a pause of the whole process the first look finds every turn long; and only of the
        leader: while PostgreSQL is away there is nobody to hand over to."""
        hanging = {(loop.name, since) for loop in self.loops if (since := loop.hangs_since) is not None}
        if (still := self.hanging & hanging) and self.leadership.holds():
            names = ", ".join(sorted(name for name, _ in still))
            raise LoopDied(f"{names}: hangs for more than {LONGEST_TURN_SECONDS:g} s")
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


def _given(stop: "SimpleQueue[int]", seconds: float) -> bool:
    try:
        stop.get(timeout=seconds)
    except Empty:
        return False
    return True
