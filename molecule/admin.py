"""The admin site: Django's, with the product's name and the order of its index."""

from collections.abc import Callable
from functools import update_wrapper
from typing import Any

from django.contrib import admin
from django.contrib.auth.forms import AuthenticationForm
from django.core.exceptions import PermissionDenied
from django.http import HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse

from activity import clock
from molecule import navigation
from registry.identity import logins

# In the order in which operators need them; others follow, sorted by name.
APPS = ("registry", "activity", "auth")
MODELS = (
    "Workspace",
    "Agent",
    "WorkspaceSecret",
    "GlobalSecret",
    "SecretAccess",
    "WorkspaceToken",
    "OperatorToken",
    "LoopTick",
)


NOT_STAFF = (
    "The admin is for accounts with staff status. Ask an administrator to set “Staff status” on yours. "
    "You can use the canvas if you are in one of the groups."
)


class MoleculeAdminSite(admin.AdminSite):
    site_title = "Molecule"
    site_header = "Molecule"
    site_url = None  # the top bar leads to the canvas
    enable_nav_sidebar = False  # templates/admin/navigation.html is ours
    login_form = AuthenticationForm  # the canvas is for users who are not staff, too

    def admin_view(self, view: Any, cacheable: bool = False) -> Any:
        """Tells users without staff status what they lack, where Django would show a login form. They may log out."""
        inner: Callable[..., HttpResponse] = super().admin_view(view, cacheable)

        def outer(request: Any, *args: Any, **kwargs: Any) -> HttpResponse:
            if not request.user.is_authenticated or self.has_permission(request):
                return inner(request, *args, **kwargs)
            if request.path == reverse("admin:logout"):
                return self.logout(request)
            raise PermissionDenied(NOT_STAFF)

        return update_wrapper(outer, inner)

    def autocomplete_view(self, request: Any) -> Any:
        from registry.admin.widgets import WorkspaceChoices  # noqa: PLC0415  # registry.admin imports this site

        return WorkspaceChoices.as_view(admin_site=self)(request)

    def each_context(self, request: Any) -> dict[str, Any]:
        own = {"server_time": clock.now().isoformat(), "navigation": navigation.groups(request.user)}
        return super().each_context(request) | own

    def index(self, request: Any, extra_context: Any = None) -> TemplateResponse:
        """The overview; without the permission to view workspaces, a page that leads to what the user may see."""
        from registry.admin import overview  # noqa: PLC0415  # registry.admin imports this site

        own = overview.context() if request.user.has_perm("registry.view_workspace") else {}
        return super().index(request, {"title": "Overview", **own, **(extra_context or {})})

    def login(self, request: Any, extra_context: Any = None) -> HttpResponse:
        response = super().login(request, extra_context)
        if request.method == "POST" and request.user.is_authenticated:
            logins.remember_browser(request, response)
        return response

    def get_app_list(self, request: Any, app_label: str | None = None) -> list[Any]:
        apps = super().get_app_list(request, app_label)
        for app in apps:
            app["models"].sort(key=lambda model: _rank(MODELS, model["object_name"]))
        return sorted(apps, key=lambda app: _rank(APPS, app["app_label"]))


def _rank(names: tuple[str, ...], name: str) -> int:
    return names.index(name) if name in names else len(names)
