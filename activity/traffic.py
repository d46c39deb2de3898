"""How many calls agents answered, hour by hour: calls, errors and the 95th percentile of their durations.

A call is an activity of type `a2a_receive`, which the agent that was called reports. Rows of a past hour do not change,
so each process counts such an hour once.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Self
from uuid import UUID

from activity import clock, statements
from activity.models import ActivityStatus, ActivityType

HOUR = timedelta(hours=1)
# Durations are counted in classes whose bounds grow by five percent: a percentile is right to within three.
BASE = 1.05
PERCENTILE = 0.95
# Rows may become visible some time after their created_at.
SETTLED = timedelta(minutes=1)
MOST_HOURS_KEPT = 24 * 7


@dataclass(frozen=True)
class Traffic:
    """The calls in a time. `durations` counts them by class of duration, of those that have one."""

    calls: int = 0
    errors: int = 0
    durations: Mapping[int, int] = field(default_factory=dict)

    @property
    def error_rate(self) -> float | None:
        """0-1; None without calls."""
        return self.errors / self.calls if self.calls else None

    @property
    def p95_ms(self) -> int | None:
        """95 % of the calls took at most so many milliseconds, to within three percent; None without durations."""
        left = math.ceil(PERCENTILE * sum(self.durations.values()))
        for duration in sorted(self.durations):
            left -= self.durations[duration]
            if left <= 0:
                return round(math.pow(BASE, duration + 0.5) - 1)
        return None

    @classmethod
    def sum(cls, parts: Iterable[Self]) -> "Traffic":
        """All of them together."""
        parts = list(parts)
        durations: Counter[int] = Counter()
        for part in parts:
            durations.update(part.durations)
        return Traffic(sum(part.calls for part in parts), sum(part.errors for part in parts), durations)


def hours(until: datetime, count: int) -> list[tuple[datetime, Traffic]]:
    """The traffic of everybody in the last `count` hours, the current one included, oldest first."""
    starts = _starts(until, count)
    missing = [start for start in starts if start not in _past]
    read = _read(missing[0], starts[-1] + HOUR, None) if missing else {}
    found = {start: _past.get(start) or read.get(start, Traffic()) for start in starts}
    settled = clock.now() - SETTLED
    _past.update({start: found[start] for start in missing if start + HOUR <= settled})
    for old in sorted(_past)[:-MOST_HOURS_KEPT]:
        del _past[old]
    return list(found.items())


def hours_of(workspace_id: UUID, until: datetime, count: int) -> list[tuple[datetime, Traffic]]:
    """The calls that one workspace answered in the last `count` hours, oldest first."""
    starts = _starts(until, count)
    found = _read(starts[0], starts[-1] + HOUR, workspace_id)
    return [(start, found.get(start, Traffic())) for start in starts]


_past: dict[datetime, Traffic] = {}


def _starts(until: datetime, count: int) -> Sequence[datetime]:
    current = until.replace(minute=0, second=0, microsecond=0)
    return [current - HOUR * back for back in range(count - 1, -1, -1)]


def _read(since: datetime, until: datetime, workspace_id: UUID | None) -> dict[datetime, Traffic]:
    rows = statements.execute(
        OF_ALL if workspace_id is None else OF_ONE,
        {
            "since": since,
            "until": until,
            "workspace": workspace_id,
            "ok": str(ActivityStatus.OK),
            "base": math.log(BASE),
        },
    )
    found: dict[datetime, Traffic] = {}
    for hour, duration, calls, errors in rows:
        before = found.get(hour, Traffic())
        durations = {**before.durations, **({} if duration is None else {duration: calls})}
        found[hour] = Traffic(before.calls + calls, before.errors + errors, durations)
    return found


# The type is a constant, so that PostgreSQL can use the partial index.
COUNTS = f"""
SELECT date_trunc('hour', created_at, 'UTC'), floor(ln((duration_ms + 1)::float8) / %(base)b)::int, count(*),
  count(*) FILTER (WHERE status <> %(ok)b)
FROM activity_logs
WHERE created_at >= %(since)b AND created_at < %(until)b AND activity_type = '{ActivityType.A2A_RECEIVE}'
"""  # noqa: S608  # of constants
OF_ALL = f"{COUNTS} GROUP BY 1, 2"
OF_ONE = f"{COUNTS} AND workspace_id = %(workspace)b GROUP BY 1, 2"
