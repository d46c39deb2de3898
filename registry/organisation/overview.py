"""The organisation at a glance: how many are in which status, what needs somebody, calls, and availability."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Count

from activity import clock, traffic
from activity.events import latest_seq
from activity.traffic import Traffic
from registry.liveness import uptime
from registry.liveness.availability import Window
from registry.liveness.uptime import Uptime
from registry.models import Workspace
from registry.organisation.attention import Attention, attention

CALL_HOURS = 24
AVAILABILITY_HOURS = 48


@dataclass(frozen=True, kw_only=True)
class Overview:
    """`statuses` counts the active workspaces. `hours` are the calls of the last CALL_HOURS, `calls` all of them and
    `calls_before` those of as many hours before. `uptime` is of AVAILABILITY_HOURS, `ratios` hour by hour; `window` is
    from the first to the end of the current one."""

    at: datetime
    statuses: Mapping[str, int]
    attention: Attention
    hours: Sequence[tuple[datetime, Traffic]]
    calls: Traffic
    calls_before: Traffic
    uptime: Uptime
    ratios: Sequence[float | None]
    window: Window

    @property
    def total(self) -> int:
        """How many workspaces are active."""
        return sum(self.statuses.values())


def overview() -> Overview:
    """Everything at a glance, in a number of queries that does not depend on how many workspaces there are."""
    at = clock.now()
    both = traffic.hours(at, 2 * CALL_HOURS)
    before, hours = both[:CALL_HOURS], both[CALL_HOURS:]
    up = uptime.hours(recent(at).until, AVAILABILITY_HOURS, latest_seq())
    return Overview(
        at=at,
        statuses=dict(Workspace.objects.active().order_by().values_list("status").annotate(count=Count("*"))),
        attention=attention(),
        hours=hours,
        calls=Traffic.sum(found for _hour, found in hours),
        calls_before=Traffic.sum(found for _hour, found in before),
        uptime=sum((found for _hour, found in up), start=Uptime()),
        ratios=[found.ratio for _hour, found in up],
        window=Window(up[0][0], up[-1][0] + uptime.HOUR),
    )


def recent(at: datetime) -> Window:
    """The last AVAILABILITY_HOURS, to the minute, so that what was read for it can be used for a minute."""
    until = at.replace(second=0, microsecond=0)
    return Window(until - timedelta(hours=AVAILABILITY_HOURS), until)
