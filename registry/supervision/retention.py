"""Retention: deletes activity older than ACTIVITY_RETENTION_DAYS in small batches, with a rest after each.

The progress of such a run is in the job's row and committed with each batch, so the next leader continues from there.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction

from activity import clock, log
from registry.models import LoopTick
from registry.supervision import jobs, leftovers

MAX_REST_SECONDS = 5.0
LEFTOVERS_SECONDS = 3600.0


OTHERS = ("removed", "total", "asked_by", "begun_for")
MOMENTS = ("started_at", "finished_at", "upto")


@dataclass(frozen=True, kw_only=True)
class Progress:
    """The current run (without `finished_at`) or the last one. `removed`: its rows; `total`: rows of all runs.

    `asked_by` wants a run that has not begun, "" for nobody; `begun_for` asked for this one, "" if it was due.
    """

    started_at: datetime | None = None
    finished_at: datetime | None = None
    removed: int = 0
    upto: datetime | None = None
    total: int = 0
    asked_by: str = ""
    begun_for: str = ""

    @classmethod
    def of(cls, detail: dict[str, Any]) -> "Progress":
        """Read it from the `detail` of the job's row."""
        moments: dict[str, Any] = {name: _moment(detail.get(name)) for name in MOMENTS}
        others: dict[str, Any] = {name: detail[name] for name in OTHERS if name in detail}
        return cls(**others, **moments)

    @property
    def next_at(self) -> datetime | None:
        """When the next run is due; None during a run and before the first one."""
        interval = timedelta(hours=settings.ACTIVITY_CLEANUP_INTERVAL_HOURS)
        return None if self.finished_at is None else self.finished_at + interval

    def is_due(self, now: datetime) -> bool:
        """Whether there is a batch to delete, of this run or a new one."""
        is_time = bool(self.asked_by) or self.next_at is None or self.next_at <= now
        return settings.ACTIVITY_RETENTION_DAYS > 0 and is_time

    @property
    def milliseconds(self) -> int | None:
        """How long the last run took; None during one."""
        if self.started_at is None or self.finished_at is None:
            return None
        return round((self.finished_at - self.started_at) / timedelta(milliseconds=1))

    @property
    def is_running(self) -> bool:
        """Whether a run has begun and not ended."""
        return self.started_at is not None and self.finished_at is None

    def begun(self, now: datetime) -> "Progress":
        """The current run, or a new one."""
        return self if self.is_running else Progress(started_at=now, total=self.total, begun_for=self.asked_by)

    def after(self, pruned: log.Pruned, now: datetime) -> "Progress":
        """With a batch added."""
        return replace(
            self,
            finished_at=None if pruned.more else now,
            removed=self.removed + pruned.rows,
            upto=pruned.upto or self.upto,
            total=self.total + pruned.rows,
        )

    def detail(self) -> dict[str, Any]:
        """The `detail` of the job's row."""
        state = "pruning" if self.is_running else "waiting"
        return {
            "state": state if settings.ACTIVITY_RETENTION_DAYS > 0 else "off",
            **{name: getattr(self, name) for name in OTHERS},
            "next_at": _text(self.next_at),
            **{name: _text(getattr(self, name)) for name in MOMENTS},
        }


class Retention:
    """One step deletes a batch, if one is due, and rests. `rest` waits the given number of seconds.

    When no activity is due, leftovers are deleted, once an hour.
    """

    def __init__(self, rest: Callable[[float], object]) -> None:
        self.rest = rest
        self.leftovers_at = 0.0

    def step(self) -> bool:
        """Return whether rows were deleted."""
        began = time.monotonic()
        removed = _batch() or self._leftovers()
        took = time.monotonic() - began
        self.rest(min(log.PRUNE_REST * took, MAX_REST_SECONDS) if removed else jobs.TICK_SECONDS)
        return removed > 0

    def _leftovers(self) -> int:
        if time.monotonic() < self.leftovers_at:
            return 0
        removed = leftovers.delete()
        if not removed:
            self.leftovers_at = time.monotonic() + LEFTOVERS_SECONDS
        return removed


@transaction.atomic
def _batch() -> int:
    """Delete the next batch if one is due, and store the progress; return the number of rows. Concurrent calls wait."""
    row = LoopTick.objects.select_for_update().filter(name=jobs.RETENTION).first()
    progress, removed, now = Progress.of(row.detail if row else {}), 0, clock.now()
    if progress.is_due(now):
        progress = progress.begun(now)
        pruned = log.prune(log.retention_cutoff(settings.ACTIVITY_RETENTION_DAYS), log.PRUNE_BATCH, progress.upto)
        progress, removed = progress.after(pruned, clock.now()), pruned.rows
    jobs.tick(jobs.RETENTION, **progress.detail())
    return removed


@transaction.atomic
def ask(actor: str) -> None:
    """Let the leading supervisor begin a run now, in the name of `actor`. One that has begun goes on.

    Without a row the first supervisor that leads begins a run anyway.
    """
    row = LoopTick.objects.select_for_update().filter(name=jobs.RETENTION).first()
    if row is None:
        return
    progress = Progress.of(row.detail)
    if not progress.is_running:
        asked = replace(progress, asked_by=actor)
        LoopTick.objects.filter(name=jobs.RETENTION).update(detail=asked.detail())


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
