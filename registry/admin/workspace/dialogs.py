"""Verbs on one workspace that take a value: its agent, and where a removed workspace is forwarded.

Each is a small form on the workspace's page; the same form on a page of its own shows errors.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias
from uuid import UUID

from django import forms
from django.contrib import messages
from django.contrib.admin import ModelAdmin
from django.contrib.admin.widgets import AdminTextInputWidget
from django.core.exceptions import PermissionDenied
from django.core.validators import MaxLengthValidator
from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse

from registry.admin.bases import actor_of, add_operation_error, none_if_empty
from registry.admin.widgets import select_workspace
from registry.admin.workspace.visit import url
from registry.exceptions import RegistryError
from registry.models import Status, Workspace, no_line_breaks
from registry.organisation import agents, removal

TEMPLATE = "admin/registry/workspace/dialog.html"
Admin: TypeAlias = "ModelAdmin[Workspace]"
Operation: TypeAlias = "Callable[[Workspace, dict[str, Any], str], str]"


class ModelForm(forms.Form):
    """Asks for a model."""

    model = forms.CharField(validators=[MaxLengthValidator(100), no_line_breaks], widget=AdminTextInputWidget)


class ReasonForm(forms.Form):
    """Asks for an optional reason."""

    reason = forms.CharField(
        required=False,
        validators=[MaxLengthValidator(1000)],
        widget=AdminTextInputWidget,
        help_text="Optional. Kept in the history.",
    )


class TargetForm(forms.Form):
    """Asks for the workspace to move to."""

    target = forms.ModelChoiceField(Workspace.objects.active(), label="To", help_text="A workspace without an agent.")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        select_workspace(self.fields["target"])


class ForwardForm(forms.Form):
    """Asks for the workspace to forward to; empty removes the forward."""

    forward_to = forms.ModelChoiceField(
        Workspace.objects.active(),
        required=False,
        help_text="Requests for this workspace are sent there. Leave empty to stop forwarding.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        select_workspace(self.fields["forward_to"])


@dataclass(frozen=True, kw_only=True)
class Dialog:
    """`operation(workspace, cleaned data, actor)` returns a message of what was done, or raises RegistryError.

    `back`: the tab that is shown afterwards.
    """

    name: str
    title: str
    form: type[forms.Form]
    operation: Operation
    back: str = "agent"
    destructive: bool = False

    def bound(self, workspace: Workspace, data: Any = None) -> "BoundDialog":
        """Returns the dialog with its form, filled with `data` when it was posted."""
        initial = {"forward_to": workspace.forwarded_to_id}
        form = self.form(data, auto_id=f"id_{self.name}_%s", initial=initial)
        return BoundDialog(dialog=self, form=form, url=url(self.name, workspace))


@dataclass(frozen=True, kw_only=True)
class BoundDialog:
    """A dialog for one workspace, as templates show it."""

    dialog: Dialog
    form: forms.Form
    url: str


def _assign(workspace: Workspace, data: dict[str, Any], actor: str) -> str:
    agent = agents.assign(workspace.id, data["model"], actor=actor)
    return f"Assigned {agent.model} to {workspace}."


def _replace(workspace: Workspace, data: dict[str, Any], actor: str) -> str:
    done = agents.replace(workspace.id, data["model"], actor=actor)
    return f"Replaced {done.old_model} with {done.model}."


def _move(workspace: Workspace, data: dict[str, Any], actor: str) -> str:
    agent = agents.move(workspace.id, data["target"].id, actor=actor)
    return f"Moved {agent.model} to {data['target']}."


def _dismiss(workspace: Workspace, data: dict[str, Any], actor: str) -> str:
    agent = agents.remove(workspace.id, reason=none_if_empty(data["reason"]), actor=actor)
    return f"Removed {agent.model} from {workspace}."


def _forward(workspace: Workspace, data: dict[str, Any], actor: str) -> str:
    target = data["forward_to"]
    removal.forward(workspace.id, target.id if target else None, actor=actor)
    return f"{workspace} is forwarded to {target}." if target else f"{workspace} is no longer forwarded."


ASSIGN = Dialog(name="assign", title="Assign an agent", form=ModelForm, operation=_assign)
REPLACE = Dialog(name="replace", title="Replace the agent", form=ModelForm, operation=_replace)
TRANSFER = Dialog(name="transfer", title="Move the agent", form=TargetForm, operation=_move)
DISMISS = Dialog(name="dismiss", title="Remove the agent", form=ReasonForm, operation=_dismiss, destructive=True)
FORWARD = Dialog(name="forward", title="Forward", form=ForwardForm, operation=_forward, back="change")
DIALOGS = (ASSIGN, REPLACE, TRANSFER, DISMISS, FORWARD)


def of_agent(workspace: Workspace, *, has_agent: bool) -> list[BoundDialog]:
    """Returns the dialogs for the workspace's agent that apply in its present state."""
    if workspace.status == Status.REMOVED:
        return []
    return [dialog.bound(workspace) for dialog in ((REPLACE, TRANSFER, DISMISS) if has_agent else (ASSIGN,))]


def page(dialog: Dialog, model_admin: Admin, request: Any, workspace_id: UUID) -> HttpResponse:
    """GET shows the form, POST runs the operation and redirects. An error is shown in the form, with what was typed."""
    workspace = get_object_or_404(Workspace.objects.defer("agent_card"), id=workspace_id)
    if not model_admin.has_change_permission(request, None if dialog is FORWARD else workspace):
        raise PermissionDenied
    bound = dialog.bound(workspace, request.POST if request.method == "POST" else None)
    if bound.form.is_valid() and _execute(bound, model_admin, request, workspace):
        return HttpResponseRedirect(url(dialog.back, workspace))
    context = {
        **model_admin.admin_site.each_context(request),
        "title": f"{dialog.title}: {workspace}",
        "opts": model_admin.opts,
        "media": model_admin.media + bound.form.media,
        "original": workspace,
        "bound": bound,
        "back": url(dialog.back, workspace),
    }
    return TemplateResponse(request, TEMPLATE, context)


def _execute(bound: BoundDialog, model_admin: Admin, request: Any, workspace: Workspace) -> bool:
    try:
        message = bound.dialog.operation(workspace, bound.form.cleaned_data, actor_of(request))
    except RegistryError as error:
        add_operation_error(bound.form, error)
        return False
    model_admin.log_change(request, workspace, message)
    messages.success(request, message)
    return True
