"""The button that lets a workspace read the values of its secrets, for users who may reveal them."""

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
from registry.identity.tokens import principal_for_user
from registry.models import Workspace
from registry.secrets import revealing

DONE = "This workspace's agent may read the values of its secrets and of the secrets of all workspaces."


def page(model_admin: "ModelAdmin[Workspace]", request: Any, workspace_id: UUID) -> HttpResponse:
    """Allow it and redirect to the workspace's page. POST only."""
    if not principal_for_user(request.user).may_reveal:
        raise PermissionDenied
    if request.method != "POST":
        return HttpResponseNotAllowed(["POST"])
    workspace = get_object_or_404(Workspace.objects.only("id", "name"), id=workspace_id)
    try:
        revealing.allow(workspace_id, actor=actor_of(request))
    except RegistryError as error:
        messages.error(request, error.message)
    else:
        model_admin.log_change(request, workspace, "Let it read secret values.")
        messages.success(request, DONE)
    return HttpResponseRedirect(reverse("admin:registry_workspace_change", args=[workspace_id]))
