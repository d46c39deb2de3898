"""The page that shows an enrolment token, once: in the answer to the POST that issued it, and nowhere else."""

from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.contrib.admin import ModelAdmin
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse

from registry.admin import formats
from registry.exceptions import RegistryError
from registry.identity import enrolment
from registry.models import Workspace
from registry.structure import rows

LIST_URL = "admin:registry_workspace_changelist"
TEMPLATE = "admin/registry/workspace/enrolment.html"


def page(model_admin: "ModelAdmin[Workspace]", request: Any, workspace_id: UUID) -> HttpResponse:
    if not model_admin.has_change_permission(request):
        raise PermissionDenied
    if request.method != "POST":
        return HttpResponseNotAllowed(["POST"])
    try:
        return show(model_admin, request, workspace_id, created=False)
    except RegistryError as error:
        messages.error(request, error.message)
        return HttpResponseRedirect(reverse(LIST_URL))


def show(model_admin: "ModelAdmin[Workspace]", request: Any, workspace_id: UUID, *, created: bool) -> HttpResponse:
    """Issues the token; a removed workspace gets none. Raises NotFound, Removed."""
    with transaction.atomic():
        workspace = rows.lock_living(workspace_id)
        token = enrolment.issue(workspace_id).token
    if not created:
        model_admin.log_change(request, workspace, "Issued an enrolment token.")
    context = {
        **model_admin.admin_site.each_context(request),
        "title": f"{workspace} is created" if created else f"Enrolment token for {workspace}",
        "opts": model_admin.opts,
        "media": model_admin.media,
        "original": workspace,
        "created": created,
        "token": token,
        "good_for": formats.span(settings.ENROLMENT_TOKEN_SECONDS),
        "register_url": request.build_absolute_uri("/registry/register"),
    }
    return TemplateResponse(request, TEMPLATE, context)
