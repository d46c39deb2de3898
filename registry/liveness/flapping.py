"""Flapping: who goes offline again and again is marked so, for as long as that is true."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

from django.conf import settings
from django.db import connection
from django.template.defaultfilters import pluralize

# The last but so many of the times that each of them went offline within the window; nothing for who has fewer.
# The window begins at a position, so that no long history is read. IS TRUE hides the type from the planner, which in a
# log that it has no statistics of would else read everybody's events of that type, once for each workspace.
DETECT = """
SELECT gone.id, nth.created_at + make_interval(secs => %(window)s)
FROM unnest(%(ids)s::uuid[]) AS gone(id)
CROSS JOIN LATERAL (
  SELECT created_at FROM structure_events
  WHERE workspace_id = gone.id AND (event_type = 'WORKSPACE_OFFLINE') IS TRUE AND seq >= (
    SELECT seq FROM structure_events
    WHERE created_at > now() - make_interval(secs => %(window)s) ORDER BY created_at LIMIT 1)
  ORDER BY seq DESC OFFSET %(times)s - 1 LIMIT 1
) nth
"""


def rule() -> str:
    """Why somebody is marked, in words."""
    times, minutes = settings.FLAPPING_TIMES, settings.FLAPPING_MINUTES
    return f"offline more than {times} time{pluralize(times)} in {minutes:g} minute{pluralize(minutes)}"


def detect(going: Sequence[UUID]) -> dict[UUID, datetime]:
    """Those of the workspaces now going offline that have done so too often, and until when that will be so.

    That is when the earliest of the last FLAPPING_TIMES + 1 times is FLAPPING_MINUTES ago. The rows are to be
    locked before: who else takes them offline has committed then, or waits.
    """
    if not going or settings.FLAPPING_TIMES < 1:
        return {}
    given = {"ids": list(going), "times": settings.FLAPPING_TIMES, "window": settings.FLAPPING_MINUTES * 60}
    with connection.cursor() as cursor:
        cursor.execute(DETECT, given)
        return dict(cursor.fetchall())


def save(until: Mapping[UUID, datetime]) -> None:
    """Write the marks: a live column, which no event is needed for and replay knows nothing of."""
    if not until:
        return
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE workspaces w SET flapping_until = new.until "
            "FROM unnest(%s::uuid[], %s::timestamptz[]) AS new(id, until) WHERE w.id = new.id",
            [list(until.keys()), list(until.values())],
        )
