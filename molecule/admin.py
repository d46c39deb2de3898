"""The admin site: Django's, with the product's name and the order of its index."""

from typing import Any

from django.contrib import admin
from django.http import HttpResponse

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


class MoleculeAdminSite(admin.AdminSite):
    site_title = "Molecule"
    site_header = "Molecule"
    index_title = "Administration"
    site_url = None  # base_site.html links to the canvas

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
