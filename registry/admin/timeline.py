"""A workspace's timeline: summaries of its events, newest first, paged by `seq`."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.contrib.admin import ModelAdmin
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.safestring import SafeString

from activity import events
from activity.models import StructureEvent
from activity.pages import Page
from registry.admin import event_summaries, formats
from registry.admin.event_summaries import EventSummary
from registry.models import Workspace

RECENT_SIZE, PAGE_SIZE = 20, 50
TEMPLATE = "admin/registry/workspace/timeline.html"
MAX_SEQ = 2**63 - 1


@dataclass(frozen=True, kw_only=True)
class Entry:
    """An event with its summary, as the template shows it."""

    event: StructureEvent
    actor: str
    summary: EventSummary
    workspace_name: str | None = None

    @property
    def when(self) -> SafeString:
        return formats.relative(self.event.created_at)

    @property
    def workspace_link(self) -> SafeString | None:
        return formats.workspace_link(self.event.workspace_id, self.workspace_name) if self.event.workspace_id else None

    @property
    def org_url(self) -> str:
        return org_url(self.event)


def entries(rows: Sequence[StructureEvent]) -> list[Entry]:
    """Runs one query, for the names of all workspaces that the events mention."""
    ids = {one for row in rows for one in event_summaries.mentioned_workspaces(row)}
    ids |= {row.workspace_id for row in rows if row.workspace_id}
    names = dict(Workspace.objects.filter(id__in=ids).values_list("id", "name")) if ids else {}
    return [
        Entry(
            event=row,
            actor=event_summaries.actor_label(row.actor, row.workspace_id, names),
            summary=event_summaries.summarize(row, names),
            workspace_name=names.get(row.workspace_id) if row.workspace_id else None,
        )
        for row in rows
    ]


def recent(workspace_id: UUID) -> list[Entry]:
    """Returns the last RECENT_SIZE events, fewer if they are large."""
    return entries(rows_of(events.page(workspace_id=workspace_id, limit=RECENT_SIZE)))


def page(model_admin: "ModelAdmin[Workspace]", request: Any, workspace_id: UUID) -> HttpResponse:
    """The page of all events of a workspace, at most PAGE_SIZE at a time. Raises Http404, PermissionDenied."""
    workspace = get_object_or_404(Workspace.objects.defer("agent_card"), id=workspace_id)
    if not model_admin.has_view_permission(request, workspace):
        raise PermissionDenied
    before = _position(request.GET.get("before"))
    found = events.page(workspace_id=workspace_id, before=before, limit=PAGE_SIZE)
    context = {
        **model_admin.admin_site.each_context(request),
        "title": f"Timeline of {workspace}",
        "opts": model_admin.opts,
        "media": model_admin.media,
        "original": workspace,
        "entries": entries(rows_of(found)),
        "before": before,
        "older": found.rows[-1]["seq"] if found.more else None,
    }
    return TemplateResponse(request, TEMPLATE, context)


def rows_of(page: Page) -> list[StructureEvent]:
    """The events of a page that activity.events.page() returned."""
    return [StructureEvent(**row | {"payload": json.loads(row["payload"] or "null")}) for row in page.rows]


def org_url(event: StructureEvent) -> str:
    """The canvas just after the event, focused on the event's workspace."""
    focus = {"ws": event.workspace_id} if event.workspace_id else {}
    return f"{reverse('canvas')}?{urlencode({'at': event.seq, **focus})}"


def _position(text: str | None) -> int | None:
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and int(text[:20]) <= MAX_SEQ):
        raise Http404
    return int(text)
