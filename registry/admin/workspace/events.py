"""The tab of a workspace's events, newest first, paged by `seq`."""

from typing import Any

from django.http import Http404

from activity import events
from activity.models import MAX_SEQ
from registry.admin.events import timeline
from registry.admin.workspace.visit import Visit

PAGE_SIZE = 50


def context(visit: Visit) -> dict[str, Any]:
    """At most PAGE_SIZE events, fewer if they are large. Raises Http404 for a position that is none."""
    before = _position(visit.request.GET.get("before"))
    found = events.page(workspace_id=visit.workspace.id, before=before, limit=PAGE_SIZE)
    return {
        "entries": timeline.entries(timeline.rows_of(found)),
        "before": before,
        "older": found.rows[-1]["seq"] if found.more else None,
    }


def _position(text: str | None) -> int | None:
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and int(text[:20]) <= MAX_SEQ):
        raise Http404
    return int(text)
