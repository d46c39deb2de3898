"""The tabs of a workspace's page. A tab is shown only to those who may view its data."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias
from uuid import UUID

from django.contrib import messages
from django.contrib.admin import ModelAdmin
from django.core.exceptions import PermissionDenied
from django.http import HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.template.response import TemplateResponse

from registry.admin.lists.lookups import NOT_OFFERED, NotOffered
from registry.admin.workspace import access, activity, agent, events, files, overview, secrets, team
from registry.admin.workspace import visit as visits
from registry.admin.workspace.header import header
from registry.admin.workspace.visit import Visit
from registry.models import Workspace

Admin: TypeAlias = "ModelAdmin[Workspace]"
Context = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Tab:
    """`name`: of its route and its template. `permission`: needed beside the one to view workspaces.

    `context`: what the template shows, or an answer of another kind; None for Settings, which is Django's form.
    `post`: what its forms do; a dict is the context of the page that is shown instead of a redirect.
    """

    name: str
    label: str
    context: Callable[..., Context | HttpResponse] | None
    permission: str = ""
    post: Callable[[Visit], HttpResponse | Context] | None = None

    @property
    def template(self) -> str:
        return f"admin/registry/workspace/{self.name}.html"

    def is_visible(self, user: Any) -> bool:
        """Whether the user may view what it shows, apart from the workspace."""
        return not self.permission or user.has_perm(self.permission)


OVERVIEW = Tab(name="change", label="Overview", context=overview.context)
ACTIVITY = Tab(name="activity", label="Activity", context=activity.context, permission="activity.view_activitylog")
SETTINGS = Tab(name="settings", label="Settings", context=None)
TABS = (
    OVERVIEW,
    ACTIVITY,
    Tab(name="events", label="Events", context=events.context),
    Tab(name="files", label="Files", context=files.context, post=files.post),
    Tab(
        name="secrets",
        label="Secrets",
        context=secrets.context,
        permission="registry.view_workspacesecret",
        post=secrets.post,
    ),
    Tab(
        name="access",
        label="Access",
        context=access.context,
        permission="registry.view_workspacetoken",
        post=access.post,
    ),
    Tab(name="team", label="Team", context=team.context),
    Tab(name="agent", label="Agent", context=agent.context),
    SETTINGS,
)


def page(tab: Tab, model_admin: Admin, request: Any, workspace_id: UUID, **arguments: Any) -> HttpResponse:
    """One tab. Raises Http404, PermissionDenied."""
    visit = visits.begin(model_admin, request, workspace_id)
    if tab.context is None or not tab.is_visible(request.user):
        raise PermissionDenied
    try:
        shown = tab.context(visit, **arguments) if request.method != "POST" else _posted(tab, visit)
    except NotOffered:
        messages.warning(request, NOT_OFFERED)
        return HttpResponseRedirect(request.path)
    if isinstance(shown, HttpResponse):
        return shown
    context = {**visit.context(f"{visit.workspace} · {tab.label}"), **frame(tab, visit), **shown}
    return TemplateResponse(request, tab.template, context)


def frame(current: Tab, visit: Visit) -> Context:
    """The header and the tabs."""
    visible = [tab for tab in TABS if tab.is_visible(visit.request.user)]
    return {
        "header": header(visit),
        "tabs": [(tab.label, visit.url(tab.name), tab is current) for tab in visible],
    }


def _posted(tab: Tab, visit: Visit) -> HttpResponse | Context:
    return tab.post(visit) if tab.post else HttpResponseNotAllowed(["GET"])
