"""The page that adds members to a workspace's team, with a row for each."""

from typing import Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.contrib.admin import ModelAdmin
from django.contrib.admin.widgets import AdminTextareaWidget, AdminTextInputWidget
from django.core.exceptions import PermissionDenied
from django.core.validators import MaxLengthValidator
from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse

from registry.admin import formats
from registry.admin.bases import actor_of, none_if_empty
from registry.admin.workspace.visit import url
from registry.exceptions import RegistryError
from registry.models import DEFAULT_TIER, Workspace, no_line_breaks
from registry.organisation import teams
from registry.organisation.teams import Member
from registry.structure import text

ROWS = 4
TEMPLATE = "admin/registry/workspace/expand.html"


class MemberForm(forms.Form):
    """One new member of a team."""

    name = forms.CharField(widget=AdminTextInputWidget(attrs={"dir": "auto"}))
    role = forms.CharField(required=False, widget=AdminTextareaWidget(attrs={"rows": 2, "dir": "auto"}))
    tier = forms.IntegerField(min_value=1, max_value=4, initial=DEFAULT_TIER)
    model = forms.CharField(
        required=False, validators=[MaxLengthValidator(100), no_line_breaks], widget=AdminTextInputWidget
    )

    def clean_name(self) -> str:
        """Returns the name as it is stored. Raises ValidationError."""
        return text.clean_name(self.cleaned_data["name"])

    def clean_role(self) -> str | None:
        """Returns the role as it is stored, None for an empty one. Raises ValidationError."""
        return text.clean_role(self.cleaned_data["role"])


MemberFormSet = forms.formset_factory(MemberForm, extra=ROWS, max_num=100, absolute_max=100)


def page(model_admin: "ModelAdmin[Workspace]", request: Any, workspace_id: UUID) -> HttpResponse:
    """GET shows the rows, POST adds the members and redirects. Errors leave the rows as typed."""
    workspace = get_object_or_404(Workspace.objects.defer("agent_card"), id=workspace_id)
    if not model_admin.has_change_permission(request, workspace):
        raise PermissionDenied
    formset = MemberFormSet(request.POST if request.method == "POST" else None)
    refusal = None
    if formset.is_valid():
        try:
            return _execute(model_admin, request, workspace, _members(formset))
        except RegistryError as error:
            refusal = error
    context = {
        **model_admin.admin_site.each_context(request),
        "title": f"Add members to {workspace}",
        "opts": model_admin.opts,
        "media": model_admin.media + formset.media,
        "original": workspace,
        "formset": formset,
        "refusal": refusal.message if refusal else None,
    }
    return TemplateResponse(request, TEMPLATE, context)


def _execute(
    model_admin: "ModelAdmin[Workspace]", request: Any, workspace: Workspace, members: list[Member]
) -> HttpResponse:
    added = teams.expand(workspace.id, members, actor=actor_of(request))
    message = f"Added {formats.counted(len(added), 'member')}: {', '.join(child.name for child in added)}."
    model_admin.log_change(request, workspace, message)
    messages.success(request, f"{message} Connect an agent to each on its page.")
    return HttpResponseRedirect(url("team", workspace))


def _members(formset: Any) -> list[Member]:
    """Returns a member for each row that was filled in."""
    rows = [form.cleaned_data for form in formset if form.has_changed()]
    return [
        Member(name=row["name"], role=row["role"], tier=row["tier"], model=none_if_empty(row["model"])) for row in rows
    ]
