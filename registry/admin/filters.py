"""The filters beside the lists. None of them counts, and none scans a log for its choices."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.contrib import admin
from django.contrib.admin.options import IncorrectLookupParameters
from django.db.models import QuerySet
from django.utils import timezone

from registry.models import Status, Workspace


class Existence(admin.SimpleListFilter):
    """Without a choice only the living are listed, unless the removed are asked for by status."""

    title = "existence"
    parameter_name = "existence"

    def lookups(self, request: Any, model_admin: Any) -> list[tuple[str, str]]:
        self.by_status = "status__exact" in request.GET
        return [("living", "Living"), ("removed", "Removed"), ("all", "All")]

    def choices(self, changelist: Any) -> Iterator[Any]:
        chosen = self.value() or "living"
        for value, title in self.lookup_choices:
            query = changelist.get_query_string({self.parameter_name: value})
            yield {"selected": chosen == value, "query_string": query, "display": title}

    def queryset(self, request: Any, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() == "removed":
            return queryset.filter(status=Status.REMOVED)
        if self.value() == "all" or (self.value() is None and self.by_status):
            return queryset
        return queryset.exclude(status=Status.REMOVED)


class Place(admin.SimpleListFilter):
    title = "place"
    parameter_name = "place"

    def lookups(self, request: Any, model_admin: Any) -> list[tuple[str, str]]:
        return [("root", "At the top"), ("below", "Below a parent")]

    def queryset(self, request: Any, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset if self.value() is None else queryset.filter(parent__isnull=self.value() == "root")


class OfWorkspace(admin.SimpleListFilter):
    """`?workspace_id=…`, as links set it; shown while it holds, so that it can be taken off."""

    title = "workspace"
    parameter_name = "workspace_id"

    def lookups(self, request: Any, model_admin: Any) -> list[tuple[str, str]]:
        wanted = request.GET.get(self.parameter_name)
        if not wanted:
            return []
        name = Workspace.objects.filter(id=_uuid(wanted)).values_list("name", flat=True).first()
        return [(wanted, name or wanted)]

    def queryset(self, request: Any, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset if self.value() is None else queryset.filter(workspace_id=_uuid(self.value()))


class Since(admin.SimpleListFilter):
    title = "time"
    parameter_name = "since"
    SPANS = {"1h": timedelta(hours=1), "1d": timedelta(days=1), "7d": timedelta(days=7)}

    def lookups(self, request: Any, model_admin: Any) -> list[tuple[str, str]]:
        return [("1h", "Last hour"), ("1d", "Last day"), ("7d", "Last 7 days")]

    def queryset(self, request: Any, queryset: QuerySet[Any]) -> QuerySet[Any]:
        span = self.SPANS.get(self.value() or "")
        return queryset if span is None else queryset.filter(created_at__gte=timezone.now() - span)


def _uuid(text: str | None) -> UUID:
    try:
        return UUID(text)
    except (TypeError, ValueError) as error:
        raise IncorrectLookupParameters(error) from None
