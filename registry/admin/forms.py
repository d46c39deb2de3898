"""What operators type. The rules on columns are the models' own; operations keep the rest."""

from typing import Any, ClassVar
from uuid import UUID

from django import forms
from django.contrib.admin.widgets import AdminTextInputWidget
from django.core.exceptions import ValidationError
from django.core.validators import MaxLengthValidator
from rest_framework.exceptions import ValidationError as WireValidationError

from registry.admin.bases import OperationForm, none_if_empty
from registry.admin.widgets import SecretTextarea, select_workspace
from registry.api.serializers import agent_url
from registry.models import SealedSecret, Workspace, no_line_breaks
from registry.secrets.store import MAX_VALUE_BYTES


class WorkspaceForm(OperationForm):
    class Meta:
        model = Workspace
        fields = ("name", "role", "tier", "runtime", "parent")
        widgets: ClassVar[dict[str, forms.Widget]] = {
            "name": AdminTextInputWidget(),
            "role": AdminTextInputWidget(),
            "runtime": AdminTextInputWidget(),
        }
        help_texts: ClassVar[dict[str, str]] = {
            "role": "What it does, in one line.",
            "parent": "Whose team it is on. Empty: at the top.",
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for field in self.fields.values():
            # Compare with what the page showed: what someone else changed meanwhile is not changed back.
            field.show_hidden_initial = True

    def clean_role(self) -> str | None:
        role: str | None = none_if_empty(self.cleaned_data["role"])
        return role

    @property
    def changes(self) -> dict[str, Any]:
        """As lifecycle.update() takes them."""
        changed = {name: self.cleaned_data[name] for name in self.changed_data}
        if "parent" in changed:
            changed["parent_id"] = _id(changed.pop("parent"))
        return changed


class NewWorkspaceForm(WorkspaceForm):
    model = forms.CharField(
        required=False,
        validators=[MaxLengthValidator(100), no_line_breaks],
        widget=AdminTextInputWidget,
        help_text="Assigns an agent of this model. Optional.",
    )
    external = forms.BooleanField(required=False, help_text="Run elsewhere, not deployed by us.")
    agent_url = forms.CharField(
        required=False,
        label="URL",
        validators=[MaxLengthValidator(2048)],
        widget=AdminTextInputWidget,
        help_text="Where an external agent listens. With it, the workspace is online at once.",
    )

    def clean_agent_url(self) -> str | None:
        url: str | None = none_if_empty(self.cleaned_data["agent_url"])
        try:
            if url is not None:
                agent_url(url)
        except WireValidationError as error:
            raise ValidationError([str(part) for part in error.args[0]] if error.args else str(error)) from None
        return url

    @property
    def creation_values(self) -> dict[str, Any]:
        """As NewWorkspace takes them."""
        data = self.cleaned_data
        return {
            **{name: data[name] for name in ("name", "role", "tier", "runtime", "external")},
            "parent_id": _id(data["parent"]),
            "model": none_if_empty(data["model"]),
            "url": data["agent_url"],
        }


class ConfirmationForm(forms.Form):
    """`seen`: a fingerprint of what the page listed, so that nothing is touched that nobody has seen."""

    chosen = forms.CharField(widget=forms.HiddenInput)
    seen = forms.CharField(widget=forms.HiddenInput, required=False)
    forward_to = forms.ModelChoiceField(
        Workspace.objects.living(),
        required=False,
        help_text="Optional. Whoever asks for the removed workspace is sent there.",
    )

    def __init__(self, *args: Any, can_forward: bool, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if can_forward:
            select_workspace(self.fields["forward_to"])
        else:
            del self.fields["forward_to"]


class SecretForm(OperationForm):
    """The value goes in and never comes back."""

    value = forms.CharField(
        strip=False,
        widget=SecretTextarea,
        help_text="Sealed with AES-256-GCM and never shown again. At most 64 KiB; lines are kept as they are, and a "
        "break after the only line is dropped.",
    )

    class Meta:
        model = SealedSecret
        fields = ("key",)
        widgets: ClassVar[dict[str, forms.Widget]] = {"key": AdminTextInputWidget()}

    def clean_value(self) -> str:
        """Browsers send every line break as CRLF; a token pasted with one at its end is meant without."""
        value: str = self.cleaned_data["value"].replace("\r\n", "\n")
        if "\n" not in value[:-1]:
            value = value.removesuffix("\n")
        if not value:
            raise ValidationError("Must not be empty.")
        if len(value.encode()) > MAX_VALUE_BYTES:
            raise ValidationError("Must not be larger than 64 KiB.")
        return value


def _id(workspace: Workspace | None) -> UUID | None:
    return None if workspace is None else workspace.id
