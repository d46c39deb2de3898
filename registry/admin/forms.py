"""The admin's forms. Models validate the columns; operations enforce every other rule."""

from typing import Any, ClassVar
from uuid import UUID

from django import forms
from django.contrib.admin.widgets import AdminTextareaWidget, AdminTextInputWidget
from django.core.exceptions import NON_FIELD_ERRORS, ValidationError
from django.core.validators import MaxLengthValidator

from registry.admin.bases import OperationForm, none_if_empty
from registry.admin.widgets import SecretTextarea, select_workspace
from registry.config import templates
from registry.models import DEFAULT_TIER, SealedSecret, Workspace, no_line_breaks, secret_key_name
from registry.secrets.store import MAX_VALUE_BYTES
from registry.structure.urls import validate_agent_url

KEY_EXISTS = "A secret with this key already exists. To replace its value, open that secret in the list."


class WorkspaceForm(OperationForm):
    """The fields of a workspace that operators edit."""

    class Meta:
        model = Workspace
        fields = ("name", "role", "tier", "runtime", "parent")
        widgets: ClassVar[dict[str, forms.Widget]] = {
            "name": AdminTextInputWidget(attrs={"dir": "auto"}),
            "role": AdminTextareaWidget(attrs={"rows": 3, "dir": "auto"}),
            "runtime": AdminTextInputWidget(),
        }
        help_texts: ClassVar[dict[str, str]] = {
            "role": "What it does. Several lines are allowed; lists show the first.",
            "parent": "The workspace whose team it is in. Leave empty for the top level.",
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for field in self.fields.values():
            # Compares with the values the page showed, so that a concurrent change of another field is not reverted.
            field.show_hidden_initial = True

    @property
    def changes(self) -> dict[str, Any]:
        """Returns the changed fields, as workspaces.update() takes them."""
        changed = {name: self.cleaned_data[name] for name in self.changed_data}
        if "parent" in changed:
            changed["parent_id"] = _id(changed.pop("parent"))
        return changed


class NewWorkspaceForm(WorkspaceForm):
    """A workspace to create, optionally from a template, with a model and an external agent."""

    template = forms.ChoiceField(
        required=False,
        choices=lambda: [("", "None"), *((one["id"], one["name"]) for one in templates.listing())],
        help_text="Its files, its team and, where they are empty here, its tier, runtime and model.",
    )
    tier = forms.IntegerField(
        required=False,
        min_value=1,
        max_value=4,
        help_text=f"1-4; decides how it is deployed. Empty: that of the template, or {DEFAULT_TIER}.",
    )
    model = forms.CharField(
        required=False,
        validators=[MaxLengthValidator(100), no_line_breaks],
        widget=AdminTextInputWidget,
        help_text="Optional. Assigns an agent of this model.",
    )
    external = forms.BooleanField(
        required=False, help_text="The agent runs elsewhere; this platform does not deploy it."
    )
    agent_url = forms.CharField(
        required=False,
        label="URL",
        empty_value=None,
        validators=[validate_agent_url],
        widget=AdminTextInputWidget,
        help_text="Where an external agent listens. With a URL, the workspace is online at once.",
    )

    @property
    def creation_values(self) -> dict[str, Any]:
        """Returns the fields of a Blueprint."""
        data = self.cleaned_data
        return {
            **{name: data[name] for name in ("name", "role", "tier", "external")},
            "runtime": data["runtime"] or "",
            "template": none_if_empty(data["template"]),
            "model": none_if_empty(data["model"]),
            "url": data["agent_url"],
        }

    @property
    def parent_id(self) -> UUID | None:
        """Returns the workspace whose team it is in."""
        return _id(self.cleaned_data["parent"])


class ConfirmationForm(forms.Form):
    """`seen`: the fingerprint of the list on the page; if it differs now, the page asks again. `target`: which of the
    other fields it has, if any."""

    chosen = forms.CharField(widget=forms.HiddenInput)
    seen = forms.CharField(widget=forms.HiddenInput, required=False)
    forward_to = forms.ModelChoiceField(
        Workspace.objects.active(),
        required=False,
        help_text="Optional. Requests for the removed workspace are sent there.",
    )
    move_to = forms.ModelChoiceField(
        Workspace.objects.active(),
        required=False,
        label="To the team of",
        help_text="Leave empty for the top level.",
    )

    def __init__(self, *args: Any, target: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name in ("forward_to", "move_to"):
            if name == target:
                select_workspace(self.fields[name])
            else:
                del self.fields[name]

    @property
    def targets(self) -> list[forms.BoundField]:
        """The field that names another workspace, if it has one."""
        return self.visible_fields()


class SecretValueForm(forms.Form):
    """The value of a secret, which is written and never shown."""

    value = forms.CharField(
        strip=False,
        widget=SecretTextarea,
        help_text="Encrypted with AES-256-GCM and never shown again. At most 64 KiB. Line breaks are kept, except "
        "one at the end of a single line.",
    )

    def clean_value(self) -> str:
        """Browsers send line breaks as CRLF; a single line is often pasted with a break that is not part of it."""
        value: str = self.cleaned_data["value"].replace("\r\n", "\n")
        if "\n" not in value[:-1]:
            value = value.removesuffix("\n")
        if not value:
            raise ValidationError("Must not be empty.")
        if len(value.encode()) > MAX_VALUE_BYTES:
            raise ValidationError("Must not be larger than 64 KiB.")
        return value


class SecretForm(SecretValueForm, OperationForm):
    """A secret as a row of its list."""

    class Meta:
        model = SealedSecret
        fields = ("key",)
        widgets: ClassVar[dict[str, forms.Widget]] = {"key": AdminTextInputWidget()}
        error_messages: ClassVar[dict[str, dict[str, str]]] = {
            "key": {"unique": KEY_EXISTS},
            NON_FIELD_ERRORS: {"unique_together": KEY_EXISTS},
        }

    def clean_key(self) -> str:
        """Raises ValidationError."""
        key: str = self.cleaned_data["key"]
        secret_key_name(key)
        return key


def _id(workspace: Workspace | None) -> UUID | None:
    return None if workspace is None else workspace.id
