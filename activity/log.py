"""The activity log: write(), page() and prune(). High volume, kept for days."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction

from activity import bus, clock, cursors, pages, statements
from activity.cursors import Cursor
from activity.filters import ActivityFilter
from activity.models import ActivityLog, ActivityStatus
from activity.strict_json import json_fragment

PRUNE_BATCH = 500
# Pause after each batch, as a multiple of its duration: pruning uses at most a tenth of the disk's time.
PRUNE_REST = 9.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One reported activity; the fields are columns of ActivityLog."""

    activity_type: str
    source_id: UUID | None = None
    target_id: UUID | None = None
    method: str | None = None
    summary: str | None = None
    request_body: Any = None
    response_body: Any = None
    duration_ms: int | None = None
    status: str = ActivityStatus.OK
    error_detail: str | None = None


def write(workspace_id: UUID, entries: Sequence[Entry]) -> None:
    """Insert the entries in order; after the commit, publish ACTIVITY_LOGGED for each."""
    write_all([(workspace_id, entry) for entry in entries])


def write_all(reported: Sequence[tuple[UUID, Entry]]) -> None:
    """write() for entries of several workspaces, in one statement."""
    with transaction.atomic():
        parameters: dict[str, Any] = {"workspaces": [workspace_id for workspace_id, _ in reported]}
        for name in ENTRY_COLUMNS:
            parameters[name] = [getattr(entry, name) for _, entry in reported]
        for name in BODIES:
            parameters[name] = [None if body is None else json.dumps(body) for body in parameters[name]]
        moments = [created_at for (created_at,) in statements.execute(INSERT, parameters)]
        bus.after_commit(_broadcast, reported, moments)


@dataclass(frozen=True, kw_only=True)
class ActivityPage:
    """A page of rows for JSONRenderer, without bodies that are null.

    `following` has the cursors to continue from, by link relation: "next" in the order of this page, if it is not the
    last one, and "newer".
    """

    rows: list[dict[str, Any]]
    following: dict[str, Cursor]


def page(wanted: ActivityFilter, *, cursor: Cursor | None = None, limit: int = 100) -> ActivityPage:
    """Entries, newest first, or in the order of `cursor`; a page has at most MAX_PAGE_BYTES, or one entry."""
    rows = wanted.select(ActivityLog.objects.all())
    rows = cursor.select(rows) if cursor else rows.order_by("-created_at", "-id")
    found = pages.read(rows, LISTED_COLUMNS, limit=limit, max_bytes=settings.MAX_PAGE_BYTES)
    following = cursor.following(found) if cursor else cursors.following(found)
    return ActivityPage(rows=[_row_as_listed(row) for row in found.rows], following=following)


def _row_as_listed(row: dict[str, Any]) -> dict[str, Any]:
    bodies = {name: json_fragment(row[name]) for name in BODIES}
    shown = {name: value for name, value in row.items() if name not in (*BODIES, "transaction_id")}
    return shown | {name: body for name, body in bodies.items() if body is not None}


@dataclass(frozen=True, kw_only=True)
class Pruned:
    """The result of prune(). `upto`: time of the newest deleted row, None if none was. `more`: old rows may remain."""

    rows: int
    upto: datetime | None
    more: bool


def retention_cutoff(days: float) -> datetime:
    """The time before which rows are deleted. Raises OverflowError if it is before year 1."""
    return clock.now() - timedelta(days=days)


def prune(cutoff: datetime, batch: int, after: datetime | None = None) -> Pruned:
    """Delete the oldest rows from before `cutoff`, at most `batch`.

    Pass the last result's `upto` as `after`, so that the index entries of deleted rows are not scanned again: while a
    long transaction keeps them, that scan grows with every batch. Rows that another process is deleting are skipped.
    The commit does not wait for the disk: rows that a crash restores are deleted by the next run.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            """
            WITH oldest AS (
              SELECT ctid FROM activity_logs
              WHERE created_at < %s AND created_at >= coalesce(%s, timestamptz '-infinity')
              ORDER BY created_at LIMIT %s FOR UPDATE SKIP LOCKED
            ), deleted AS (
              DELETE FROM activity_logs WHERE ctid = ANY(ARRAY(SELECT ctid FROM oldest)) RETURNING created_at
            )
            SELECT count(*), max(created_at), set_config('synchronous_commit', 'off', true) FROM deleted
            """,
            [cutoff, after, batch],
        )
        rows, upto, _ = cursor.fetchone()
    return Pruned(rows=rows, upto=upto, more=rows == batch)


def about_prunable(cutoff: datetime) -> int:
    """About how many rows prune() would delete, at once: exactly up to COUNTED, else as the planner estimates."""
    old = ActivityLog.objects.filter(created_at__lt=cutoff).order_by()
    counted = old[: COUNTED + 1].count()
    if counted <= COUNTED:
        return counted
    [plan] = json.loads(old.explain(format="json"))
    return max(counted, int(plan["Plan"]["Plan Rows"]))


def count_prunable(cutoff: datetime) -> int:
    """How many rows prune() would delete. Scans the index: seconds for millions of rows."""
    return ActivityLog.objects.filter(created_at__lt=cutoff).count()


def _broadcast(reported: Sequence[tuple[UUID, Entry]], moments: Sequence[datetime]) -> None:
    bus.publish([_envelope(*each, at) for each, at in zip(reported, moments, strict=True)])


def _envelope(workspace_id: UUID, entry: Entry, at: datetime) -> bus.Envelope:
    payload = {name: getattr(entry, name) for name in ENTRY_COLUMNS if name not in BODIES}
    return bus.envelope("ACTIVITY_LOGGED", workspace_id, payload, at=at)


COUNTED = 10_000
ENTRY_COLUMNS = tuple(field.name for field in fields(Entry))
BODIES = ("request_body", "response_body")
LISTED_COLUMNS = tuple(field.attname for field in ActivityLog._meta.concrete_fields)
# clock_timestamp() instead of now(), so that the rows of one batch keep their order.
INSERT = """
INSERT INTO activity_logs (workspace_id, activity_type, source_id, target_id, method, summary, request_body,
  response_body, duration_ms, status, error_detail, created_at)
SELECT g.workspace_id, g.activity_type, g.source_id, g.target_id, g.method, g.summary, g.request_body::jsonb,
  g.response_body::jsonb, g.duration_ms, g.status, g.error_detail, clock_timestamp()
FROM unnest(%(workspaces)b::uuid[], %(activity_type)b::text[], %(source_id)b::uuid[], %(target_id)b::uuid[],
  %(method)b::text[], %(summary)b::text[], %(request_body)b::text[], %(response_body)b::text[], %(duration_ms)b::int[],
  %(status)b::text[], %(error_detail)b::text[]) WITH ORDINALITY
  AS g(workspace_id, activity_type, source_id, target_id, method, summary, request_body, response_body, duration_ms,
    status, error_detail, n)
ORDER BY n
RETURNING created_at
"""
