"""The tab of the secrets that a workspace's agent can use: its own, and the global ones. Values are never shown."""

from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.admin.widgets import AdminTextInputWidget
from django.core.exceptions import PermissionDenied
from django.http import HttpResponse, HttpResponseRedirect
from django.views.decorators.debug import sensitive_variables

from registry.admin import formats
from registry.admin.bases import actor_of, add_operation_error
from registry.admin.forms import KEY_EXISTS, SecretValueForm
from registry.admin.workspace.visit import Visit
from registry.exceptions import RegistryError
from registry.models import GlobalSecret, WorkspaceSecret
from registry.models.secrets import secret_key_name
from registry.secrets import store

OWN = "workspace"
PERMISSIONS = {verb: f"registry.{verb}_workspacesecret" for verb in ("add", "change", "delete")}
GONE = "This secret was deleted meanwhile. Add it again with this value."


class NewSecretForm(SecretValueForm):
    """A key and its value."""

    key = forms.CharField(
        validators=[secret_key_name],
        widget=AdminTextInputWidget(attrs={"autocomplete": "off", "spellcheck": "false"}),
        help_text="The environment variable that the agent sees.",
    )
    field_order = ("key", "value")


def context(visit: Visit, refused: "NewSecretForm | None" = None, replaced: str = "") -> dict[str, Any]:
    """`refused`: a form with errors, for the value of the secret `replaced` or, without one, for a new secret."""
    sees_shared = visit.may("registry.view_globalsecret")
    listed = [one for one in store.listing(visit.workspace.id) if sees_shared or one["scope"] == OWN]
    own = [one["key"] for one in listed if one["scope"] == OWN]
    overridden = set(GlobalSecret.objects.filter(key__in=own).values_list("key", flat=True)) if sees_shared else set()
    return {
        "secrets": [
            {
                **one,
                "is_own": one["scope"] == OWN,
                "overrides": one["key"] in overridden,
                "updated": formats.relative(one["updated_at"]),
                "form": refused if refused and one["key"] == replaced else _form_for(one["key"]),
                "is_refused": bool(refused and one["key"] == replaced),
            }
            for one in listed
        ],
        "new_secret": NewSecretForm(auto_id="id_new_%s") if refused is None or replaced else refused,
        **{f"may_{verb}": visit.may(name) and not visit.is_removed for verb, name in PERMISSIONS.items()},
    }


@sensitive_variables("form")
def post(visit: Visit) -> HttpResponse | dict[str, Any]:
    """Add a secret, replace the value of one, or delete one; a refused form is shown again without its value.

    Raises PermissionDenied.
    """
    verb = visit.request.POST.get("verb", "")
    if verb not in PERMISSIONS or not visit.may(PERMISSIONS[verb]) or visit.is_removed:
        raise PermissionDenied
    if verb == "delete":
        return _delete(visit, visit.request.POST.get("key", ""))
    form = NewSecretForm(visit.request.POST, auto_id=f"id_{verb}_%s")
    if form.is_valid() and _store(visit, form, replaces=verb == "change"):
        return HttpResponseRedirect(visit.url("secrets"))
    return context(visit, form, visit.request.POST.get("key", "") if verb == "change" else "")


def _form_for(key: str) -> NewSecretForm:
    return NewSecretForm(initial={"key": key}, auto_id=f"id_{key}_%s")


def _store(visit: Visit, form: NewSecretForm, *, replaces: bool) -> bool:
    """A new secret does not replace one that is there, and the value of one that is gone is not stored."""
    key = form.cleaned_data["key"]
    if WorkspaceSecret.objects.filter(workspace_id=visit.workspace.id, key=key).exists() != replaces:
        form.add_error("value" if replaces else "key", GONE if replaces else KEY_EXISTS)
        return False
    try:
        store.set_for_workspace(visit.workspace.id, key, form.cleaned_data["value"], actor=actor_of(visit.request))
    except RegistryError as error:
        add_operation_error(form, error)
        return False
    return _tell(visit, f"Replaced the value of {key}." if replaces else f"Added the secret {key}.")


def _delete(visit: Visit, key: str) -> HttpResponse:
    try:
        store.delete_for_workspace(visit.workspace.id, key, actor=actor_of(visit.request))
    except RegistryError as error:
        messages.warning(visit.request, f"Not deleted: {error.message}.")
    else:
        _tell(visit, f"Deleted the secret {key}.")
    return HttpResponseRedirect(visit.url("secrets"))


def _tell(visit: Visit, done: str) -> bool:
    visit.admin.log_change(visit.request, visit.workspace, done)
    messages.success(visit.request, f"{done} Its agent sees that when it next reads its secrets.")
    return True
