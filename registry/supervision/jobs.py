"""The row of each background loop: that it lives, how long without a break, and what went wrong."""

import json
import logging
import re
import time
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.db import DatabaseError, connection
from django.db.models.functions import Now
from psycopg_pool import PoolTimeout

from registry.models import LoopTick

log = logging.getLogger(__name__)

SUPERVISOR = "supervisor"
"""The leading supervisor's watch over leases."""
RETENTION = "retention"
WEB = "web"
PROCESS = "supervisor@"
"""How the row of a supervisor process begins; its host and pid follow."""
TICK_SECONDS = 2.0
STALE_SECONDS = 10.0
TROUBLED_SECONDS = 60.0
# How long a process that ended without a word stays visible.
FORGOTTEN_SECONDS = 3600.0
LONGEST_ERROR = 300
USER_INFO = re.compile(r"(?<=://)[^/@\s]+(?=@)")


def tick(name: str, **detail: Any) -> None:
    """Say that the loop runs. After a silence of STALE_SECONDS its `since` starts anew."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO loop_ticks AS t (name, since, ticked_at, detail) VALUES (%s, now(), now(), %s)
            ON CONFLICT (name) DO UPDATE SET
              since = CASE WHEN t.ticked_at >= now() - make_interval(secs => %s) THEN t.since ELSE now() END,
              ticked_at = now(), detail = excluded.detail
            """,
            [name, json.dumps(detail), STALE_SECONDS],
        )


def last(name: str) -> LoopTick | None:
    """The row of this job, None before its first step."""
    return LoopTick.objects.filter(name=name).first()


def every() -> list[LoopTick]:
    """The rows of all jobs, by name."""
    return list(LoopTick.objects.order_by("name"))


def age(tick: LoopTick) -> float | None:
    """Seconds since its last completed step; None when there was none."""
    return _seconds_since(tick.ticked_at, tick)


def is_fresh(tick: LoopTick | None) -> bool:
    """Its last step is less than STALE_SECONDS old."""
    return tick is not None and (seconds := age(tick)) is not None and seconds < STALE_SECONDS


def is_troubled(tick: LoopTick) -> bool:
    """Something went wrong lately, whether or not it ticks."""
    seconds = _seconds_since(tick.failed_at, tick)
    return seconds is not None and seconds < TROUBLED_SECONDS


def forget(name: str) -> None:
    """For a process that ends in order."""
    LoopTick.objects.filter(name=name).delete()


def forget_dead_processes() -> None:
    """Delete the rows of processes that have been silent for FORGOTTEN_SECONDS."""
    silent = timedelta(seconds=FORGOTTEN_SECONDS)
    LoopTick.objects.filter(name__startswith=PROCESS, ticked_at__lt=Now() - silent).delete()


class Failures:
    """What went wrong in a loop, kept until it can be written to the loop's row."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.unwritten = 0
        self.text = ""
        self.at = 0.0

    def add(self, error: Exception) -> None:
        """Count it, and write it now if that is possible."""
        self.unwritten, self.text, self.at = self.unwritten + 1, in_words(error), time.monotonic()
        log.warning("%s failed, trying again: %s", self.name, self.text)
        try:
            self.write()
        except (DatabaseError, PoolTimeout):
            log.warning("%s: written down once PostgreSQL answers", self.name)

    def write(self) -> None:
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


def in_words(error: Exception) -> str:
    """Its type and first line (what follows may quote rows), without the credentials we connect with."""
    text = USER_INFO.sub("***", str(error).strip().partition("\n")[0])
    for password in (settings.DATABASES["default"].get("PASSWORD"), urlsplit(settings.REDIS_URL).password):
        if password:
            text = text.replace(password, "***")
    return f"{type(error).__name__}: {text}"[:LONGEST_ERROR] if text else type(error).__name__


def _seconds_since(moment: datetime | None, tick: LoopTick) -> float | None:
    return None if moment is None else (tick.now - moment).total_seconds()
