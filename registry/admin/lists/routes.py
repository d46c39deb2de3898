"""The names and addresses of a list and of the pages that belong to it."""

from collections.abc import Callable
from functools import partial
from typing import Any

from django.http import HttpResponse
from django.urls import URLPattern, path, reverse


def name(model_admin: Any) -> str:
    """What the names of a list's routes begin with, "registry_workspace"."""
    return f"{model_admin.opts.app_label}_{model_admin.opts.model_name}"


def url(model_admin: Any, page: str = "changelist", *arguments: Any) -> str:
    """The address of the list, or of one of its pages."""
    return reverse(f"admin:{name(model_admin)}_{page}", args=arguments)


def at(model_admin: Any, route: str, page: str, view: Callable[..., HttpResponse], *arguments: Any) -> URLPattern:
    """A page of the list for users of the admin. The view gets the arguments, the ModelAdmin and the request."""
    guarded: Callable[..., HttpResponse] = model_admin.admin_site.admin_view(partial(view, *arguments, model_admin))
    return path(route, guarded, name=f"{name(model_admin)}_{page}")
