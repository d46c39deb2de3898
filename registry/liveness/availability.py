"""Availability: how much of a time an agent was there while it should have been, from the events that set statuses.

A workspace is up while it is online or degraded, and down while it is offline or failed. Time in which it is paused,
awaits an agent or does not exist is left out.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from activity import statements
from registry.models import ALIVE, Status
from registry.structure.projection import STATUSES

UP = frozenset(ALIVE)
DOWN = frozenset((Status.OFFLINE, Status.FAILED))
# From the best to the worst; the worst in an interval is what a strip shows.
SEVERITY: dict[str, int] = {Status.ONLINE: 0, Status.DEGRADED: 1, Status.OFFLINE: 2, Status.FAILED: 3}
MOST_OUTAGES = 100
"""Of one workspace, the latest."""
RESOLUTION = 1e-6
"""Seconds. Times have microseconds; a shorter overlap is a rounding error."""


class Span(NamedTuple):
    """A workspace had this status from `since` until `until`."""

    status: str
    since: datetime
    until: datetime


@dataclass(frozen=True)
class Window:
    """A time, `since` included and `until` not."""

    since: datetime
    until: datetime


@dataclass
class Availability:
    """Seconds up and down, the times down (the last one may go on), and the worst status in each part of the window;
    None where the workspace was not expected."""

    up: float = 0.0
    down: float = 0.0
    outages: list[Span] = field(default_factory=list)
    strip: list[str | None] = field(default_factory=list)

    @property
    def ratio(self) -> float | None:
        """Up, of the time in which it was expected, 0-1; None if it never was."""
        expected = self.up + self.down
        return self.up / expected if expected else None


@dataclass(frozen=True)
class Histories:
    """The statuses of workspaces during a window: at its start (missing: did not exist), and each change in it."""

    window: Window
    initial: Mapping[UUID, str]
    changes: Mapping[UUID, Sequence[tuple[datetime, str]]]

    def spans(self, workspace_id: UUID) -> Iterator[Span]:
        """Its statuses in the window, in order."""
        return spans(self.window, self.initial.get(workspace_id), self.changes.get(workspace_id, ()))


def spans(window: Window, initial: str | None, changes: Iterable[tuple[datetime, str]]) -> Iterator[Span]:
    """The statuses in the window. `changes` are in the order of the log, whose times may go back by a moment."""
    status, since = initial, window.since
    for at, reached in changes:
        until = min(max(at, since), window.until)
        if status is not None and until > since:
            yield Span(status, since, until)
        status, since = reached, until
    if status is not None and window.until > since:
        yield Span(status, since, window.until)


def summarize(window: Window, history: Iterable[Span], parts: int = 0) -> Availability:
    """Fold the spans of one workspace. `parts`: into how many equal parts the strip divides the window."""
    found = Availability(strip=[None] * parts)
    for span in history:
        seconds = (span.until - span.since).total_seconds()
        if span.status in UP:
            found.up += seconds
        elif span.status in DOWN:
            found.down += seconds
            _add_outage(found.outages, span)
        if parts and span.status in SEVERITY:
            for part, _seconds in _overlaps(window, parts, span):
                found.strip[part] = _worse(found.strip[part], span.status)
    return found


def of(workspace_ids: Sequence[UUID], window: Window, parts: int = 0) -> dict[UUID, Availability]:
    """The availability of these workspaces, in two queries."""
    found = _read(window, workspace_ids)
    return {one: summarize(window, found.spans(one), parts) for one in workspace_ids}


def _read(window: Window, workspace_ids: Sequence[UUID]) -> Histories:
    wanted = {
        "since": window.since,
        "until": window.until,
        "types": [str(kind) for kind in STATUSES],
        "ids": list(workspace_ids),
    }
    initial, positions = {}, {}
    for workspace_id, kind, seq in statements.execute(INITIAL, wanted):
        initial[workspace_id], positions[workspace_id] = STATUSES[kind], seq
    changes: dict[UUID, list[tuple[datetime, str]]] = {}
    for workspace_id, kind, at, seq in statements.execute(CHANGES, wanted):
        # One that is older in the log, where its time went back, is over.
        if seq > positions.get(workspace_id, 0):
            changes.setdefault(workspace_id, []).append((at, STATUSES[kind]))
    return Histories(window, initial, changes)


def _add_outage(outages: list[Span], span: Span) -> None:
    """Spans down that follow each other are one outage, of the worst status."""
    last = outages[-1] if outages else None
    if last and last.until == span.since:
        outages[-1] = Span(_worse(last.status, span.status), last.since, span.until)
        return
    outages.append(span)
    del outages[:-MOST_OUTAGES]


def _worse(one: str | None, other: str) -> str:
    return other if one is None or SEVERITY[other] > SEVERITY[one] else one


def _overlaps(window: Window, parts: int, span: Span) -> Iterator[tuple[int, float]]:
    """The parts of the window that the span overlaps, and for how many seconds."""
    step = (window.until - window.since).total_seconds() / parts
    since, until = ((moment - window.since).total_seconds() for moment in (span.since, span.until))
    for part in range(int(since / step), min(math.ceil(until / step), parts)):
        seconds = min(until, (part + 1) * step) - max(since, part * step)
        if seconds >= RESOLUTION:
            yield part, seconds


CHANGES = """
SELECT workspace_id, event_type, created_at, seq FROM structure_events
WHERE created_at >= %(since)b AND created_at < %(until)b AND event_type = ANY(%(types)b)
  AND workspace_id = ANY(%(ids)b)
ORDER BY seq
"""
# Workspaces that were removed before the window are left out; the projection keeps the time of the removal.
INITIAL = """
SELECT w.id, e.event_type, e.seq FROM workspaces w CROSS JOIN LATERAL (
  SELECT event_type, seq FROM structure_events e
  WHERE e.workspace_id = w.id AND e.created_at < %(since)b AND e.event_type = ANY(%(types)b)
  ORDER BY seq DESC LIMIT 1
) e
WHERE w.created_at < %(since)b AND (w.status <> 'removed' OR w.updated_at >= %(since)b)
  AND w.id = ANY(%(ids)b)
"""
