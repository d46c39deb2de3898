"""The button that renames a workspace as its Agent Card is named."""

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.contrib.admin import ModelAdmin
from django.core.exceptions import PermissionDenied
from django.http import HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import reverse

from registry.admin.bases import actor_of
from registry.exceptions import RegistryError
from registry.models import Workspace
from registry.organisation import workspaces


def page(model_admin: "ModelAdmin[Workspace]", request: Any, workspace_id: UUID) -> HttpResponse:
    """Rename it and redirect to the workspace's page. POST only."""
    workspace = get_object_or_404(Workspace, id=workspace_id)
    if not model_admin.has_change_permission(request, workspace):
        raise PermissionDenied
    if request.method != "POST":
        return HttpResponseNotAllowed(["POST"])
    try:
        name = workspaces.take_card_name(workspace_id, actor=actor_of(request))
    except RegistryError as error:
        messages.error(request, error.message)
    else:
        model_admin.log_change(request, workspace, f"Renamed to {name}.")
        messages.success(request, f"Renamed {workspace} to {name}.")
    return HttpResponseRedirect(reverse("admin:registry_workspace_change", args=[workspace_id]))
