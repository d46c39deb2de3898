"""The page that connects a workspace's agent: POST issues an enrolment token and redirects, GET shows it once.

With the token stand the commands to paste. The page says whether the agent has connected.
"""

from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.contrib.admin import ModelAdmin
from django.core.exceptions import PermissionDenied
from django.http import HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse

from registry.admin import formats, one_time_secrets
from registry.admin.workspace import visit as visits
from registry.admin.workspace.header import header
from registry.admin.workspace.visit import Visit
from registry.api import connecting
from registry.exceptions import RegistryError
from registry.identity import enrolment
from registry.identity.tokens import principal_for_user
from registry.models import ALIVE, Workspace

LIST_URL = "admin:registry_workspace_changelist"
TEMPLATE = "admin/registry/workspace/connect.html"


def page(model_admin: "ModelAdmin[Workspace]", request: Any, workspace_id: UUID) -> HttpResponse:
    """Issue a token (POST), or show the one just issued (GET)."""
    if not model_admin.has_change_permission(request):
        raise PermissionDenied
    if request.method != "POST":
        return _show(visits.begin(model_admin, request, workspace_id))
    try:
        answer = issue(request, workspace_id)
    except RegistryError as error:
        messages.error(request, error.message)
        return HttpResponseRedirect(reverse(LIST_URL))
    workspace = Workspace.objects.only("id", "name").get(id=workspace_id)
    model_admin.log_change(request, workspace, "Issued an enrolment token.")
    return answer


def issue(request: Any, workspace_id: UUID) -> HttpResponse:
    """Issue a token and redirect to the page that shows it. Raises NotFound, Removed."""
    issued = enrolment.issue(workspace_id, may_reveal=principal_for_user(request.user).may_reveal)
    one_time_secrets.put(request, _name(workspace_id), issued.token)
    return HttpResponseRedirect(reverse("admin:registry_workspace_connect", args=[workspace_id]))


def _show(visit: Visit) -> HttpResponse:
    token = one_time_secrets.pop(visit.request, _name(visit.workspace.id))
    instructions = connecting.instructions(visit.request, visit.workspace, token) if token else None
    context = {
        **visit.context(f"Connect the agent of {visit.workspace}"),
        "header": header(visit),
        "instructions": instructions,
        "lifetime": formats.long_span(settings.ENROLMENT_TOKEN_SECONDS),
        "is_connected": visit.workspace.status in ALIVE,
    }
    return TemplateResponse(visit.request, TEMPLATE, context)


def _name(workspace_id: UUID) -> str:
    return f"enrolment:{workspace_id}"
