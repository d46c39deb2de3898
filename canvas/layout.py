"""Where things lie on the canvas: presentational, broadcast, never recorded as structure."""

from typing import Any
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from activity import bus
from canvas.models import CanvasLayout, CanvasViewport
from registry.rows import lock_living


def place(workspace_id: UUID, **changes: Any) -> None:
    """Keep x and y, collapsed, or all of them, and tell every canvas. Raises NotFound, Removed."""
    with transaction.atomic():
        # The lock keeps a removal from racing us: its layout is gone for good.
        lock_living(workspace_id)
        layout, _created = CanvasLayout.objects.update_or_create(workspace_id=workspace_id, defaults=changes)
        payload = {"x": layout.x, "y": layout.y, "collapsed": layout.collapsed}
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
