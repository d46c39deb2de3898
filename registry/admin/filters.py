"""The filters beside the list of workspaces. None of them counts."""

from collections.abc import Iterator
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.utils import timezone

from registry.models import Status


class StateFilter(admin.SimpleListFilter):
    """Without a choice only the living are listed, unless the removed are asked for by status."""

    title = "existence"
    parameter_name = "existence"

    def lookups(self, request: Any, model_admin: Any) -> list[tuple[str, str]]:
        self.filters_by_status = "status__exact" in request.GET
        return [("living", "Living"), ("removed", "Removed"), ("all", "All")]

    def choices(self, changelist: Any) -> Iterator[Any]:
        selected = self.value() or "living"
        for value, title in self.lookup_choices:
            query = changelist.get_query_string({self.parameter_name: value})
            yield {"selected": selected == value, "query_string": query, "display": title}

    def queryset(self, request: Any, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() == "removed":
            return queryset.filter(status=Status.REMOVED)
        if self.value() == "all" or (self.value() is None and self.filters_by_status):
            return queryset
        return queryset.exclude(status=Status.REMOVED)


class FlappingFilter(admin.SimpleListFilter):
    title = "flapping"
    parameter_name = "flapping"

    def lookups(self, request: Any, model_admin: Any) -> list[tuple[str, str]]:
        return [("now", "Flapping now")]

    def queryset(self, request: Any, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset if self.value() is None else queryset.filter(flapping_until__gt=timezone.now())


class PositionFilter(admin.SimpleListFilter):
    title = "place"
    parameter_name = "place"

    def lookups(self, request: Any, model_admin: Any) -> list[tuple[str, str]]:
        return [("root", "At the top"), ("below", "Below a parent")]

    def queryset(self, request: Any, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset if self.value() is None else queryset.filter(parent__isnull=self.value() == "root")
