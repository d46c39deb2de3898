"""The filters beside the list of workspaces. None of them runs a count."""

from collections.abc import Iterator
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet

from activity import clock
from registry.models import Status
from registry.structure.states import AWAITING_AGENT


class StateFilter(admin.SimpleListFilter):
    """Lists active workspaces by default; with a filter by status, those of that status, also removed ones."""

    title = "state"
    parameter_name = "state"

    def lookups(self, request: Any, model_admin: Any) -> list[tuple[str, str]]:
        self.filters_by_status = "status__exact" in request.GET
        return [("active", "Active"), ("removed", "Removed"), ("all", "All")]

    def choices(self, changelist: Any) -> Iterator[Any]:
        selected = self.value() or "active"
        for value, title in self.lookup_choices:
            query = changelist.get_query_string({self.parameter_name: value})
            yield {"selected": selected == value, "query_string": query, "display": title}

    def queryset(self, request: Any, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() == "removed":
            return queryset.filter(status=Status.REMOVED)
        if self.value() == "all" or (self.value() is None and self.filters_by_status):
            return queryset
        return queryset.exclude(status=Status.REMOVED)


class StatusFilter(admin.ChoicesFieldListFilter):
    """Names "provisioning" as the list does."""

    def choices(self, changelist: Any) -> Iterator[Any]:
        for choice in super().choices(changelist):
            is_provisioning = choice["display"] == Status.PROVISIONING.label
            yield choice | {"display": AWAITING_AGENT} if is_provisioning else choice


class FlappingFilter(admin.SimpleListFilter):
    """Workspaces that flap now."""

    title = "flapping"
    parameter_name = "flapping"

    def lookups(self, request: Any, model_admin: Any) -> list[tuple[str, str]]:
        return [("now", "Flapping now")]

    def queryset(self, request: Any, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset if self.value() is None else queryset.filter(flapping_until__gt=clock.now())


class PositionFilter(admin.SimpleListFilter):
    """Top-level workspaces, or those in a team."""

    title = "position"
    parameter_name = "position"

    def lookups(self, request: Any, model_admin: Any) -> list[tuple[str, str]]:
        return [("top", "Top level"), ("team", "In a team")]

    def queryset(self, request: Any, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset if self.value() is None else queryset.filter(parent__isnull=self.value() == "top")
