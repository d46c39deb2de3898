"""Deleting rows. The page lists what is deleted. Its form has a digest of the list; a changed list is shown again."""

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin import actions
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpResponse, HttpResponseRedirect
from django.urls import reverse

from registry.exceptions import RegistryError

TEMPLATE = "admin/registry/delete.html"
CHANGED = "What would be deleted has changed since this page was shown. Check the new list and confirm again."


class DeletionAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # generic for type checkers only
    """Asks before it deletes rows, and says what happened to each."""

    actions: Any = ("delete_selected",)
    delete_confirmation_template = delete_selected_confirmation_template = TEMPLATE
    deletion_heading = "This deletes, and cannot be undone:"

    def outcome_of_deletion(self, obj: Any) -> str:
        """How the message describes what delete_model() does with this row."""
        return "Deleted"

    def delete_view(self, request: Any, object_id: str, extra_context: Any = None) -> HttpResponse:
        obj = self.get_object(request, unquote(object_id))
        is_confirmed = request.method == "POST" and obj is not None and self.has_delete_permission(request, obj)
        if is_confirmed and not self._is_as_shown(request, [obj]):
            messages.warning(request, CHANGED)
            return HttpResponseRedirect(request.get_full_path())
        try:
            return super().delete_view(request, object_id, extra_context)
        except RegistryError as error:
            messages.warning(request, f"Not deleted: {error.message}.")
            return HttpResponseRedirect(reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_changelist"))

    def render_delete_form(self, request: Any, context: dict[str, Any]) -> Any:
        seen = _digest([context["object"]], context["deleted_objects"])
        return super().render_delete_form(request, {**context, "seen": seen, "heading": self.deletion_heading})

    @admin.action(permissions=["delete"], description="Delete selected %(verbose_name_plural)s…")
    def delete_selected(self, request: Any, queryset: QuerySet[Any]) -> Any:
        """Asks first; the page it returns posts the same action with `post` and `seen`."""
        objects = list(queryset)
        if request.POST.get("post") and self._is_as_shown(request, objects):
            return self._delete_each(request, objects)
        if request.POST.get("post"):
            self.message_user(request, CHANGED, messages.WARNING)
            request.POST = request.POST.copy()
            del request.POST["post"]
        if not objects:
            self.message_user(request, "Nothing to delete: the selected rows are gone already.", messages.WARNING)
            return None
        page: Any = actions.delete_selected(self, request, queryset)
        page.context_data["seen"] = _digest(objects, page.context_data["deletable_objects"][0])
        page.context_data["heading"] = self.deletion_heading
        return page

    def _is_as_shown(self, request: Any, objects: Sequence[Any]) -> bool:
        deleted, _counts, lacking, _protected = self.get_deleted_objects(objects, request)
        if lacking:
            raise PermissionDenied
        return bool(request.POST.get("seen") == _digest(objects, deleted))

    def _delete_each(self, request: Any, objects: Sequence[Any]) -> None:
        outcomes: dict[str, list[str]] = {}
        for obj in objects:
            outcome, name = self.outcome_of_deletion(obj), str(obj)
            try:
                with transaction.atomic():
                    self.log_deletions(request, self.model._default_manager.filter(pk=obj.pk))
                    self.delete_model(request, obj)
            except RegistryError as error:
                outcome = f"Not deleted, {error.message}"
            outcomes.setdefault(outcome, []).append(name)
        for outcome, names in outcomes.items():
            self.message_user(request, f"{outcome}: {', '.join(names)}.", messages.SUCCESS)


def _digest(objects: Sequence[Any], listed: Any) -> str:
    """Identifies the rows and the list of what is deleted with them, as the page shows it."""
    shown = json.dumps([sorted(str(obj.pk) for obj in objects), listed], default=str)
    return hashlib.sha256(shown.encode()).hexdigest()[:32]
