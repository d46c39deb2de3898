"""Restricts a list to the query parameters that it offers: its filter bar, search, order and pages.

Django accepts more lookups, such as regular expressions, with which a client can keep PostgreSQL busy for minutes.
"""

from collections.abc import Iterable
from functools import cached_property
from typing import Any, NamedTuple

from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import IGNORED_PARAMS, PAGE_VAR, SEARCH_VAR, ChangeList
from django.core.exceptions import SuspiciousOperation, ValidationError
from django.db import DataError
from django.db.models import QuerySet

from activity.parameters import BadParameter
from registry.admin.lists import rows
from registry.admin.lists.bar import PLACES, BoundBar, FilterBar

MAX_SEARCH_CHARACTERS = 200
MOST_CHOSEN = 1000
DESTRUCTIVE = ("delete_selected", "revoke")
NOT_OFFERED = "This filter or value is not offered here. The list is shown without filters."
# Raised for a value of the wrong type, an unknown column or a page that does not exist.
BAD_PARAMETER_ERRORS = (
    IncorrectLookupParameters,
    SuspiciousOperation,
    ValidationError,
    ValueError,
    OverflowError,
    DataError,
)


class Action(NamedTuple):
    """What can be done with the chosen rows."""

    name: str
    label: str
    is_destructive: bool


class NotOffered(Exception):
    """The request has a parameter or a value that the list does not offer; the message says so to people."""

    @classmethod
    def because(cls, error: Exception) -> "NotOffered":
        return cls(f"{error}. The list is shown without filters." if isinstance(error, BadParameter) else NOT_OFFERED)


class OfferedChangeList(ChangeList):
    """Raises IncorrectLookupParameters for parameters that the list does not take, BadParameter for bad values."""

    model_admin: Any

    def get_filters(self, request: Any) -> Any:
        """No filters of Django's; the filter bar selects the rows."""
        require_offered(self.filter_params, self.model_admin.filter_bar)
        if not is_searchable(self.query):
            raise IncorrectLookupParameters
        return [], False, {}, False, bool(self.bar.filters)

    def get_queryset(self, request: Any, exclude_parameters: Any = None) -> QuerySet[Any]:
        self.bar = BoundBar(self.model_admin.filter_bar, request)
        self.root_queryset = self.model_admin.selected(request)
        return super().get_queryset(request, exclude_parameters)

    def get_results(self, request: Any) -> None:
        super().get_results(request)
        self.choosable = [
            Action(name, label, is_destructive=getattr(act, "is_destructive", name in DESTRUCTIVE))
            for act, name, label in self.model_admin.get_actions(request).values()
        ]

    @property
    def saved(self) -> Any:
        """What saved filters are offered, and where they are saved; None for a list without filters."""
        from registry.admin.lists import saved  # noqa: PLC0415  # it checks filters as this module does

        if not self.model_admin.filter_bar.controls:
            return None
        return {
            "links": saved.links(self.model_admin, self.bar),
            "url": saved.page_url(self.model_admin),
            "may_share": saved.may_share(self.bar.request.user),
        }

    @property
    def count_label(self) -> str:
        """ "1,204 workspaces"."""
        one, several = self.model_admin.counted_as or (self.opts.verbose_name, self.opts.verbose_name_plural)
        return f"{self.result_count:,} {one if self.result_count == 1 else several}"

    @property
    def most_chosen(self) -> int:
        """How many rows an action takes at once."""
        return MOST_CHOSEN

    @cached_property
    def page_links(self) -> list[tuple[Any, str, bool]]:
        """The numbers of pages, each with its URL and whether it is this one; a gap has no URL. Empty for one page."""
        if not self.multi_page:
            return []
        numbers = self.paginator.get_elided_page_range(self.page_num, on_each_side=2, on_ends=1)
        return [
            (n, self.get_query_string({PAGE_VAR: n}) if isinstance(n, int) else "", n == self.page_num) for n in numbers
        ]

    @property
    def rows(self) -> list[rows.Row]:
        """The rows of the page as cells."""
        return list(rows.rows(self))

    @property
    def headers(self) -> list[dict[str, Any]]:
        """The headers of the columns."""
        return rows.headers(self)


def require_offered(names: Iterable[str], bar: FilterBar) -> None:
    """Raises IncorrectLookupParameters for a parameter that a list with this filter bar does not take."""
    if not set(names) <= {*bar.names, SEARCH_VAR, *IGNORED_PARAMS, *PLACES}:
        raise IncorrectLookupParameters


def is_searchable(text: str) -> bool:
    """Limits the length, as each word is a condition on each column. PostgreSQL accepts no NUL."""
    return len(text) <= MAX_SEARCH_CHARACTERS and "\x00" not in text
