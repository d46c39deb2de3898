"""Export, and Duplicate: a workspace and its team as a file, or once more."""

from http import HTTPStatus
from typing import Any
from uuid import UUID

import orjson
from django import forms
from django.contrib import messages
from django.contrib.admin import ModelAdmin
from django.contrib.admin.widgets import AdminTextInputWidget
from django.core.exceptions import PermissionDenied
from django.http import HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse

from registry.admin import formats
from registry.admin.bases import actor_of, add_operation_error
from registry.admin.widgets import select_workspace
from registry.admin.workspace import visit as visits
from registry.admin.workspace.visit import Visit
from registry.config import bundles
from registry.config.blueprints import Created
from registry.exceptions import RegistryError
from registry.models import Workspace
from registry.structure import text

TEMPLATE = "admin/registry/workspace/duplicate.html"


class DuplicateForm(forms.Form):
    """What is different about the copy."""

    name = forms.CharField(widget=AdminTextInputWidget(attrs={"dir": "auto"}))
    parent = forms.ModelChoiceField(
        Workspace.objects.active(), required=False, label="In the team of", help_text="Leave empty for the top level."
    )
    with_team = forms.BooleanField(required=False, initial=True, label="With its team")

    def __init__(self, *args: Any, has_team: bool, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        select_workspace(self.fields["parent"])
        if not has_team:
            del self.fields["with_team"]

    def clean_name(self) -> str:
        """Returns the name as it is stored. Raises ValidationError."""
        return text.clean_name(self.cleaned_data["name"])


def export(model_admin: "ModelAdmin[Workspace]", request: Any, workspace_id: UUID) -> HttpResponse:
    """The bundle as a download; if a file has a secret, the workspace's page, with a message that names the file."""
    visit = visits.begin(model_admin, request, workspace_id)
    try:
        bundle = bundles.export(workspace_id, actor=actor_of(request))
    except RegistryError as error:
        messages.error(request, f"Not exported: {error.message}.")
        return HttpResponseRedirect(visit.url("change"))
    disposition = f'attachment; filename="{bundles.file_name(bundle)}"'
    content = orjson.dumps(bundle, option=orjson.OPT_INDENT_2)
    return HttpResponse(content, content_type="application/json", headers={"Content-Disposition": disposition})


def duplicate(model_admin: "ModelAdmin[Workspace]", request: Any, workspace_id: UUID) -> HttpResponse:
    """GET asks for the name and the team of the copy, POST creates it and leads to it."""
    visit = visits.begin(model_admin, request, workspace_id)
    if not visit.may_act or visit.is_removed:
        raise PermissionDenied
    initial = {"name": bundles.name_of_copy(visit.workspace.name), "parent": visit.workspace.parent_id}
    data = request.POST if request.method == "POST" else None
    form = DuplicateForm(data, has_team=visit.has_team, initial={**initial, "with_team": True})
    if form.is_valid():
        try:
            return arrive(model_admin, request, _copied(visit, form.cleaned_data), "Created")
        except RegistryError as error:
            add_operation_error(form, error)
    context = {**visit.context(f"Duplicate {visit.workspace}"), "form": form}
    context["media"] += form.media
    status = HTTPStatus.BAD_REQUEST if form.errors else HTTPStatus.OK
    return TemplateResponse(request, TEMPLATE, context, status=status)


def arrive(model_admin: "ModelAdmin[Workspace]", request: Any, created: Created, verb: str) -> HttpResponse:
    """Say what was created, and show the outermost workspace."""
    workspace = Workspace.objects.defer("agent_card").get(id=created.workspace_id)
    what = described(created)
    model_admin.log_addition(request, workspace, f"{verb} {what}.")
    they = "They have no secrets yet, and await their agents." if created.children else "It has no secrets yet."
    messages.success(request, f"{verb} {what}. {they}")
    return HttpResponseRedirect(visits.url("change", workspace))


def described(created: Created) -> str:
    """ "Lead, with 2 workspaces below it"."""
    below = sum(1 for _ in created.walk()) - 1
    return f"{created.name}, with {formats.counted(below, 'workspace')} below it" if below else created.name


def _copied(visit: Visit, data: dict[str, Any]) -> Created:
    return bundles.duplicate(
        visit.workspace.id,
        name=data["name"],
        parent_id=data["parent"] and data["parent"].id,
        with_team=data.get("with_team", False),
        actor=actor_of(visit.request),
    )
