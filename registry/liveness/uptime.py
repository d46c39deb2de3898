"""Availability of all workspaces together, hour by hour, from the log.

The log of a past hour does not change, so each process reads such an hour once. PostgreSQL sums it up: a change of a
status adds to or takes from those that are up or down, for what is left of its hour and for the hours that follow.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import NamedTuple

from activity import clock, statements
from registry.liveness.availability import DOWN, UP
from registry.structure.projection import STATUSES

HOUR = timedelta(hours=1)
# Events may become visible some time after their created_at.
SETTLED = timedelta(minutes=1)
MOST_HOURS_KEPT = 24 * 7
MICROSECOND = 6


@dataclass(frozen=True)
class Uptime:
    """Seconds that workspaces were up and down, as in registry.liveness.availability, of all together."""

    up: float = 0.0
    down: float = 0.0

    @property
    def ratio(self) -> float | None:
        """Up, of the time in which they were expected, 0-1; None if none was."""
        expected = self.up + self.down
        return self.up / expected if expected else None

    def __add__(self, other: "Uptime") -> "Uptime":
        return Uptime(self.up + other.up, self.down + other.down)


class Change(NamedTuple):
    """How many more are up and down since an hour, and the seconds that they add to that hour itself."""

    hour: int
    up: int
    down: int
    up_seconds: float
    down_seconds: float


def hours(until: datetime, count: int, position: int) -> Sequence[tuple[datetime, Uptime]]:
    """The uptime in the last `count` hours, the current one included, oldest first.

    `position` is that of the newest event: the same hours at the same position are computed once.
    """
    return _hours(until, count, position)


@lru_cache(maxsize=4)
def _hours(until: datetime, count: int, position: int) -> Sequence[tuple[datetime, Uptime]]:
    current = until.replace(minute=0, second=0, microsecond=0)
    starts = [current - HOUR * back for back in range(count - 1, -1, -1)]
    missing = [start for start in starts if start not in _past]
    read = _read(missing[0], until) if missing else {}
    found = {start: _past.get(start) or read[start] for start in starts}
    settled = clock.now() - SETTLED
    _past.update({start: found[start] for start in missing if start + HOUR <= settled})
    for old in sorted(_past)[:-MOST_HOURS_KEPT]:
        _past.pop(old, None)
    return list(found.items())


_past: dict[datetime, Uptime] = {}


def forget() -> None:
    """Read every hour again."""
    _past.clear()
    _hours.cache_clear()
    _at.cache_clear()


def _read(since: datetime, until: datetime) -> dict[datetime, Uptime]:
    """`since` is the start of an hour, `until` may be within one."""
    up, down = _at(since)
    changes = {row[0]: Change(*row) for row in statements.execute(CHANGES, _wanted(since, until))}
    found, start = {}, since
    while start <= until:  # also for an hour that has only just begun
        seconds = (min(start + HOUR, until) - start).total_seconds()
        change = changes.get((start - since) // HOUR, Change(0, 0, 0, 0.0, 0.0))
        # Sums of seconds have rounding errors; a few microseconds down would be an outage.
        found[start] = Uptime(
            up=round(up * seconds + change.up_seconds, MICROSECOND),
            down=round(down * seconds + change.down_seconds, MICROSECOND),
        )
        up, down, start = up + change.up, down + change.down, start + HOUR
    return found


@lru_cache(maxsize=4)
def _at(moment: datetime) -> tuple[int, int]:
    """How many were up and down at the start of an hour."""
    [(up, down)] = statements.execute(AT, _wanted(moment, moment))
    return up, down


def _wanted(since: datetime, until: datetime) -> dict[str, object]:
    kinds = [(str(kind), status) for kind, status in STATUSES.items()]
    return {
        "since": since,
        "until": until,
        "types": [kind for kind, _status in kinds],
        "up": [kind for kind, status in kinds if status in UP],
        "down": [kind for kind, status in kinds if status in DOWN],
    }


# As availability.INITIAL, counted.
AT = """
SELECT count(*) FILTER (WHERE e.event_type = ANY(%(up)b)), count(*) FILTER (WHERE e.event_type = ANY(%(down)b))
FROM workspaces w CROSS JOIN LATERAL (
  SELECT event_type FROM structure_events e
  WHERE e.workspace_id = w.id AND e.created_at < %(since)b AND e.event_type = ANY(%(types)b)
  ORDER BY seq DESC LIMIT 1
) e
WHERE w.created_at < %(since)b AND (w.status <> 'removed' OR w.updated_at >= %(since)b)
"""
# `at`: in the order of the log, whose times may go back by a moment. `before`: the type that set the status until then.
# A change that is older in the log than one before `since` is over, as in availability.
CHANGES = """
WITH change AS (
  SELECT workspace_id, event_type, max(created_at) OVER earlier AS at, lag(event_type) OVER earlier AS before
  FROM structure_events c
  WHERE created_at >= %(since)b AND created_at < %(until)b AND event_type = ANY(%(types)b)
    AND (created_at >= %(since)b + interval '1 minute' OR NOT EXISTS (
      SELECT 1 FROM structure_events e
      WHERE e.workspace_id = c.workspace_id AND e.seq > c.seq AND e.created_at < %(since)b
        AND e.event_type = ANY(%(types)b)
    ))
  WINDOW earlier AS (PARTITION BY workspace_id ORDER BY seq)
), step AS (
  SELECT at, floor(extract(epoch FROM at - %(since)b) / 3600)::int AS hour,
    (c.event_type = ANY(%(up)b))::int - coalesce((coalesce(c.before, e.event_type) = ANY(%(up)b))::int, 0) AS up,
    (c.event_type = ANY(%(down)b))::int - coalesce((coalesce(c.before, e.event_type) = ANY(%(down)b))::int, 0) AS down
  FROM change c LEFT JOIN LATERAL (
    SELECT event_type FROM structure_events e
    WHERE c.before IS NULL AND e.workspace_id = c.workspace_id AND e.created_at < %(since)b
      AND e.event_type = ANY(%(types)b)
    ORDER BY seq DESC LIMIT 1
  ) e ON true
), timed AS (
  SELECT hour, up, down,
    extract(epoch FROM least(%(since)b + (hour + 1) * interval '1 hour', %(until)b) - at)::float8 AS seconds
  FROM step
)
SELECT hour, sum(up)::int, sum(down)::int, sum(up * seconds), sum(down * seconds) FROM timed GROUP BY hour
"""
