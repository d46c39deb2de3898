"""The lock for changes of the hierarchy, and the search for everything below and above a workspace."""

from collections.abc import Collection
from uuid import UUID

from django.db import connection

# Operations that change or follow parents take it before any row lock. The trigger workspaces_no_cycle takes it too.
HIERARCHY_LOCK = 0x4D4F4C02


def lock() -> None:
    """Wait for the hierarchy lock and hold it until the transaction ends: one transaction at a time has it."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [HIERARCHY_LOCK])


def descendants(workspace_id: UUID) -> list[UUID]:
    """Return the ids of all active workspaces below this one, the deepest first. It ends even if there is a cycle."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            WITH RECURSIVE below AS (
              SELECT id, ARRAY[parent_id, id] AS path FROM workspaces WHERE parent_id = %s AND status <> 'removed'
              UNION ALL
              SELECT w.id, b.path || w.id FROM workspaces w JOIN below b ON w.parent_id = b.id
              WHERE w.status <> 'removed' AND w.id <> ALL (b.path)
            ) SELECT id FROM below ORDER BY cardinality(path) DESC, id
            """,
            [workspace_id],
        )
        return [row[0] for row in cursor.fetchall()]


def paths(workspace_ids: Collection[UUID]) -> dict[UUID, list[str]]:
    """Return for each workspace the names from its root down to itself. It ends even if there is a cycle."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            WITH RECURSIVE above AS (
              SELECT id AS leaf, parent_id, ARRAY[id] AS seen, ARRAY[name] AS names FROM workspaces WHERE id = ANY (%s)
              UNION ALL
              SELECT a.leaf, w.parent_id, a.seen || w.id, w.name || a.names
              FROM above a JOIN workspaces w ON w.id = a.parent_id WHERE w.id <> ALL (a.seen)
            ) SELECT DISTINCT ON (leaf) leaf, names FROM above ORDER BY leaf, cardinality(names) DESC
            """,
            [list(workspace_ids)],
        )
        return dict(cursor.fetchall())
