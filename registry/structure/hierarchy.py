"""Walking the org chart, safely: one lock for whatever changes it, walks that end even on a cycle."""

from uuid import UUID

from django.db import connection

# Taken before any row by whatever changes or walks parents; the database's cycle trigger takes it as well.
HIERARCHY_LOCK = 0x4D4F4C02


def lock() -> None:
    """Let one transaction at a time change the hierarchy."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [HIERARCHY_LOCK])


def descendants(workspace_id: UUID) -> list[UUID]:
    """Every living workspace below, the deepest first."""
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
