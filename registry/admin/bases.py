"""Base classes of the admin: read-only lists, and models that are changed through operations only."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.views.main import SEARCH_VAR
from django.core.exceptions import ValidationError
from django.core.validators import EMPTY_VALUES
from django.db.models import QuerySet
from django.http import Http404, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern
from django.utils.text import capfirst

from registry.admin.deletion import DeletionAdmin
from registry.admin.lists import exports, saved
from registry.admin.lists.bar import FilterBar, parameters_of
from registry.admin.lists.exports import Export
from registry.admin.lists.lookups import (
    BAD_PARAMETER_ERRORS,
    NotOffered,
    OfferedChangeList,
    is_searchable,
    require_offered,
)
from registry.admin.widgets import WorkspaceSelect, label_by_path
from registry.exceptions import DATABASE_BUSY, UNAVAILABLE_ERRORS, Busy, RegistryError, why_unavailable
from registry.identity.tokens import principal_for_user
from registry.models import Workspace

NO_SUCH_ROWS = "There are no such rows. Nothing was done."


class LabelledAdmin(DeletionAdmin):
    """The base of every ModelAdmin: labels, and a list that takes only the parameters that it offers.

    `labels`: singular and plural, where operators use other words than the model's name. `filter_bar`: what the list
    can be filtered by. `export`: what files of the list contain.
    `counted_as`: singular and plural of a row in the count above the list, where the labels are no count nouns.
    `empty_text`: what the list says without rows; "There are no … yet." unless it is given.

    They are set on the model's options, because Django's lists, breadcrumbs and index read them there. The options
    that migrations compare are the declared ones, which stay as they are.
    """

    labels: tuple[str, str] | None = None
    filter_bar = FilterBar()
    export: Export | None = None
    add_label = "Add"
    counted_as: tuple[str, str] | None = None
    empty_text = ""
    list_per_page = 50
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER

    def __init__(self, model: Any, admin_site: admin.AdminSite) -> None:
        super().__init__(model, admin_site)
        if self.labels is not None:
            self.opts.verbose_name, self.opts.verbose_name_plural = self.labels
        self.empty_text = self.empty_text or f"There are no {self.opts.verbose_name_plural} yet."

    @property
    def media(self) -> forms.Media:
        """None of Django's scripts: they are for pop-ups, actions and prepopulated fields. Widgets bring their own."""
        return forms.Media()

    def changelist_view(self, request: Any, extra_context: Any = None) -> HttpResponse:
        title = capfirst(str(self.opts.verbose_name_plural))
        try:
            return super().changelist_view(request, {"title": title, **self._labels(), **(extra_context or {})})
        except NotOffered as error:
            messages.warning(request, str(error))
            return HttpResponseRedirect(request.path)

    def _labels(self) -> dict[str, str]:
        return {"add_label": self.add_label, "export_url": exports.page_url(self) if self.export else ""}

    def get_changelist_instance(self, request: Any) -> Any:
        """Raises NotOffered for parameters that the list does not offer or cannot read."""
        try:
            return super().get_changelist_instance(request)
        except BAD_PARAMETER_ERRORS as error:
            if request.GET:
                raise NotOffered.because(error) from error
            raise

    def selected(self, request: Any) -> QuerySet[Any]:
        """The rows that the filter bar selects for this request, whatever is searched for. Raises BadParameter."""
        return self.filter_bar.selected(self.get_queryset(request), parameters_of(request))

    def listed(self, request: Any) -> QuerySet[Any]:
        """The rows that the list shows for this request, on all its pages. Raises NotOffered."""
        try:
            require_offered(request.GET, self.filter_bar)
            return self.get_search_results(request, self.selected(request), request.GET.get(SEARCH_VAR, ""))[0]
        except BAD_PARAMETER_ERRORS as error:
            raise NotOffered.because(error) from error

    def get_urls(self) -> list[URLPattern]:
        own = [*(exports.urls(self) if self.export else ()), *(saved.urls(self) if self.filter_bar.controls else ())]
        return [*own, *super().get_urls()]

    def get_changelist(self, request: Any, **kwargs: Any) -> type[OfferedChangeList]:
        return OfferedChangeList

    def get_search_results(self, request: Any, queryset: QuerySet[Any], search_term: str) -> tuple[QuerySet[Any], bool]:
        """Finds nothing for a term that is_searchable() refuses, which the search for a workspace may contain."""
        if not is_searchable(search_term):
            return queryset.none(), False
        return super().get_search_results(request, queryset, search_term)

    def response_action(self, request: Any, queryset: QuerySet[Any], *args: Any, **kwargs: Any) -> Any:
        """Returns to the list for a selection that cannot be the ids of rows."""
        try:
            for selected in request.POST.getlist(ACTION_CHECKBOX_NAME):
                self.opts.pk.to_python(selected)
        except ValidationError:
            messages.warning(request, NO_SUCH_ROWS)
            return None
        return super().response_action(request, queryset, *args, **kwargs)

    def get_object(self, request: Any, object_id: str, from_field: str | None = None) -> Any:
        return None if "\x00" in object_id else super().get_object(request, object_id, from_field)


class ReadOnlyAdmin(LabelledAdmin):
    """These rows are not added, changed or deleted in the admin, not even by a superuser.

    `has_history`: whether actions on them are logged, so that Django's history page shows something.
    """

    actions: Any = None
    has_history = False

    def has_add_permission(self, request: Any) -> bool:
        return False

    def has_change_permission(self, request: Any, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: Any, obj: Any = None) -> bool:
        return False

    def render_change_form(self, request: Any, context: Any, *args: Any, **kwargs: Any) -> Any:
        return super().render_change_form(request, {**context, "hide_history": not self.has_history}, *args, **kwargs)

    def history_view(self, request: Any, object_id: str, extra_context: Any = None) -> HttpResponse:
        """Raises Http404 where the page would always be empty."""
        if not self.has_history:
            raise Http404
        return super().history_view(request, object_id, extra_context)


class OperationForm(forms.ModelForm):  # type: ignore[type-arg]
    """`operation_error`: why the operation refused these values, when it was tried."""

    operation_error: ClassVar[RegistryError | None] = None

    def clean(self) -> dict[str, Any]:
        if self.operation_error is not None:
            add_operation_error(self, self.operation_error)
        return self.cleaned_data


class OperationAdmin(LabelledAdmin):
    """Saves by calling an operation. When the operation refuses, the form is shown again with the reason."""

    form: type[OperationForm] = OperationForm

    def changeform_view(
        self, request: Any, object_id: str | None = None, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        try:
            return super().changeform_view(request, object_id, form_url, extra_context)
        except RegistryError as error:
            # The transaction is rolled back. The second pass uses a form that carries the error, so nothing is saved.
            request.operation_error = error
            return super().changeform_view(request, object_id, form_url, extra_context)

    def get_form(self, request: Any, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        form: Any = super().get_form(request, obj, change, **kwargs)
        error = getattr(request, "operation_error", None)
        return form if error is None else type(form)(form.__name__, (form,), {"operation_error": error})

    def formfield_for_dbfield(self, db_field: Any, request: Any, **kwargs: Any) -> Any:
        """Offers active workspaces only, without the pop-ups that add and change one."""
        if db_field.related_model is not Workspace:
            return super().formfield_for_dbfield(db_field, request, **kwargs)
        kwargs |= {"widget": WorkspaceSelect(), "queryset": Workspace.objects.active()}
        field: Any = super().formfield_for_dbfield(db_field, request, **kwargs)
        if field is not None:
            label_by_path(field)
            field.widget.can_add_related = field.widget.can_change_related = False
        return field


def add_operation_error(form: forms.BaseForm, error: RegistryError) -> None:
    """Adds the error at the field that it names ("parent_id: …" belongs to `parent`), otherwise above the form."""
    named = error.field or ""
    field = next((name for name in (named, named.removesuffix("_id")) if name in form.fields), None)
    form.add_error(field, why(error) if field else error.message)


@contextmanager
def busy_is_refused() -> Iterator[None]:
    """Raises Busy where a statement waited for another transaction for too long, so that the others can go on."""
    try:
        yield
    except UNAVAILABLE_ERRORS as error:
        if (message := why_unavailable(error)) != DATABASE_BUSY:
            raise
        raise Busy(message) from error


def why(error: RegistryError) -> str:
    """The error's message without the name of a field, where none is shown."""
    return error.message.removeprefix(f"{error.field}: ")


def actor_of(request: Any) -> str:
    """Returns the actor that events by this user are recorded under, "operator:<username>#<id>"."""
    return principal_for_user(request.user).actor


def none_if_empty(value: Any) -> Any:
    """Returns None for an empty form value, otherwise the value."""
    return None if value in EMPTY_VALUES else value
