"""Events with their summaries, as timelines show them."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlencode
from uuid import UUID

from django.urls import reverse
from django.utils.safestring import SafeString

from activity.models import StructureEvent
from activity.pages import Page
from registry.admin import formats
from registry.admin.events import event_summaries
from registry.admin.events.event_summaries import EventSummary
from registry.models import Workspace


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


def rows_of(page: Page) -> list[StructureEvent]:
    """The events of a page that activity.events.page() returned."""
    return [StructureEvent(**row | {"payload": json.loads(row["payload"] or "null")}) for row in page.rows]


def org_url(event: StructureEvent) -> str:
    """The canvas just after the event, focused on the event's workspace."""
    return canvas_at(event.seq, event.workspace_id)


def canvas_at(seq: int, workspace_id: UUID | None) -> str:
    """The canvas as it was at this position, focused on the workspace."""
    focus = {"ws": workspace_id} if workspace_id else {}
    return f"{reverse('canvas')}?{urlencode({'at': seq, **focus})}"
