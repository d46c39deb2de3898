"""Workspaces: list, create and edit. Everything that changes one is an operation of the registry."""

from collections.abc import Callable
from functools import partial
from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.core.validators import EMPTY_VALUES
from django.db.models import QuerySet
from django.http import Http404, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.views.generic import RedirectView

from activity.events import latest_seq
from registry.admin.actions import confirmation, undoing
from registry.admin.bases import OperationAdmin, actor_of
from registry.admin.forms import NewWorkspaceForm, WorkspaceForm
from registry.admin.lists import columns
from registry.admin.lists.filters import WORKSPACES
from registry.admin.lists.lookups import is_searchable
from registry.admin.lists.workspace_list import EXPORT, LIST_COLUMNS, WorkspaceList
from registry.admin.sources import imports
from registry.admin.widgets import NO_SUCH_WORKSPACE
from registry.admin.workspace import connect, copies, dialogs, renaming, revealing, tabs, teams
from registry.admin.workspace import visit as visits
from registry.config import templates
from registry.config.blueprints import Blueprint
from registry.models import Status, Workspace
from registry.organisation import filters, verbs, workspaces

EDITABLE_FIELDS = ("name", "role", "tier", "runtime", "parent")
NEW_FIELDS = ("template", *EDITABLE_FIELDS)
CREATION_FIELDS = ("model", "external", "agent_url")
DETAIL_FIELDS = ("id", "source_bundle_id", columns.created, columns.updated)
BULK_VERBS = (verbs.PAUSE, verbs.RESUME, verbs.RESTART, verbs.MOVE, verbs.REMOVE)


@admin.register(Workspace)
class WorkspaceAdmin(OperationAdmin):
    """Workspaces: the list, the form, and the verbs."""

    form = WorkspaceForm
    change_form_template = "admin/registry/workspace/settings.html"
    add_form_template = "admin/registry/workspace/add.html"
    list_display = LIST_COLUMNS
    filter_bar = WORKSPACES
    export = EXPORT
    search_fields = ["name", "role", "=id"]
    search_help_text = "Name, role or id"
    add_label = "Create"
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
        return super().get_queryset(request).defer("agent_card")

    def get_changelist(self, request: Any, **kwargs: Any) -> type[WorkspaceList]:
        return WorkspaceList

    def get_search_results(self, request: Any, queryset: QuerySet[Any], search_term: str) -> tuple[QuerySet[Any], bool]:
        """As in REST."""
        if request.resolver_match.url_name == "autocomplete":
            queryset = queryset.exclude(status=Status.REMOVED)
        return (filters.search(queryset, search_term) if is_searchable(search_term) else queryset.none()), False

    def get_fieldsets(self, request: Any, obj: Workspace | None = None) -> Any:
        if obj is None:
            return [(None, {"fields": NEW_FIELDS}), ("Agent", {"fields": CREATION_FIELDS})]
        edited = EDITABLE_FIELDS if self.has_change_permission(request, obj) else _not_empty(EDITABLE_FIELDS, obj)
        return [(None, {"fields": edited}), ("Details", {"fields": _not_empty(DETAIL_FIELDS, obj)})]

    def get_readonly_fields(self, request: Any, obj: Workspace | None = None) -> Any:
        return () if obj is None else DETAIL_FIELDS

    def get_form(self, request: Any, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        if obj is None:
            kwargs["form"] = NewWorkspaceForm
        return super().get_form(request, obj, change, **kwargs)

    def changelist_view(self, request: Any, extra_context: Any = None) -> HttpResponse:
        pages = {"create_url": "add", "import_url": "import"} if self.has_add_permission(request) else {}
        urls = {name: reverse(f"admin:registry_workspace_{page}") for name, page in pages.items()}
        return super().changelist_view(request, {**urls, **(extra_context or {})})

    def add_view(self, request: Any, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        return super().add_view(request, form_url, {"title": "Create workspace", **(extra_context or {})})

    def change_view(self, request: Any, object_id: str, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        """The workspace's first tab; Django's form is at `settings/`."""
        try:
            return tabs.page(tabs.OVERVIEW, self, request, _id(object_id))
        except Http404:
            messages.warning(request, NO_SUCH_WORKSPACE)
            return HttpResponseRedirect(reverse("admin:registry_workspace_changelist"))

    def settings_view(self, request: Any, workspace_id: UUID) -> HttpResponse:
        """The last tab: Django's form."""
        visit = visits.begin(self, request, workspace_id)
        shown = {**tabs.frame(tabs.SETTINGS, visit), "title": f"{visit.workspace} · {tabs.SETTINGS.label}"}
        return self.changeform_view(request, str(workspace_id), "", shown)

    # --- Operations ----------------------------------------------------------------------------------

    def save_model(self, request: Any, obj: Workspace, form: Any, change: bool) -> None:
        if change:
            request.before_change = latest_seq()
            workspaces.update(obj.id, form.changes, actor=actor_of(request))
            return
        wanted = Blueprint(**form.creation_values)
        request.created = templates.create(wanted, parent_id=form.parent_id, actor=actor_of(request))
        obj.id = request.created.workspace_id

    def response_add(self, request: Any, obj: Workspace, post_url_continue: str | None = None) -> HttpResponse:
        """Redirects, so that a reload creates nothing, to the page that shows the enrolment token once."""
        messages.success(request, f"Created {copies.described(request.created)}.")
        return connect.issue(request, obj.id)

    def response_change(self, request: Any, obj: Workspace) -> HttpResponse:
        """Returns to the form."""
        undoing.say(request, f"Saved the settings of {obj}.", [obj.id], request.before_change)
        return HttpResponseRedirect(visits.url(tabs.SETTINGS.name, obj))

    def history_view(self, request: Any, object_id: str, extra_context: Any = None) -> HttpResponse:
        """Redirects to the events, which have the changes made outside the admin as well."""
        return HttpResponseRedirect(reverse("admin:registry_workspace_events", args=[_id(object_id)]))

    def get_urls(self) -> list[URLPattern]:
        def at(route: str, name: str, view: Callable[..., HttpResponseBase]) -> URLPattern:
            return path(route, self.admin_site.admin_view(view), name=f"registry_workspace_{name}")

        def of_one(route: str, name: str, view: Callable[..., HttpResponseBase]) -> URLPattern:
            return at(f"<uuid:workspace_id>/{route}/", name, view)

        own_routes = (tabs.OVERVIEW, tabs.SETTINGS)
        shown = [tab for tab in tabs.TABS if tab not in own_routes]
        return [
            *(at(f"{verb.name}/", verb.name, partial(confirmation.page, verb, self)) for verb in verbs.VERBS),
            at("undo/", "undo", partial(undoing.page, self)),
            at("import/", "import", partial(imports.page, self)),
            *(of_one(one.name, one.name, partial(dialogs.page, one, self)) for one in dialogs.DIALOGS),
            *(of_one(tab.name, tab.name, partial(tabs.page, tab, self)) for tab in shown),
            of_one("activity/<uuid:entry_id>", "activity", partial(tabs.page, tabs.ACTIVITY, self)),
            of_one("settings", "settings", self.settings_view),
            of_one("expand", "expand", partial(teams.page, self)),
            of_one("connect", "connect", partial(connect.page, self)),
            of_one("bundle", "bundle", partial(copies.export, self)),
            of_one("duplicate", "duplicate", partial(copies.duplicate, self)),
            of_one("rename", "rename", partial(renaming.page, self)),
            of_one("reveal", "reveal", partial(revealing.page, self)),
            of_one(
                "timeline",
                "timeline",
                RedirectView.as_view(pattern_name="admin:registry_workspace_events", query_string=True),
            ),
            of_one("enrol", "enrol", RedirectView.as_view(pattern_name="admin:registry_workspace_connect")),
            *super().get_urls(),
        ]


def _id(object_id: str) -> UUID:
    """The id in Django's own addresses. Raises Http404 for what is none."""
    try:
        return UUID(unquote(object_id))
    except ValueError:
        raise Http404 from None


def _not_empty(fields: tuple[Any, ...], workspace: Workspace) -> list[Any]:
    return [field for field in fields if callable(field) or getattr(workspace, field) not in EMPTY_VALUES]
