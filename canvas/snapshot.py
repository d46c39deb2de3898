"""One consistent picture of the organisation, with the position it is true for."""

from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import models
from django.utils import timezone

from activity.events import latest_seq, position_now
from canvas.layout import viewport
from canvas.models import CanvasLayout
from registry import history
from registry.exceptions import Invalid
from registry.models import Workspace
from registry.projection import Row

COLUMNS = (
    "id",
    "name",
    "role",
    "tier",
    "status",
    "agent_card",
    "parent_id",
    "source_bundle_id",
    "active_tasks",
    "last_error_rate",
    "uptime_seconds",
    "runtime",
    "last_heartbeat_at",
    "flapping_until",
    "created_at",
    "updated_at",
)
# Text that clients expect as "" when there is none.
TEXTS = ("url", "last_sample_error", "current_task")
LIVE = (
    "active_tasks",
    "last_error_rate",
    "last_sample_error",
    "uptime_seconds",
    "current_task",
    "last_heartbeat_at",
    "flapping_until",
)
PLACE: dict[str, Any] = {"layout__x": 0.0, "layout__y": 0.0, "layout__collapsed": False}


def workspaces(*, after: UUID | None = None, limit: int | None = None) -> tuple[int, list[dict[str, Any]]]:
    """The living workspaces by created_at, and the event position they are true for.

    Rows and position come from one statement, so from one instant. `after` is the last id of the
    page before. Raises Invalid.
    """
    # Read first: an empty list is true for a position at least this late.
    seq = latest_seq()
    rows = _rows(Workspace.objects.living()).annotate(event_seq=position_now())
    if after is not None:
        rows = rows.filter(_beyond(after))
    found = list(rows.order_by("created_at", "id")[:limit])
    for row in found:
        seq = row.pop("event_seq") or 0
    return seq, [_picture(row) for row in found]


def now() -> dict[str, Any]:
    seq, rows = workspaces()
    return {"seq": seq, "at": timezone.now(), "workspaces": rows, "viewport": viewport()}


def then(when: int | datetime) -> dict[str, Any]:
    """The organisation as it was, from the log. Live columns are None; places are those of today."""
    moment = history.moment(when)
    rows = history.living_at(moment)
    places = CanvasLayout.objects.in_bulk(list(rows))
    pictures = [_past(i, row, places.get(i)) for i, row in rows.items()]
    at = when if isinstance(when, datetime) else moment.at
    return {"seq": moment.seq, "at": at, "workspaces": pictures, "viewport": viewport()}


def _past(workspace_id: UUID, row: Row, place: CanvasLayout | None) -> dict[str, Any]:
    picture = {"id": workspace_id, **row, **dict.fromkeys(LIVE)}
    picture |= {column: getattr(place, column.removeprefix("layout__"), None) for column in PLACE}
    return _picture(picture) | dict.fromkeys(LIVE)


def _beyond(last: UUID) -> models.Q:
    """Removed ones still mark their place in the order."""
    created_at = Workspace.objects.filter(id=last).values_list("created_at", flat=True).first()
    if created_at is None:
        raise Invalid("after: no such workspace", field="after")
    return models.Q(created_at__gt=created_at) | models.Q(created_at=created_at, id__gt=last)


def workspace(workspace_id: UUID) -> dict[str, Any] | None:
    row = _rows(Workspace.objects.filter(id=workspace_id)).first()
    return row and _picture(row)


def _rows(queryset: models.QuerySet[Workspace]) -> Any:
    return queryset.values(*COLUMNS, *TEXTS, *PLACE, "forwarded_to_id")


def _picture(row: dict[str, Any]) -> dict[str, Any]:
    row["forwarded_to"] = row.pop("forwarded_to_id")
    for text in TEXTS:
        row[text] = row[text] or ""
    for column, unplaced in PLACE.items():
        value = row.pop(column)
        row[column.removeprefix("layout__")] = unplaced if value is None else value
    return row
