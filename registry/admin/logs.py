"""The two logs, activity and structure events: read-only lists of any length that never run a count."""

from datetime import timedelta
from typing import Any
from uuid import UUID

from django.contrib import admin
from django.db.models import OuterRef, QuerySet, Subquery
from django.db.models.functions import Left
from django.template.loader import render_to_string
from django.utils.html import format_html
from django.utils.safestring import SafeString

from activity import clock
from activity.models import ActivityLog, ActivityType, EventType, StructureEvent
from registry.admin import formats
from registry.admin.bases import ReadOnlyAdmin
from registry.admin.events import event_summaries, timeline
from registry.admin.lists import log_filters
from registry.admin.lists.exports import Export
from registry.admin.lists.paging import KeysetChangeList
from registry.admin.workspace import calls
from registry.models import Workspace
from registry.structure import history

ERROR_LENGTH = 200
SEARCH_SPAN = timedelta(days=1)


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

    def heading(self, row: Any) -> str:
        """What the page of an entry is called."""
        raise NotImplementedError

    def render_change_form(self, request: Any, context: Any, *args: Any, **kwargs: Any) -> Any:
        heading = self.heading(context["original"])
        return super().render_change_form(request, {**context, "subtitle": heading}, *args, **kwargs)

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
    deferred = calls.LARGE
    empty_text = "No agent has reported anything yet."
    list_display = ["when", "outcome", "workspace", "kind", "short_summary", "duration", "error"]
    filter_bar = log_filters.ACTIVITY
    export = Export(
        columns=(
            "id", "created_at", "workspace_id", "workspace_name", "activity_type", "status", "method", "summary",
            "duration_ms", "error_detail", "source_id", "target_id",
        ),
        position=("created_at", "id"),
        is_large=True,
    )  # fmt: skip
    search_fields = ["summary"]
    search_help_text = "Words of the last day, or an id"
    fields = [
        "at", "workspace", "activity_type", "outcome", "method", "summary", "duration", "error_detail",
        "source", "target", "request_json", "response_json", "id",
    ]  # fmt: skip

    def get_queryset(self, request: Any) -> QuerySet[Any]:
        """With the beginning of the error, which may be long."""
        rows: QuerySet[Any] = super().get_queryset(request).annotate(error_start=Left("error_detail", ERROR_LENGTH))
        return rows

    def get_search_results(self, request: Any, queryset: QuerySet[Any], search_term: str) -> tuple[QuerySet[Any], bool]:
        if (workspace_id := _as_uuid(search_term)) is not None:
            return queryset.filter(workspace_id=workspace_id), False
        if search_term:
            queryset = queryset.filter(created_at__gte=clock.now() - SEARCH_SPAN)
        return super().get_search_results(request, queryset, search_term)

    def heading(self, row: ActivityLog) -> str:
        kind = str(ActivityType(row.activity_type).label)
        return f"{kind}: {row.method}" if row.method else kind

    @admin.display(description="status")
    def outcome(self, row: ActivityLog) -> SafeString:
        return calls.outcome(row)

    @admin.display(description="type")
    def kind(self, row: ActivityLog) -> SafeString:
        """The type, and the method below it."""
        method = format_html("<br><small>{}</small>", formats.short(row.method, 40)) if row.method else ""
        return format_html("{}{}", ActivityType(row.activity_type).label, method)

    @admin.display(description="error")
    def error(self, row: Any) -> SafeString:
        return formats.short(row.error_start, 80)

    @admin.display(description="summary")
    def short_summary(self, row: ActivityLog) -> SafeString:
        return formats.short(row.summary, 90)

    @admin.display(description="duration")
    def duration(self, row: ActivityLog) -> SafeString | str:
        return formats.duration(row.duration_ms) or formats.EMPTY

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


class AuditList(KeysetChangeList):
    """Adds a summary to each event of the page, without reading Agent Cards."""

    def get_queryset(self, request: Any, exclude_parameters: Any = None) -> QuerySet[Any]:
        return history.lean(super().get_queryset(request, exclude_parameters))

    def get_results(self, request: Any) -> None:
        super().get_results(request)
        rows = list(history.with_lean_payloads(self.result_list))
        for row, entry in zip(rows, timeline.entries(rows), strict=True):
            row.entry = entry  # type: ignore[attr-defined]


@admin.register(StructureEvent)
class StructureEventAdmin(LogAdmin):
    """The audit log, newest first."""

    labels = ("event", "audit log")
    empty_text = "Nothing has been changed yet."
    position = ("seq",)
    deferred = ("payload",)
    list_display = ["when", "what", "workspace", "actor_name", "type_code"]
    filter_bar = log_filters.EVENTS
    export = Export(
        columns=(
            "seq", "id", "created_at", "event_type", "workspace_id", "workspace_name", "actor", "agent_id", "target_id",
            "payload",
        ),
        position=("seq",),
        is_large=True,
    )  # fmt: skip
    search_fields = ["event_type"]
    search_help_text = "Event type, or a workspace id"
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

    def get_changelist(self, request: Any, **kwargs: Any) -> type[KeysetChangeList]:
        return AuditList

    def get_search_results(self, request: Any, queryset: QuerySet[Any], search_term: str) -> tuple[QuerySet[Any], bool]:
        if (workspace_id := _as_uuid(search_term)) is not None:
            return queryset.filter(workspace_id=workspace_id), False
        wanted = search_term.strip().upper().replace(" ", "_")
        return queryset.filter(event_type__in=[name for name in EventType.values if wanted in name]), False

    def heading(self, row: StructureEvent) -> str:
        return f"Event {row.seq}: {timeline.entries([row])[0].summary.title}"

    @admin.display(description="what happened")
    def what(self, row: Any) -> SafeString:
        """The event in words; see AuditList."""
        summary = row.entry.summary
        detail = (
            format_html('<small dir="auto">{}</small>', formats.short(summary.detail, 120)) if summary.detail else ""
        )
        return format_html("<strong>{}</strong> {}", summary.title, detail)

    @admin.display(description="actor")
    def actor_name(self, row: Any) -> SafeString:
        return formats.short(row.entry.actor, 30)

    @admin.display(description="type")
    def type_code(self, row: StructureEvent) -> SafeString:
        return format_html("<code>{}</code>", row.event_type)

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
