"""Widgets: choose a workspace by part of its name; type a secret."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import admin
from django.contrib.admin.widgets import AutocompleteSelect

from registry.models import Workspace

NO_SUCH_WORKSPACE = "There is no such workspace, or it was removed."


class WorkspaceSelect(AutocompleteSelect):
    """Ignores values that are no UUID; Django's widget would query the database with them and fail."""

    def __init__(self, **options: Any) -> None:
        super().__init__(Workspace._meta.get_field("parent"), admin.site, **options)

    def optgroups(self, name: str, value: Sequence[str], attrs: Any = None) -> Any:
        return super().optgroups(name, [text for text in value if _is_uuid(text)], attrs)


class SecretTextarea(forms.Textarea):
    """Takes several lines (a PEM key) and never renders a value, not even after a form error."""

    def __init__(self) -> None:
        no_assistance = {"autocomplete": "off", "autocapitalize": "off", "spellcheck": "false"}
        super().__init__({"class": "vLargeTextField secret", "rows": 4, "cols": 40, **no_assistance})

    def format_value(self, value: Any) -> str:
        return ""


def select_workspace(field: Any) -> None:
    """Give a ModelChoiceField the widget, with the field's choices."""
    field.widget = WorkspaceSelect(choices=field.choices)
    field.error_messages["invalid_choice"] = NO_SUCH_WORKSPACE


def _is_uuid(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True
