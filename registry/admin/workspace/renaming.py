"""The button that renames a workspace as its Agent Card is named."""

from typing import Any
from uuid import UUID

from django.contrib.admin import ModelAdmin
from django.core.exceptions import PermissionDenied
from django.http import HttpResponse
from django.shortcuts import get_object_or_404

from registry.admin.bases import actor_of
from registry.admin.workspace import buttons
from registry.models import Workspace
from registry.organisation import workspaces


def page(model_admin: "ModelAdmin[Workspace]", request: Any, workspace_id: UUID) -> HttpResponse:
    """Rename it to the name that the button showed and redirect to the workspace's page. POST only."""
    workspace = get_object_or_404(Workspace.objects.defer("agent_card"), id=workspace_id)
    if not model_admin.has_change_permission(request, workspace):
        raise PermissionDenied

    def rename() -> tuple[str, str]:
        shown = request.POST.get("name", "")
        name = workspaces.take_card_name(workspace_id, shown, actor=actor_of(request))
        return f"Renamed {workspace} to {name}.", f"Renamed to {name}."

    return buttons.press(model_admin, request, workspace, rename)
