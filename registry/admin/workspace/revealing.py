"""The button that lets a workspace read the values of its secrets, for users who may reveal them."""

from typing import Any
from uuid import UUID

from django.contrib.admin import ModelAdmin
from django.core.exceptions import PermissionDenied
from django.http import HttpResponse
from django.shortcuts import get_object_or_404

from registry.admin.bases import actor_of
from registry.admin.workspace import buttons
from registry.identity.tokens import principal_for_user
from registry.models import Workspace
from registry.secrets import revealing

DONE = "This workspace's agent may read the values of its secrets and of the secrets of all workspaces."


def page(model_admin: "ModelAdmin[Workspace]", request: Any, workspace_id: UUID) -> HttpResponse:
    """Allow it and redirect to the workspace's page. POST only."""
    if not principal_for_user(request.user).may_reveal:
        raise PermissionDenied
    workspace = get_object_or_404(Workspace.objects.only("id", "name"), id=workspace_id)

    def allow() -> tuple[str, str]:
        revealing.allow(workspace_id, actor=actor_of(request))
        return DONE, "Let it read secret values."

    return buttons.press(model_admin, request, workspace, allow)
