"""Discovery: a workspace's address and its peers."""

import logging
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.db import connection
from redis.exceptions import RedisError

from activity.strict_json import compact
from registry.exceptions import Forwarded, NotAllowed, Unreachable
from registry.liveness import presence
from registry.models import ALIVE, Workspace
from registry.structure import access, rows
from registry.structure.access import Rule

log = logging.getLogger(__name__)

PEER_COLUMNS = {
    "id": "id::text",
    "name": "name",
    "role": "role",
    "tier": "tier",
    "status": "status",
    # Clients remember URLs: not that of an agent that was stopped on purpose and may start elsewhere.
    "url": "CASE WHEN status IN ('online', 'degraded', 'offline') THEN coalesce(url, '') ELSE '' END",
    "parent_id": "parent_id::text",
    "active_tasks": "active_tasks",
    "agent_card": "agent_card::text",
}
# registry.structure.access has the same rule for two workspaces.
REACHABLE = """
    status <> 'removed' AND id <> %(me)s AND (
      parent_id = %(parent)s OR (%(parent)s::uuid IS NULL AND parent_id IS NULL) OR parent_id = %(me)s
      OR id = %(parent)s)
"""
# registry.structure.access has the same rule for two workspaces.
REACHABLE = """
    status <> 'removed' AND id <> %(me)s AND (
      parent_id = %(parent)s OR (%(parent)s::uuid IS NULL AND parent_id IS NULL) OR parent_id = %(me)s
      OR id = %(parent)s)
"""
PEERS = f"""
    SELECT {", ".join(PEER_COLUMNS.values())} FROM workspaces WHERE {REACHABLE}
    ORDER BY id IS NOT DISTINCT FROM %(parent)s, parent_id IS NOT DISTINCT FROM %(me)s, created_at, id
"""  # noqa: S608  # our own columns
NEIGHBOURS = f"""
    WITH reachable AS (
      SELECT id, name, CASE WHEN id = %(parent)s THEN '{Rule.PARENT}' WHEN parent_id = %(me)s THEN '{Rule.CHILD}'
        WHEN parent_id IS NULL THEN '{Rule.ROOTS}' ELSE '{Rule.SIBLINGS}' END AS rule
      FROM workspaces WHERE {REACHABLE}
    ), numbered AS (
      SELECT *, count(*) OVER (PARTITION BY rule) AS total, row_number() OVER (PARTITION BY rule ORDER BY name, id) AS n
      FROM reachable
    ) SELECT rule, total, id, name FROM numbered WHERE n <= %(limit)s ORDER BY rule, n
"""  # noqa: S608  # our own columns


@dataclass
class Neighbours:
    """How many workspaces one may talk to by one rule, and the ids and names of the first by name."""

    total: int
    first: list[tuple[UUID, str]] = field(default_factory=list)


def discover(target_id: UUID, *, caller_id: UUID | None) -> tuple[Workspace, str]:
    """The workspace and its URL. `caller_id` is None for operators. Forwards are followed.

    Raises NotFound, Removed, NotAllowed, Unreachable (no URL, or neither online nor degraded).
    """
    workspace = _resolve(target_id)
    if caller_id is not None and not access.can_communicate(caller_id, workspace.id):
        raise NotAllowed("not authorized to reach this workspace: it is neither sibling, parent nor child")
    url = _url(workspace) if workspace.status in ALIVE else ""
    if not url:
        raise Unreachable(
            f"workspace is {workspace.status}" if workspace.url else "workspace has no URL", workspace.status
        )
    return workspace, url


def peers(workspace_id: UUID) -> list[dict[str, Any]]:
    """Siblings, then children, then the parent, each by age; removed ones are left out. Roots are siblings.

    Ids are text and agent cards JSON text, which the renderer passes on. Raises NotFound, Forwarded, Removed.
    """
    workspace = rows.find(workspace_id)
    with connection.cursor() as cursor:
        cursor.execute(PEERS, {"me": workspace.id, "parent": workspace.parent_id})
        return [
            {**dict(zip(PEER_COLUMNS, peer, strict=False)), "agent_card": peer[-1] and compact(peer[-1])}
            for peer in cursor.fetchall()
        ]


def neighbours(workspace: Workspace, limit: int) -> dict[Rule, Neighbours]:
    """Those that a workspace may talk to, by what they are to it, at most `limit` of each. One query."""
    found: dict[Rule, Neighbours] = {}
    with connection.cursor() as cursor:
        cursor.execute(NEIGHBOURS, {"me": workspace.id, "parent": workspace.parent_id, "limit": limit})
        for rule, total, workspace_id, name in cursor.fetchall():
            found.setdefault(Rule(rule), Neighbours(total)).first.append((workspace_id, name))
    return found


def _resolve(target_id: UUID) -> Workspace:
    try:
        return rows.find(target_id)
    except Forwarded as forwarded:
        return rows.find(forwarded.forwarded_to)


def _url(workspace: Workspace) -> str:
    """The URL in the row. Corrects `ws:{id}:url` for clients that read only Redis."""
    url = workspace.url or ""
    try:
        if url and presence.cached_url(workspace.id) != url:
            presence.cache_url(workspace.id, url)
    except RedisError as error:
        log.warning("URL not cached: %s", type(error).__name__)
    return url
