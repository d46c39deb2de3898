"""Where things lie on the canvas: presentational, broadcast, never recorded as structure."""

from typing import Any
from uuid import UUID

from django.db import connection, transaction
from django.utils import timezone

from activity import bus
from canvas.models import CanvasViewport
from registry.exceptions import NotFound
from registry.structure import rows

# The row's lock keeps a removal from racing us: its layout is gone for good.
PLACE = """
    INSERT INTO canvas_layouts (workspace_id, x, y, collapsed)
    SELECT id, coalesce(%(x)s, 0), coalesce(%(y)s, 0), coalesce(%(collapsed)s, false) FROM workspaces
    WHERE id = %(workspace_id)s AND status <> 'removed' FOR NO KEY UPDATE
    ON CONFLICT (workspace_id) DO UPDATE SET
      x = coalesce(%(x)s, canvas_layouts.x),
      y = coalesce(%(y)s, canvas_layouts.y),
      collapsed = coalesce(%(collapsed)s, canvas_layouts.collapsed)
    RETURNING x, y, collapsed
"""


def place(workspace_id: UUID, *, x: float | None = None, y: float | None = None, collapsed: bool | None = None) -> None:
    """Keep what is given, in one statement, and tell every canvas. Raises NotFound, Removed."""
    with connection.cursor() as cursor:
        cursor.execute(PLACE, {"workspace_id": workspace_id, "x": x, "y": y, "collapsed": collapsed})
        kept = cursor.fetchone()
    if kept is None:
        with transaction.atomic():
            rows.lock_living(workspace_id)
        raise NotFound
    payload = dict(zip(("x", "y", "collapsed"), kept, strict=True))
    bus.after_commit(_broadcast, "LAYOUT_UPDATED", workspace_id, payload)


def viewport() -> dict[str, float]:
    row: Any = CanvasViewport.objects.values("x", "y", "zoom").first()
    return row or {"x": 0.0, "y": 0.0, "zoom": 1.0}


def save_viewport(*, x: float, y: float, zoom: float) -> None:
    """One upsert of the single row: of two at once, the later stays."""
    with transaction.atomic():
        values = {"x": x, "y": y, "zoom": zoom, "saved_at": timezone.now()}
        if not CanvasViewport.objects.update(**values):
            CanvasViewport.objects.bulk_create([CanvasViewport(**values)], ignore_conflicts=True)
        payload = {"x": x, "y": y, "zoom": zoom}
        bus.after_commit(_broadcast, "VIEWPORT_UPDATED", None, payload)


def _broadcast(event: str, workspace_id: UUID | None, payload: dict[str, Any]) -> None:
    bus.publish([bus.envelope(event, workspace_id, payload)])
