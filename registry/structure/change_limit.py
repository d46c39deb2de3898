"""How many changes per minute one agent may add to the log, which keeps them forever.

Its events are counted in the log itself, so the count is exact, also without Redis: changes of its card, URL or files,
and changes of its status by heartbeats.
"""

import math
from collections.abc import Collection
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import connection

from activity.principals import Kind
from registry.exceptions import TooOften

WINDOW_SECONDS = 60
# For each workspace the seconds until the oldest of its last N changes leaves the window, if there are that many in it.
WAITS = """
SELECT given.id, wait
FROM unnest(%(ids)s::uuid[]) AS given(id)
CROSS JOIN LATERAL (
  SELECT extract(epoch FROM created_at - clock_timestamp()) + %(window)s AS wait FROM structure_events
  WHERE actor = %(kind)s || ':' || given.id ORDER BY seq DESC OFFSET %(most)s - 1 LIMIT 1
) nth
WHERE wait > 0
"""


def check(workspace_id: UUID) -> None:
    """Raise TooOften if the workspace's agent has used up its changes. The row must be locked."""
    if wait := waits([workspace_id]).get(workspace_id):
        raise TooOften("this workspace changed its card, URL or files too often", wait=wait)


def waits(workspace_ids: Collection[UUID]) -> dict[UUID, int]:
    """The workspaces whose agents made RATE_LIMIT_CHANGES changes in the last minute, each with the seconds to wait.

    Their rows must be locked.
    """
    if not workspace_ids:
        return {}
    given: dict[str, Any] = {"ids": list(workspace_ids), "kind": Kind.WORKSPACE, "window": WINDOW_SECONDS}
    with connection.cursor() as cursor:
        cursor.execute(WAITS, given | {"most": settings.RATE_LIMIT_CHANGES})
        return {workspace_id: max(1, math.ceil(wait)) for workspace_id, wait in cursor.fetchall()}
