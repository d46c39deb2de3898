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
    return {leaf: names for leaf, _ids, names in _above(workspace_ids)}


def ancestors(workspace_id: UUID) -> list[tuple[UUID, str]]:
    """Return the id and the name of each workspace above this one, from its root down to its parent."""
    return [pair for _leaf, ids, names in _above([workspace_id]) for pair in zip(ids[:-1], names[:-1], strict=True)]


def _above(workspace_ids: Collection[UUID]) -> list[tuple[UUID, list[UUID], list[str]]]:
    """For each workspace the ids and names from its root down to itself."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            WITH RECURSIVE above AS (
              SELECT id AS leaf, parent_id, ARRAY[id] AS ids, ARRAY[name] AS names FROM workspaces WHERE id = ANY (%s)
              UNION ALL
              SELECT a.leaf, w.parent_id, w.id || a.ids, w.name || a.names
              FROM above a JOIN workspaces w ON w.id = a.parent_id WHERE w.id <> ALL (a.ids)
            ) SELECT DISTINCT ON (leaf) leaf, ids, names FROM above ORDER BY leaf, cardinality(names) DESC
            """,
            [list(workspace_ids)],
        )
        found: list[tuple[UUID, list[UUID], list[str]]] = cursor.fetchall()
        return found


def statuses_below(workspace_ids: Collection[UUID]) -> dict[UUID, dict[str, int]]:
    """Return for each workspace how many active ones are below it, by status. UNION ends a cycle."""
    found: dict[UUID, dict[str, int]] = {workspace_id: {} for workspace_id in workspace_ids}
    with connection.cursor() as cursor:
        cursor.execute(
            """
            WITH RECURSIVE below AS (
              SELECT parent_id AS top, id, status FROM workspaces WHERE parent_id = ANY (%s) AND status <> 'removed'
              UNION
              SELECT b.top, w.id, w.status FROM workspaces w JOIN below b ON w.parent_id = b.id
              WHERE w.status <> 'removed'
            ) SELECT top, status, count(*) FROM below GROUP BY top, status
            """,
            [list(workspace_ids)],
        )
        for top, status, count in cursor.fetchall():
            found[top][status] = count
    return found


def all_below(workspace_ids: Collection[UUID]) -> list[UUID]:
    """Return the ids of all active workspaces below any of these. UNION ends a cycle."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            WITH RECURSIVE below AS (
              SELECT id FROM workspaces WHERE parent_id = ANY (%s) AND status <> 'removed'
              UNION
              SELECT w.id FROM workspaces w JOIN below b ON w.parent_id = b.id WHERE w.status <> 'removed'
            ) SELECT id FROM below
            """,
            [list(workspace_ids)],
        )
        return [row[0] for row in cursor.fetchall()]


def all_above(workspace_ids: Collection[UUID]) -> set[UUID]:
    """Return the ids of all workspaces above any of these, and those themselves."""
    return {one for _leaf, ids, _names in _above(workspace_ids) for one in ids}
