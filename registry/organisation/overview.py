"""The organisation at a glance: how many are in which status, what needs somebody, calls, and availability."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Count

from activity import clock, traffic
from activity.events import latest_seq
from activity.traffic import Traffic
from registry.liveness import availability
from registry.liveness.availability import Availability, Window
from registry.models import Workspace
from registry.organisation.attention import Attention, attention

CALL_HOURS = 24
AVAILABILITY_HOURS = 48


@dataclass(frozen=True, kw_only=True)
class Overview:
    """`statuses` counts the active workspaces. `hours` are the calls of the last CALL_HOURS, `calls` all of them and
    `calls_before` those of as many hours before. `availability` is of AVAILABILITY_HOURS, `ratios` hour by hour."""

    at: datetime
    statuses: Mapping[str, int]
    attention: Attention
    hours: Sequence[tuple[datetime, Traffic]]
    calls: Traffic
    calls_before: Traffic
    availability: Availability
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
    window = recent(at)
    together, ratios = availability.total(availability.of_all(window, latest_seq()), AVAILABILITY_HOURS)
    return Overview(
        at=at,
        statuses=dict(Workspace.objects.active().order_by().values_list("status").annotate(Count("id"))),
        attention=attention(),
        hours=hours,
        calls=Traffic.sum(found for _hour, found in hours),
        calls_before=Traffic.sum(found for _hour, found in before),
        availability=together,
        ratios=ratios,
        window=window,
    )


def recent(at: datetime) -> Window:
    """The last AVAILABILITY_HOURS, to the minute, so that what was read for it can be used for a minute."""
    until = at.replace(second=0, microsecond=0)
    return Window(until - timedelta(hours=AVAILABILITY_HOURS), until)
