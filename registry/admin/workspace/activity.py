"""The tab of a workspace's activity: the activity log with its filters and pages, and one activity in full."""

from dataclasses import replace
from typing import Any
from uuid import UUID

from django.contrib import admin
from django.db.models import QuerySet
from django.shortcuts import get_object_or_404

from activity.models import ActivityLog
from registry.admin import formats
from registry.admin.lists import log_filters
from registry.admin.logs import ActivityLogAdmin
from registry.admin.workspace import calls
from registry.admin.workspace.visit import Visit

OF_ONE = replace(
    log_filters.ACTIVITY,
    controls=[
        one for one in log_filters.ACTIVITY.controls if one not in (log_filters.WORKSPACE, log_filters.WORKSPACE_ID)
    ],
)
"""The filter bar of the activity log, without what chooses the workspace."""


class WorkspaceActivity(ActivityLogAdmin):
    """The activity log of one workspace; not registered, as it has no pages of its own."""

    filter_bar = OF_ONE

    def __init__(self, workspace_id: UUID) -> None:
        super().__init__(ActivityLog, admin.site)
        self.workspace_id = workspace_id

    def get_queryset(self, request: Any) -> QuerySet[Any]:
        return super().get_queryset(request).filter(workspace_id=self.workspace_id)


def context(visit: Visit, entry_id: UUID | None = None) -> dict[str, Any]:
    """Raises NotOffered for a filter or a position that the list does not have, Http404 for an unknown activity."""
    found = WorkspaceActivity(visit.workspace.id).get_changelist_instance(visit.request)
    query = visit.request.GET.urlencode()
    return {
        "cl": found,
        "rows": calls.calls(found.result_list),
        "query": f"?{query}" if query else "",
        "chosen": _chosen(visit, entry_id) if entry_id else None,
    }


def _chosen(visit: Visit, entry_id: UUID) -> dict[str, Any]:
    row = get_object_or_404(ActivityLog, id=entry_id, workspace_id=visit.workspace.id)
    (call,) = calls.calls([row])
    bodies = (("Request", row.request_body), ("Response", row.response_body))
    return {
        "call": call,
        "at": formats.absolute(row.created_at),
        "bodies": [(title, formats.pretty(body)) for title, body in bodies if body is not None],
    }
