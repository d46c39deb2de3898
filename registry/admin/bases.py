"""The two kinds of admin: facts, which nobody edits here, and what operations change."""

from typing import Any, ClassVar

from django import forms
from django.contrib import admin
from django.core.validators import EMPTY_VALUES
from django.http import HttpResponse

from registry.admin.widgets import WorkspaceSelect
from registry.exceptions import RegistryError
from registry.identity.tokens import principal_for_user
from registry.models import Workspace


class ReadOnlyAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # generic for type checkers only
    """To be read. Not even a superuser adds, changes or deletes."""

    actions = None
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER

    def has_add_permission(self, request: Any) -> bool:
        return False

    def has_change_permission(self, request: Any, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: Any, obj: Any = None) -> bool:
        return False


class OperationForm(forms.ModelForm):  # type: ignore[type-arg]
    """`operation_error`: what the operation said when it was tried with these values."""

    operation_error: ClassVar[RegistryError | None] = None

    def clean(self) -> dict[str, Any]:
        if self.operation_error is not None:
            add_operation_error(self, self.operation_error)
        return self.cleaned_data


class OperationAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """save_model() calls an operation. One that refuses leaves the form as it was, with the reason."""

    form: type[OperationForm] = OperationForm
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER

    def changeform_view(
        self, request: Any, object_id: str | None = None, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        try:
            return super().changeform_view(request, object_id, form_url, extra_context)
        except RegistryError as operation_error:
            # The transaction is rolled back. Once more, with a form that knows why and so is not valid.
            request.operation_error = operation_error
            return super().changeform_view(request, object_id, form_url, extra_context)

    def get_form(self, request: Any, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        form: Any = super().get_form(request, obj, change, **kwargs)
        operation_error = getattr(request, "operation_error", None)
        return (
            form
            if operation_error is None
            else type(form)(form.__name__, (form,), {"operation_error": operation_error})
        )

    def formfield_for_dbfield(self, db_field: Any, request: Any, **kwargs: Any) -> Any:
        """Workspaces to choose from are the living ones; they are made and edited on pages of their own."""
        if db_field.related_model is not Workspace:
            return super().formfield_for_dbfield(db_field, request, **kwargs)
        kwargs |= {"widget": WorkspaceSelect(), "queryset": Workspace.objects.living()}
        field: Any = super().formfield_for_dbfield(db_field, request, **kwargs)
        if field is not None:
            field.widget.can_add_related = field.widget.can_change_related = False
        return field


def add_operation_error(form: forms.BaseForm, operation_error: RegistryError) -> None:
    """At the field the operation_error names ("parent_id: …" belongs to `parent`), else above all."""
    named = operation_error.field or ""
    field = next((name for name in (named, named.removesuffix("_id")) if name in form.fields), None)
    form.add_error(field, operation_error.message.removeprefix(f"{named}: ") if field else operation_error.message)


def actor_of(request: Any) -> str:
    return principal_for_user(request.user).actor


def none_if_empty(value: Any) -> Any:
    return None if value in EMPTY_VALUES else value
