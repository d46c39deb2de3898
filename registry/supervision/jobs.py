"""The row of each background job: when it last completed a step, since when without a break, and its errors."""

import json
import logging
import os
import re
import socket
import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.db import DatabaseError, connection
from django.db.models import Q
from django.db.models.functions import Now
from psycopg_pool import PoolTimeout

from activity import clock
from registry.models import LoopTick

log = logging.getLogger(__name__)

SUPERVISOR = "supervisor"
"""The lease watch of the leading supervisor."""
RETENTION = "retention"
RUNTIME = "runtime"
WEB = "web"
PROCESS = "supervisor@"
WEB_PROCESS = "web@"
"""Prefixes of the rows of processes; host and pid follow."""
TICK_SECONDS = 2.0
STALE_SECONDS = 10.0
FAILING_SECONDS = 60.0
# How long the row of a process that was killed is kept.
FORGOTTEN_SECONDS = 3600.0
MAX_ERROR_LENGTH = 300
USER_INFO = re.compile(r"(?<=://)[^/@\s]+(?=@)")


class State(StrEnum):
    """How a job or a process is."""

    HEALTHY = "healthy"
    FAILING = "failing"
    STOPPED = "stopped"


@dataclass(frozen=True, kw_only=True)
class Description:
    """A job in words: its name, what it does, and what it means if it stops."""

    label: str
    does: str
    if_it_stops: str


DESCRIPTIONS = {
    SUPERVISOR: Description(
        label="Lease expiry",
        does="The leading supervisor marks workspaces offline when their lease ends.",
        if_it_stops="No workspace goes offline: an agent that has stopped is still shown as online.",
    ),
    RETENTION: Description(
        label="Retention",
        does="The leading supervisor deletes old activity, expired sessions and tokens that ended long ago.",
        if_it_stops="Old rows stay, and the database grows. Nothing else is affected.",
    ),
    RUNTIME: Description(
        label="Deployments",
        does="The leading supervisor starts, watches and stops the agents that Molecule runs.",
        if_it_stops="Agents that run continue. None is started, stopped, or started again after it has ended.",
    ),
    WEB: Description(
        label="Web heartbeat",
        does="Each web process reports that heartbeats of agents are committed.",
        if_it_stops="Heartbeats of agents may be lost, so no lease ends until it reports again.",
    ),
}


def descriptions() -> dict[str, Description]:
    """Those of the jobs that run here, by name."""
    return {name: one for name, one in DESCRIPTIONS.items() if name != RUNTIME or settings.RUNTIME_BACKEND}


def process_name(prefix: str) -> str:
    """The name of this process's row."""
    return f"{prefix}{socket.gethostname()}:{os.getpid()}"


def is_process(tick: LoopTick) -> bool:
    """Whether it is the row of a process and not of a job."""
    return tick.name.startswith((PROCESS, WEB_PROCESS))


def tick(name: str, **detail: Any) -> None:
    """Record a completed step. `since` starts again after a gap of more than STALE_SECONDS.

    The answer says what time it is by the database's clock.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO loop_ticks AS t (name, since, ticked_at, detail) VALUES (%s, now(), now(), %s)
            ON CONFLICT (name) DO UPDATE SET
              since = CASE WHEN t.ticked_at >= now() - make_interval(secs => %s) THEN t.since ELSE now() END,
              ticked_at = now(), detail = excluded.detail
            RETURNING clock_timestamp()
            """,
            [name, json.dumps(detail), STALE_SECONDS],
        )
        clock.set_database_time(cursor.fetchone()[0])


def last(name: str) -> LoopTick | None:
    """The row of the job; None if it never wrote one."""
    return LoopTick.objects.filter(name=name).first()


def every() -> list[LoopTick]:
    """The rows of all jobs, by name."""
    return list(LoopTick.objects.order_by("name"))


def age(tick: LoopTick) -> float | None:
    """Seconds since its last completed step; None if there was none."""
    return _seconds_since(tick.ticked_at, tick)


def is_fresh(tick: LoopTick | None) -> bool:
    """Whether it completed a step within the last STALE_SECONDS."""
    return tick is not None and (seconds := age(tick)) is not None and seconds < STALE_SECONDS


def is_failing(tick: LoopTick) -> bool:
    """Whether a step failed within the last FAILING_SECONDS, even if others completed."""
    seconds = _seconds_since(tick.failed_at, tick)
    return seconds is not None and seconds < FAILING_SECONDS


def state(tick: LoopTick) -> State:
    """One word for its row. A job that completes steps again is failing until FAILING_SECONDS after its last error."""
    if not is_fresh(tick):
        return State.STOPPED
    return State.FAILING if is_failing(tick) else State.HEALTHY


def forget(name: str) -> None:
    """Delete the row of a process that stops normally."""
    LoopTick.objects.filter(name=name).delete()


def forget_dead_processes() -> None:
    """Delete the rows of processes that wrote nothing for FORGOTTEN_SECONDS."""
    silent = timedelta(seconds=FORGOTTEN_SECONDS)
    is_process = Q(name__startswith=PROCESS) | Q(name__startswith=WEB_PROCESS)
    LoopTick.objects.filter(is_process, ticked_at__lt=Now() - silent).delete()


class Failures:
    """Errors of a job, kept until they can be written to its row."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.unwritten = 0
        self.text = ""
        self.at = 0.0

    def add(self, error: Exception) -> None:
        """Count the error, and write it now if PostgreSQL is available."""
        self.unwritten, self.text, self.at = self.unwritten + 1, describe(error), time.monotonic()
        log.warning("%s failed, retrying: %s", self.name, self.text)
        try:
            self.write()
        except (DatabaseError, PoolTimeout):
            log.warning("%s: the error is stored once PostgreSQL is available", self.name)

    def write(self) -> None:
        """Write what was not written yet. Raises DatabaseError, PoolTimeout."""
        if not self.unwritten:
            return
        with connection.cursor() as cursor:
            cursor.execute(
                """
                INSERT INTO loop_ticks AS t (name, since, errors, last_error, failed_at)
                VALUES (%s, now(), %s, %s, now() - make_interval(secs => %s))
                ON CONFLICT (name) DO UPDATE SET
                  errors = t.errors + excluded.errors, last_error = excluded.last_error, failed_at = excluded.failed_at
                """,
                [self.name, self.unwritten, self.text, time.monotonic() - self.at],
            )
        self.unwritten = 0


def describe(error: Exception) -> str:
    """Type and first line of an error (further lines may quote rows), without our database and Redis credentials."""
    text = USER_INFO.sub("***", str(error).strip().partition("\n")[0])
    for password in (settings.DATABASES["default"].get("PASSWORD"), urlsplit(settings.REDIS_URL).password):
        if password:
            text = text.replace(password, "***")
    return f"{type(error).__name__}: {text}"[:MAX_ERROR_LENGTH] if text else type(error).__name__


def _seconds_since(moment: datetime | None, tick: LoopTick) -> float | None:
    return None if moment is None else (tick.now - moment).total_seconds()
