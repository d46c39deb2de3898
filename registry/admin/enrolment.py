"""The page of a workspace's enrolment token: POST issues one and redirects, GET shows it once."""

from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.contrib.admin import ModelAdmin
from django.core.exceptions import PermissionDenied
from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import reverse

from registry.admin import formats, one_time_secrets
from registry.exceptions import RegistryError
from registry.identity import enrolment
from registry.identity.tokens import principal_for_user
from registry.models import Workspace

LIST_URL = "admin:registry_workspace_changelist"
TEMPLATE = "admin/registry/workspace/enrolment.html"


def page(model_admin: "ModelAdmin[Workspace]", request: Any, workspace_id: UUID) -> HttpResponse:
    """Issue a token (POST) or show the one just issued (GET)."""
    if not model_admin.has_change_permission(request):
        raise PermissionDenied
    if request.method != "POST":
        return _show(model_admin, request, workspace_id)
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
    return HttpResponseRedirect(reverse("admin:registry_workspace_enrol", args=[workspace_id]))


def _show(model_admin: "ModelAdmin[Workspace]", request: Any, workspace_id: UUID) -> HttpResponse:
    workspace = get_object_or_404(Workspace.objects.only("id", "name"), id=workspace_id)
    context = {
        **model_admin.admin_site.each_context(request),
        "title": f"Enrolment token for {workspace}",
        "opts": model_admin.opts,
        "media": model_admin.media,
        "original": workspace,
        "token": one_time_secrets.pop(request, _name(workspace_id)),
        "lifetime": formats.long_span(settings.ENROLMENT_TOKEN_SECONDS),
        "register_url": request.build_absolute_uri(reverse("register")),
    }
    return TemplateResponse(request, TEMPLATE, context)


def _name(workspace_id: UUID) -> str:
    return f"enrolment:{workspace_id}"
