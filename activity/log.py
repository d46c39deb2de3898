"""The operational log: write() and recent(). Facts that come in thousands and are kept for days."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import QuerySet

from activity import bus
from activity.models import ActivityLog, ActivityStatus, ClockTime


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One activity as reported; see ActivityLog for the columns."""

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


def write(workspace_id: UUID, entries: Sequence[Entry]) -> list[ActivityLog]:
    """Insert the entries in order and broadcast ACTIVITY_LOGGED for each once they are committed."""
    with transaction.atomic():
        rows = ActivityLog.objects.bulk_create(
            ActivityLog(workspace_id=workspace_id, created_at=ClockTime(), **vars(entry)) for entry in entries
        )
        bus.after_commit(_broadcast, rows)
    return rows


def recent(
    *,
    workspace_id: UUID | None = None,
    activity_type: str | None = None,
    status: str | None = None,
    source: str | None = None,
    since: datetime | None = None,
    before: datetime | None = None,
    limit: int = 100,
) -> QuerySet[ActivityLog]:
    """Newest first. `source` is "canvas" (no source workspace) or "agent"; `since` and `before` are exclusive."""
    wanted = {
        "workspace_id": workspace_id,
        "activity_type": activity_type,
        "status": status,
        "source_id__isnull": None if source is None else source == "canvas",
        "created_at__gt": since,
        "created_at__lt": before,
    }
    filters = {name: value for name, value in wanted.items() if value is not None}
    return ActivityLog.objects.filter(**filters).order_by("-created_at", "-id")[:limit]


def _broadcast(rows: Sequence[ActivityLog]) -> None:
    bus.publish([_envelope(row) for row in rows])


def _envelope(row: ActivityLog) -> bus.Envelope:
    payload = {
        "activity_type": row.activity_type,
        "method": row.method,
        "summary": row.summary,
        "status": row.status,
        "source_id": row.source_id,
        "target_id": row.target_id,
        "duration_ms": row.duration_ms,
        "error_detail": row.error_detail,
    }
    return bus.envelope("ACTIVITY_LOGGED", row.workspace_id, payload, at=row.created_at)
