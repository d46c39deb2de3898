"""Places of cards and the viewport: broadcast to canvases, never recorded as structure events."""

from collections.abc import Collection, Mapping
from typing import Any
from uuid import UUID

from django.db import connection, transaction

from activity import bus, clock
from canvas.models import CanvasLayout, CanvasViewport
from registry.config.layouts import Place
from registry.exceptions import NotFound
from registry.structure import rows

# The row lock excludes a concurrent removal, after which the layout must not be written again.
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
    """Save the given values in one statement and broadcast them. Raises NotFound, Removed."""
    with connection.cursor() as cursor:
        cursor.execute(PLACE, {"workspace_id": workspace_id, "x": x, "y": y, "collapsed": collapsed})
        saved = cursor.fetchone()
    if saved is None:
        with transaction.atomic():
            rows.lock_active(workspace_id)
        raise NotFound
    payload = dict(zip(("x", "y", "collapsed"), saved, strict=True))
    bus.after_commit(_broadcast, "LAYOUT_UPDATED", workspace_id, payload)


def places(workspace_ids: Collection[UUID]) -> dict[UUID, Place]:
    """The places of those that have one."""
    found = CanvasLayout.objects.filter(workspace_id__in=workspace_ids)
    return {row.workspace_id: Place(x=row.x, y=row.y, collapsed=row.collapsed) for row in found}


def place_all(wanted: Mapping[UUID, Place]) -> None:
    """Save and broadcast the places of workspaces that this transaction created."""
    CanvasLayout.objects.bulk_create(CanvasLayout(workspace_id=i, **vars(place)) for i, place in wanted.items())
    bus.after_commit(bus.publish, [bus.envelope("LAYOUT_UPDATED", i, vars(place)) for i, place in wanted.items()])


def viewport() -> dict[str, float]:
    """The saved viewport, or the origin at zoom 1."""
    row: Any = CanvasViewport.objects.values("x", "y", "zoom").first()
    return row or {"x": 0.0, "y": 0.0, "zoom": 1.0}


def save_viewport(*, x: float, y: float, zoom: float) -> None:
    """Save the viewport and broadcast it. Of two concurrent calls, the later one wins."""
    with transaction.atomic():
        values = {"x": x, "y": y, "zoom": zoom, "saved_at": clock.now()}
        if not CanvasViewport.objects.update(**values):
            CanvasViewport.objects.bulk_create([CanvasViewport(**values)], ignore_conflicts=True)
        payload = {"x": x, "y": y, "zoom": zoom}
        bus.after_commit(_broadcast, "VIEWPORT_UPDATED", None, payload)


def _broadcast(event: str, workspace_id: UUID | None, payload: dict[str, Any]) -> None:
    bus.publish([bus.envelope(event, workspace_id, payload)])
