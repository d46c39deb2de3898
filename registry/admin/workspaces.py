"""Workspaces: list, create and edit. Everything that changes one is an operation of the registry."""

from collections.abc import Callable
from functools import partial
from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.db.models import QuerySet
from django.forms import Media
from django.http import Http404, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path, reverse

from registry.admin import (
    columns,
    confirmation,
    dialogs,
    enrolment,
    formats,
    renaming,
    revealing,
    teams,
    timeline,
    toolbar,
    verbs,
)
from registry.admin.bases import OperationAdmin, actor_of
from registry.admin.filters import FlappingFilter, PositionFilter, StateFilter, StatusFilter
from registry.admin.forms import NewWorkspaceForm, WorkspaceForm
from registry.admin.superseded import WorkspaceList
from registry.identity.tokens import principal_for_user
from registry.models import Agent, Status, Workspace
from registry.organisation import workspaces
from registry.organisation.workspaces import NewWorkspace

MAX_AGENTS = 50
EDITABLE_FIELDS = ("name", "role", "tier", "runtime", "parent")
CREATION_FIELDS = ("model", "external", "agent_url")
LIVE_FIELDS = (
    columns.state,
    columns.refusals,
    columns.flapping,
    columns.heartbeat,
    columns.error_rate,
    columns.sample_error,
    "active_tasks",
    columns.full_task,
    columns.uptime,
)
DETAIL_FIELDS = (
    columns.url,
    columns.card_name,
    columns.card_problems,
    columns.card,
    columns.forwarded_to,
    "source_bundle_id",
    "id",
    columns.created,
    columns.updated,
)
OPTIONAL_FIELDS = (columns.refusals, columns.card_name, columns.card_problems)
"""Left out where they are empty."""
BULK_VERBS = (verbs.PAUSE, verbs.RESUME, verbs.REMOVE)


@admin.register(Workspace)
class WorkspaceAdmin(OperationAdmin):
    """Workspaces: the list, the form, and the verbs."""

    form = WorkspaceForm
    list_display = [
        columns.name,
        columns.status_in_list,
        "tier",
        columns.parent,
        columns.task,
        columns.heartbeat,
        columns.canvas,
    ]
    list_filter = [
        StateFilter,
        ("status", StatusFilter),
        FlappingFilter,
        PositionFilter,
        "tier",
        ("runtime", admin.AllValuesFieldListFilter),
    ]
    list_select_related = ["parent"]
    search_fields = ["name", "role", "=id"]
    search_help_text = "Name, role, or a whole id."
    ordering = ["name", "created_at", "id"]
    actions = [confirmation.action(verb) for verb in BULK_VERBS]

    # --- Permissions ---------------------------------------------------------------------------------

    def has_add_permission(self, request: Any) -> bool:
        """Creating and changing are one permission, as in the API."""
        return super().has_change_permission(request)

    def has_change_permission(self, request: Any, obj: Workspace | None = None) -> bool:
        return super().has_change_permission(request) and (obj is None or obj.status != Status.REMOVED)

    def has_delete_permission(self, request: Any, obj: Workspace | None = None) -> bool:
        """Workspaces are removed by an operation; their rows are never deleted."""
        return False

    # --- Pages ---------------------------------------------------------------------------------------

    def get_queryset(self, request: Any) -> QuerySet[Workspace]:
        return super().get_queryset(request).defer("agent_card", "parent__agent_card")

    def get_changelist(self, request: Any, **kwargs: Any) -> type[WorkspaceList]:
        return WorkspaceList

    def get_search_results(self, request: Any, queryset: QuerySet[Any], search_term: str) -> tuple[QuerySet[Any], bool]:
        if request.resolver_match.url_name == "autocomplete":
            queryset = queryset.exclude(status=Status.REMOVED)
        return super().get_search_results(request, queryset, search_term)

    def get_fieldsets(self, request: Any, obj: Workspace | None = None) -> Any:
        if obj is None:
            return [(None, {"fields": EDITABLE_FIELDS}), ("Agent", {"fields": CREATION_FIELDS})]
        return [
            (None, {"fields": EDITABLE_FIELDS}),
            ("Current state", {"fields": _shown(LIVE_FIELDS, obj)}),
            ("Details", {"fields": _shown(DETAIL_FIELDS, obj)}),
        ]

    def get_readonly_fields(self, request: Any, obj: Workspace | None = None) -> Any:
        return () if obj is None else LIVE_FIELDS + DETAIL_FIELDS

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
        context["hide_history"] = True  # the timeline is linked
        if obj is not None:
            context |= _context_of(
                obj,
                context["media"],
                may_act=super().has_change_permission(request),
                may_reveal=principal_for_user(request.user).may_reveal,
            )
        return super().render_change_form(request, context, add, change, form_url, obj)

    # --- Operations ----------------------------------------------------------------------------------

    def save_model(self, request: Any, obj: Workspace, form: Any, change: bool) -> None:
        if change:
            workspaces.update(obj.id, form.changes, actor=actor_of(request))
            return
        workspaces.create(NewWorkspace(**form.creation_values), actor=actor_of(request), workspace_id=obj.id)

    def response_add(self, request: Any, obj: Workspace, post_url_continue: str | None = None) -> HttpResponse:
        """Redirects, so that a reload creates nothing, to the page that shows the enrolment token once."""
        messages.success(request, f"Created {obj}.")
        return enrolment.issue(request, obj.id)

    def history_view(self, request: Any, object_id: str, extra_context: Any = None) -> HttpResponse:
        """Redirects to the timeline, which has the changes made outside the admin as well."""
        try:
            return HttpResponseRedirect(reverse("admin:registry_workspace_timeline", args=[UUID(unquote(object_id))]))
        except ValueError:
            raise Http404 from None

    def get_urls(self) -> list[URLPattern]:
        def at(route: str, name: str, view: Callable[..., HttpResponse]) -> URLPattern:
            return path(route, self.admin_site.admin_view(view), name=f"registry_workspace_{name}")

        return [
            *(at(f"{verb.name}/", verb.name, partial(confirmation.page, verb, self)) for verb in verbs.VERBS),
            *(
                at(f"<uuid:workspace_id>/{one.name}/", one.name, partial(dialogs.page, one, self))
                for one in dialogs.DIALOGS
            ),
            at("<uuid:workspace_id>/expand/", "expand", partial(teams.page, self)),
            at("<uuid:workspace_id>/enrol/", "enrol", partial(enrolment.page, self)),
            at("<uuid:workspace_id>/rename/", "rename", partial(renaming.page, self)),
            at("<uuid:workspace_id>/reveal/", "reveal", partial(revealing.page, self)),
            at("<uuid:workspace_id>/timeline/", "timeline", partial(timeline.page, self)),
            *super().get_urls(),
        ]


def _shown(fields: tuple[Any, ...], workspace: Workspace) -> list[Any]:
    return [field for field in fields if field not in OPTIONAL_FIELDS or field(workspace) != formats.EMPTY]


def _context_of(workspace: Workspace, media: Media, *, may_act: bool, may_reveal: bool) -> dict[str, Any]:
    history = list(Agent.objects.filter(workspace=workspace).order_by("status", "-created_at")[:MAX_AGENTS])
    available = dialogs.available(workspace, history) if may_act else []
    return {
        "canvas_url": columns.canvas_url(workspace),
        "agents": history,
        "buttons": toolbar.buttons(workspace, may_reveal=may_reveal) if may_act else [],
        "dialogs": available,
        "entries": timeline.recent(workspace.id),
        "media": sum((one.form.media for one in available), start=media),
    }
