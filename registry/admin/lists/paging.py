"""Keyset pagination for lists: no count, and every page costs the same."""

from typing import Any

from django.contrib.admin.options import IncorrectLookupParameters
from django.core.exceptions import ValidationError
from django.db.models import Model, Q, QuerySet
from django.db.models.expressions import Combinable

from activity import parameters
from registry.admin.lists.bar import BEFORE, Link, encode
from registry.admin.lists.lookups import OfferedChangeList

FOLLOW = "follow"
"""With 1, new rows appear by themselves."""
SEPARATOR = "~"


class KeysetChangeList(OfferedChangeList):
    """Newest first, by `model_admin.position` (unique, descending); links to older rows and to the newest."""

    model_admin: Any
    is_followed = False
    """Whether new rows appear by themselves."""

    def get_ordering(self, request: Any, queryset: QuerySet[Any]) -> list[str | Combinable]:
        return [f"-{name}" for name in self.model_admin.position]

    def get_queryset(self, request: Any, exclude_parameters: Any = None) -> QuerySet[Any]:
        """The position is left out of links, so that another filter starts at the newest row."""
        self.before = self.params.pop(BEFORE, None)
        self.filter_params.pop(BEFORE, None)
        queryset: QuerySet[Any] = super().get_queryset(request, exclude_parameters).defer(*self.model_admin.deferred)
        return queryset.filter(self._older_than(self.before)) if self.before else queryset

    def get_results(self, request: Any) -> None:
        """Raises BadParameter for a value of `follow` that is none, here, where it leads back to the list."""
        self.is_followed = parameters.flag(self.bar.given, FOLLOW) and not self.before
        found = list(self.queryset[: self.list_per_page + 1])
        self.result_list = found[: self.list_per_page]
        more = len(found) > self.list_per_page
        self.older = self.get_query_string({BEFORE: self._position(self.result_list[-1])}) if more else None
        self.newest = self.get_query_string()
        # Equal counts, so that the template shows no total.
        self.result_count = self.full_result_count = len(self.result_list)
        self.show_full_result_count = self.can_show_all = self.multi_page = self.show_admin_actions = False
        self.choosable = []

    @property
    def follow_link(self) -> Link | None:
        """Turns that on and off; None on older pages."""
        if self.before or FOLLOW not in self.model_admin.filter_bar.views:
            return None
        follow = {} if self.is_followed else {FOLLOW: "1"}
        return Link(label="Follow", url=f"?{encode({**self.bar.filters, **follow})}", is_current=self.is_followed)

    @property
    def count_label(self) -> str:
        """Only of this page, as the whole list is never counted."""
        return f"{self.result_count} on this page"

    def _position(self, row: Model) -> str:
        return SEPARATOR.join(self._column(name).value_to_string(row) for name in self.model_admin.position)

    def _column(self, name: str) -> Any:
        return self.model._meta.get_field(name)

    def _older_than(self, position: str) -> Q:
        names = self.model_admin.position
        try:
            texts = zip(names, position.split(SEPARATOR), strict=True)
            return older({name: self._column(name).to_python(text) for name, text in texts})
        except (ValidationError, ValueError) as error:
            raise IncorrectLookupParameters(error) from None


def older(position: dict[str, Any]) -> Q:
    """Returns a row-wise less-than. The leading column is also compared alone, so that its index is used."""
    (name, value), *rest = position.items()
    if not rest:
        return Q(**{f"{name}__lt": value})
    return Q(**{f"{name}__lte": value}) & (Q(**{f"{name}__lt": value}) | older(dict(rest)))
