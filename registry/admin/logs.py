"""The two logs, activity and structure events: read-only lists of any length that never run a count."""

from datetime import timedelta
from typing import Any
from uuid import UUID

from django.contrib import admin
from django.db.models import OuterRef, QuerySet, Subquery, TextField
from django.db.models.functions import Cast, Left
from django.template.loader import render_to_string
from django.utils.html import format_html
from django.utils.safestring import SafeString

from activity import clock
from activity.models import ActivityLog, ActivityStatus, EventType, StructureEvent
from registry.admin import event_summaries, formats, timeline
from registry.admin.bases import ReadOnlyAdmin
from registry.admin.log_filters import ActorFilter, TimeFilter, WorkspaceFilter
from registry.admin.paging import KeysetChangeList
from registry.models import Status, Workspace

EXCERPT_LENGTH = 160
SEARCH_SPAN = timedelta(days=1)
STATUS_TONES = {
    ActivityStatus.OK: Status.ONLINE,
    ActivityStatus.ERROR: Status.FAILED,
    ActivityStatus.TIMEOUT: Status.DEGRADED,
}


class LogAdmin(ReadOnlyAdmin):
    """`position` orders the list (see KeysetChangeList); `deferred` columns are read by the detail page only."""

    position: tuple[str, ...]
    deferred: tuple[str, ...]
    sortable_by = ()
    list_per_page = 50

    def get_changelist(self, request: Any, **kwargs: Any) -> type[KeysetChangeList]:
        return KeysetChangeList

    def get_queryset(self, request: Any) -> QuerySet[Any]:
        names = Workspace.objects.filter(id=OuterRef("workspace_id")).values("name")
        rows: QuerySet[Any] = super().get_queryset(request).annotate(workspace_name=Subquery(names))
        return rows

    @admin.display(description="when")
    def when(self, row: Any) -> SafeString:
        return formats.relative(row.created_at)

    @admin.display(description="workspace")
    def workspace(self, row: Any) -> SafeString:
        return formats.workspace_link(row.workspace_id, row.workspace_name)

    @admin.display(description="time")
    def at(self, row: Any) -> SafeString:
        return formats.absolute(row.created_at)


@admin.register(ActivityLog)
class ActivityLogAdmin(LogAdmin):
    """What agents reported, newest first."""

    position = ("created_at", "id")
    deferred = ("request_body", "response_body", "error_detail")
    list_display = ["when", "workspace", "activity_type", "outcome", "method", "short_summary", "duration"]
    list_filter = [WorkspaceFilter, TimeFilter, "activity_type", "status"]
    search_fields = ["summary"]
    search_help_text = "A workspace id, or words in the summaries of the last day."
    fields = [
        "at", "workspace", "activity_type", "outcome", "method", "summary", "duration", "error_detail",
        "source", "target", "request_json", "response_json", "id",
    ]  # fmt: skip

    def get_search_results(self, request: Any, queryset: QuerySet[Any], search_term: str) -> tuple[QuerySet[Any], bool]:
        if (workspace_id := _as_uuid(search_term)) is not None:
            return queryset.filter(workspace_id=workspace_id), False
        if search_term:
            queryset = queryset.filter(created_at__gte=clock.now() - SEARCH_SPAN)
        return super().get_search_results(request, queryset, search_term)

    @admin.display(description="status")
    def outcome(self, row: ActivityLog) -> SafeString:
        return formats.badge(STATUS_TONES[ActivityStatus(row.status)], row.status)

    @admin.display(description="summary")
    def short_summary(self, row: ActivityLog) -> SafeString:
        return formats.short(row.summary, 90)

    @admin.display(description="duration")
    def duration(self, row: ActivityLog) -> SafeString | str:
        return formats.EMPTY if row.duration_ms is None else f"{row.duration_ms:,} ms"

    @admin.display(description="source")
    def source(self, row: ActivityLog) -> SafeString:
        return _link_by_id(row.source_id)

    @admin.display(description="target")
    def target(self, row: ActivityLog) -> SafeString:
        return _link_by_id(row.target_id)

    @admin.display(description="request")
    def request_json(self, row: ActivityLog) -> SafeString:
        return formats.pretty(row.request_body)

    @admin.display(description="response")
    def response_json(self, row: ActivityLog) -> SafeString:
        return formats.pretty(row.response_body)


@admin.register(StructureEvent)
class StructureEventAdmin(LogAdmin):
    """The audit log, newest first."""

    labels = ("event", "audit log")
    position = ("seq",)
    deferred = ("payload",)
    list_display = ["seq", "when", "event_type", "workspace", "actor_name", "details_excerpt"]
    list_filter = [WorkspaceFilter, ActorFilter, TimeFilter, "event_type"]
    search_fields = ["event_type"]
    search_help_text = "A workspace id, or part of an event type."
    fields = [
        "seq",
        "at",
        "event_type",
        "workspace",
        "actor_in_full",
        "summary",
        "org",
        "details",
        "agent_id",
        "target_id",
        "id",
    ]

    def get_queryset(self, request: Any) -> QuerySet[Any]:
        payload_excerpt = Left(Cast("payload", TextField()), EXCERPT_LENGTH)
        rows: QuerySet[Any] = super().get_queryset(request).annotate(payload_excerpt=payload_excerpt)
        return rows

    def get_search_results(self, request: Any, queryset: QuerySet[Any], search_term: str) -> tuple[QuerySet[Any], bool]:
        if (workspace_id := _as_uuid(search_term)) is not None:
            return queryset.filter(workspace_id=workspace_id), False
        wanted = search_term.strip().upper().replace(" ", "_")
        return queryset.filter(event_type__in=[name for name in EventType.values if wanted in name]), False

    @admin.display(description="actor")
    def actor_name(self, row: StructureEvent) -> SafeString:
        return formats.short(event_summaries.actor_label(row.actor, row.workspace_id, {}), 30)

    @admin.display(description="actor")
    def actor_in_full(self, row: StructureEvent) -> str:
        """The name and the actor, whose id tells users with the same name apart: "ada (operator:ada#7)"."""
        name = event_summaries.actor_label(row.actor, row.workspace_id, {})
        return name if name == row.actor else f"{name} ({row.actor})"

    @admin.display(description="summary")
    def summary(self, row: StructureEvent) -> SafeString:
        return render_to_string("admin/activity/event_summary.html", {"entry": timeline.entries([row])[0]})

    @admin.display(description="canvas")
    def org(self, row: StructureEvent) -> SafeString:
        return formats.link(timeline.org_url(row), "Org at this moment")

    @admin.display(description="details")
    def details_excerpt(self, row: Any) -> SafeString:
        if not row.payload_excerpt:
            return formats.EMPTY
        return format_html('<code class="excerpt">{}</code>', row.payload_excerpt)

    @admin.display(description="details")
    def details(self, row: StructureEvent) -> SafeString:
        return formats.pretty(row.payload)


def _link_by_id(workspace_id: UUID | None) -> SafeString:
    if workspace_id is None:
        return formats.EMPTY
    name = Workspace.objects.filter(id=workspace_id).values_list("name", flat=True).first()
    return formats.workspace_link(workspace_id, name)


def _as_uuid(text: str) -> UUID | None:
    try:
        return UUID(text.strip())
    except ValueError:
        return None
