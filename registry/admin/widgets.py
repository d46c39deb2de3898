"""WorkspaceSelect: choosing a workspace by typing part of its name."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.contrib import admin
from django.contrib.admin.widgets import AutocompleteSelect

from registry.models import Workspace


class WorkspaceSelect(AutocompleteSelect):
    """Django's own asks the database for whatever was sent, and fails on what is no UUID."""

    def __init__(self, **options: Any) -> None:
        super().__init__(Workspace._meta.get_field("parent"), admin.site, **options)

    def optgroups(self, name: str, value: Sequence[str], attrs: Any = None) -> Any:
        return super().optgroups(name, [text for text in value if _is_uuid(text)], attrs)


def _is_uuid(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True
