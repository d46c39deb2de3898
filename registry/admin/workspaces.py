"""Workspaces: create, edit, retire. Every verb is an operation of registry.lifecycle."""

from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpResponse
from django.urls import URLPattern, path
from django.utils.html import format_html

from activity import events
from registry import credentials, lifecycle
from registry.admin import columns, formats, removal
from registry.admin.bases import OperatedAdmin, actor_of
from registry.admin.filters import Existence, Place
from registry.admin.forms import NewWorkspaceForm, WorkspaceForm
from registry.lifecycle import NewWorkspace
from registry.models import Agent, Status, Workspace

RECENT_EVENTS = 20
EDITABLE = ("name", "role", "tier", "runtime", "parent")
ON_CREATION = ("model", "external", "agent_url")
LIVE = (
    columns.status,
    columns.heartbeat,
    columns.error_rate,
    columns.sample_error,
    "active_tasks",
    columns.whole_task,
    columns.uptime,
)
REST = (
    columns.url,
    columns.card,
    columns.forwarded_to,
    "source_bundle_id",
    "id",
    columns.created,
    columns.updated,
)


@admin.register(Workspace)
class WorkspaceAdmin(OperatedAdmin):
    form = WorkspaceForm
    list_display = [
        columns.name,
        columns.status,
        "tier",
        columns.parent,
        columns.task,
        columns.heartbeat,
        columns.canvas,
    ]
    list_filter = [Existence, "status", Place, "tier", ("runtime", admin.AllValuesFieldListFilter)]
    list_select_related = ["parent"]
    search_fields = ["name", "role", "=id"]
    search_help_text = "Name, role, or a whole id."
    ordering = ["name", "created_at", "id"]
    actions = ["remove"]

    # --- Who may -------------------------------------------------------------------------------------

    def has_add_permission(self, request: Any) -> bool:
        """To act is one permission, as it is in the API."""
        return super().has_change_permission(request)

    def has_change_permission(self, request: Any, obj: Workspace | None = None) -> bool:
        return super().has_change_permission(request) and (obj is None or obj.status != Status.REMOVED)

    def has_delete_permission(self, request: Any, obj: Workspace | None = None) -> bool:
        """Retire, never delete."""
        return False

    # --- What is shown -------------------------------------------------------------------------------

    def get_queryset(self, request: Any) -> QuerySet[Workspace]:
        return super().get_queryset(request).defer("agent_card", "parent__agent_card")

    def get_search_results(self, request: Any, queryset: QuerySet[Any], search_term: str) -> tuple[QuerySet[Any], bool]:
        if request.resolver_match.url_name == "autocomplete":
            queryset = queryset.exclude(status=Status.REMOVED)
        return super().get_search_results(request, queryset, search_term)

    def get_fieldsets(self, request: Any, obj: Workspace | None = None) -> Any:
        if obj is None:
            return [(None, {"fields": EDITABLE}), ("Its agent", {"fields": ON_CREATION})]
        return [(None, {"fields": EDITABLE}), ("Live", {"fields": LIVE}), ("More", {"fields": REST})]

    def get_readonly_fields(self, request: Any, obj: Workspace | None = None) -> Any:
        return () if obj is None else LIVE + REST

    def get_form(self, request: Any, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        if obj is None:
            kwargs["form"] = NewWorkspaceForm
        return super().get_form(request, obj, change, **kwargs)

    def render_change_form(
        self,
        request: Any,
        context: Any,
        add: bool = False,
        change: bool = False,
        form_url: str = "",
        obj: Workspace | None = None,
    ) -> Any:
        if obj is not None:
            context |= _context_of(obj.id) | {"canvas_url": columns.canvas_url(obj)}
        return super().render_change_form(request, context, add, change, form_url, obj)

    # --- What is done --------------------------------------------------------------------------------

    def save_model(self, request: Any, obj: Workspace, form: Any, change: bool) -> None:
        if change:
            lifecycle.update(obj.id, form.changes, actor=actor_of(request))
            return
        lifecycle.create(NewWorkspace(**form.wanted), actor=actor_of(request), workspace_id=obj.id)
        messages.success(request, _enrolment(request, obj.id))

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.remove_view)
        return [path("remove/", view, name="registry_workspace_remove"), *super().get_urls()]

    def remove_view(self, request: Any) -> HttpResponse:
        return removal.page(self, request)

    @admin.action(description="Remove…", permissions=["change"])
    def remove(self, request: Any, queryset: QuerySet[Workspace]) -> HttpResponse:
        return removal.ask(self, request, list(queryset.values_list("id", flat=True)))


def _context_of(workspace_id: UUID) -> dict[str, Any]:
    return {
        "agents": Agent.objects.filter(workspace_id=workspace_id).order_by("-created_at"),
        "events": events.read(workspace_id=workspace_id, limit=RECENT_EVENTS).defer("payload"),
    }


def _enrolment(request: Any, workspace_id: UUID) -> str:
    return format_html(
        'Its enrolment token, shown once and good for {}: <code class="token">{}</code> '
        "The agent sends it as <code>Authorization: Bearer …</code> with its first "
        "<code>POST {}</code>, as workspace <code>{}</code>, and is answered its own token.",
        formats.span(settings.ENROLMENT_TOKEN_SECONDS),
        credentials.issue_enrolment_token(workspace_id),
        request.build_absolute_uri("/registry/register"),
        workspace_id,
    )
