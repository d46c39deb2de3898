"""Flapping: a workspace that goes offline too often is marked until that is no longer so."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

from django.conf import settings
from django.db import connection
from django.template.defaultfilters import pluralize

# For each workspace the time of its Nth-last WORKSPACE_OFFLINE within the window, if it has that many. The window
# starts at a position in the log, so older history is not read. IS TRUE keeps the planner from using the event type:
# without statistics it would read all workspaces' events of that type, once per workspace.
DETECT = """
SELECT going.id, nth.created_at + make_interval(secs => %(window)s)
FROM unnest(%(ids)s::uuid[]) AS going(id)
CROSS JOIN LATERAL (
  SELECT created_at FROM structure_events
  WHERE workspace_id = going.id AND (event_type = 'WORKSPACE_OFFLINE') IS TRUE AND seq >= (
    SELECT seq FROM structure_events
    WHERE created_at > now() - make_interval(secs => %(window)s) ORDER BY created_at LIMIT 1)
  ORDER BY seq DESC OFFSET %(times)s - 1 LIMIT 1
) nth
"""


def rule() -> str:
    """Describe when a workspace counts as flapping, for operators."""
    times, minutes = settings.FLAPPING_TIMES, settings.FLAPPING_MINUTES
    return f"offline more than {times} time{pluralize(times)} in {minutes:g} minute{pluralize(minutes)}"


def detect(going: Sequence[UUID]) -> dict[UUID, datetime]:
    """Return those of the workspaces going offline now that flap, each with the time until which it does.

    That is FLAPPING_MINUTES after the earliest of its last FLAPPING_TIMES + 1 times offline. The rows must be locked,
    so that no other transaction sets them offline meanwhile.
    """
    if not going or settings.FLAPPING_TIMES < 1:
        return {}
    given = {"ids": list(going), "times": settings.FLAPPING_TIMES, "window": settings.FLAPPING_MINUTES * 60}
    with connection.cursor() as cursor:
        cursor.execute(DETECT, given)
        return dict(cursor.fetchall())


def save(until: Mapping[UUID, datetime]) -> None:
    """Store until when each workspace flaps: a live column, which replay does not restore."""
    if not until:
        return
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE workspaces w SET flapping_until = new.until "
            "FROM unnest(%s::uuid[], %s::timestamptz[]) AS new(id, until) WHERE w.id = new.id",
            [list(until.keys()), list(until.values())],
        )
