"""Buttons on a workspace's page that act at once: one operation, then back to the page with what was done."""

from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.contrib.admin import ModelAdmin
from django.http import HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect

from activity.events import latest_seq
from registry.admin.actions import undoing
from registry.admin.workspace.visit import url
from registry.exceptions import RegistryError
from registry.models import Workspace


def press(
    model_admin: "ModelAdmin[Workspace]", request: Any, workspace: Workspace, operation: Callable[[], tuple[str, str]]
) -> HttpResponse:
    """POST only. `operation` returns what to say and what to log, or raises RegistryError, whose message is shown."""
    if request.method != "POST":
        return HttpResponseNotAllowed(["POST"])
    position = latest_seq()
    try:
        done, logged = operation()
    except RegistryError as error:
        messages.error(request, error.message)
    else:
        model_admin.log_change(request, workspace, logged)
        undoing.say(request, done, [workspace.id], position)
    return HttpResponseRedirect(url("change", workspace))
