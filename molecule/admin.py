"""The admin site: Django's, with the product's name, overview and navigation."""

from collections.abc import Callable
from functools import update_wrapper
from typing import Any

from django.contrib import admin
from django.contrib.auth.forms import AuthenticationForm
from django.core.exceptions import PermissionDenied
from django.http import HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, reverse

from activity import clock
from molecule import navigation
from registry.identity import logins
from registry.organisation.attention import recent_counts

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
        """Tells users without staff status what they lack, where Django would show a login form. They may log out.

        A script gets 401 once the session has ended.
        """
        from registry.admin import live  # noqa: PLC0415  # registry.admin imports this site

        inner: Callable[..., HttpResponse] = super().admin_view(view, cacheable)

        def outer(request: Any, *args: Any, **kwargs: Any) -> HttpResponse:
            if not request.user.is_authenticated and live.is_in_background(request):
                return HttpResponse(status=401)
            if not request.user.is_authenticated or self.has_permission(request):
                live.note_position(request)
                return inner(request, *args, **kwargs)
            if request.path == reverse("admin:logout"):
                return self.logout(request)
            raise PermissionDenied(NOT_STAFF)

        return update_wrapper(outer, inner)

    def autocomplete_view(self, request: Any) -> Any:
        from registry.admin.widgets import WorkspaceChoices  # noqa: PLC0415  # registry.admin imports this site

        return WorkspaceChoices.as_view(admin_site=self)(request)

    def each_context(self, request: Any) -> dict[str, Any]:
        """Django's, without the list of all models with their permissions, which no page of ours shows."""
        from registry.admin import live  # noqa: PLC0415  # registry.admin imports this site

        own = {
            "site_title": self.site_title,
            "site_header": self.site_header,
            "site_url": self.site_url,
            "has_permission": self.has_permission(request),
            "is_popup": False,
            "is_nav_sidebar_enabled": self.enable_nav_sidebar,
            "server_time": clock.now().isoformat(),
            "navigation": navigation.groups(request.user),
            "palette": navigation.palette(request.user),
            "attention_count": recent_counts().count if request.user.has_perm("registry.view_workspace") else 0,
        }
        return own | live.context(request)

    def index(self, request: Any, extra_context: Any = None) -> TemplateResponse:
        """The overview; without the permission to view workspaces, a page that leads to what the user may see."""
        from molecule import system  # noqa: PLC0415  # it needs registry.admin, which imports this site
        from registry.admin import overview  # noqa: PLC0415  # registry.admin imports this site

        own = overview.context() if request.user.has_perm("registry.view_workspace") else {}
        if request.user.has_perm(navigation.SYSTEM_PERMISSION):
            own |= system.card()
        context = {**self.each_context(request), "title": "Overview", "subtitle": None, **own, **(extra_context or {})}
        return TemplateResponse(request, "admin/index.html", context)

    def app_index(self, request: Any, app_label: str, extra_context: Any = None) -> Any:
        """The navigation has all lists; applications have no pages of their own."""
        return HttpResponseRedirect(reverse("admin:index"))

    def get_urls(self) -> list[Any]:
        from registry.admin.sources import templates  # noqa: PLC0415  # registry.admin imports this site

        own = [
            path("templates/", self.admin_view(templates.listing), name="templates"),
            path("templates/agent/<str:template_id>/", self.admin_view(templates.template), name="template"),
            path("templates/organisation/<str:folder>/", self.admin_view(templates.organisation), name="org_template"),
            path("system/", self.admin_view(self.system), name="system"),
            path("system/prune/", self.admin_view(self.prune), name="system_prune"),
        ]
        return [*own, *super().get_urls()]

    def system(self, request: Any) -> HttpResponse:
        from molecule import system  # noqa: PLC0415  # it needs registry.admin, which imports this site

        return system.page(request, self.each_context(request))

    def prune(self, request: Any) -> HttpResponse:
        from molecule import system  # noqa: PLC0415  # it needs registry.admin, which imports this site

        return system.prune(request, self.each_context(request))

    def login(self, request: Any, extra_context: Any = None) -> HttpResponse:
        response = super().login(request, extra_context)
        if request.method == "POST" and request.user.is_authenticated:
            logins.remember_browser(request, response)
        return response
