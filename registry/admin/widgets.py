"""Widgets: choose a workspace by part of its name; type a secret."""

from collections import Counter
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import admin
from django.contrib.admin.views.autocomplete import AutocompleteJsonView
from django.contrib.admin.widgets import AutocompleteSelect

from registry.models import Workspace
from registry.structure import hierarchy

SEPARATOR = " / "
NO_SUCH_WORKSPACE = "There is no such workspace, or it was removed."


class WorkspaceSelect(AutocompleteSelect):
    """Ignores values that are no UUID; Django's widget would query the database with them and fail."""

    def __init__(self, **options: Any) -> None:
        super().__init__(Workspace._meta.get_field("parent"), admin.site, **options)

    @property
    def media(self) -> forms.Media:
        return super().media + forms.Media(js=["admin/js/autocomplete.js", "registry/workspace_select.js"])

    def optgroups(self, name: str, value: Sequence[str], attrs: Any = None) -> Any:
        return super().optgroups(name, [text for text in value if _is_uuid(text)], attrs)


class SecretTextarea(forms.Textarea):
    """Takes several lines (a PEM key) and never renders a value, not even after a form error."""

    def __init__(self) -> None:
        no_assistance = {"autocomplete": "off", "autocapitalize": "off", "spellcheck": "false"}
        super().__init__({"class": "vLargeTextField secret", "rows": 4, "cols": 40, **no_assistance})

    def format_value(self, value: Any) -> str:
        return ""


class WorkspaceChoices(AutocompleteJsonView):
    """What WorkspaceSelect offers: workspaces by their paths, because several may have the same name."""

    def get_context_data(self, **options: Any) -> Any:
        context = super().get_context_data(**options)
        self.labels = labels([one.pk for one in context["object_list"]])
        return context

    def serialize_result(self, obj: Any, to_field_name: str) -> dict[str, str]:
        return {**super().serialize_result(obj, to_field_name), "text": self.labels.get(obj.pk, str(obj))}


def labels(workspace_ids: Sequence[UUID]) -> dict[UUID, str]:
    """The path of each workspace, "Engineering / QA"; with the start of its id where several have the same path."""
    paths = {one: SEPARATOR.join(names) for one, names in hierarchy.paths(workspace_ids).items()}
    count = Counter(paths.values())
    return {one: text if count[text] == 1 else f"{text} ({str(one)[:8]})" for one, text in paths.items()}


def select_workspace(field: Any) -> None:
    """Give a ModelChoiceField the widget, with the field's choices."""
    field.widget = WorkspaceSelect(choices=field.choices)
    label_by_path(field)


def label_by_path(field: Any) -> None:
    """Let a ModelChoiceField of workspaces show the chosen one as WorkspaceChoices offers it."""
    field.label_from_instance = lambda workspace: labels([workspace.pk]).get(workspace.pk, str(workspace))
    field.error_messages["invalid_choice"] = NO_SUCH_WORKSPACE


def _is_uuid(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True
