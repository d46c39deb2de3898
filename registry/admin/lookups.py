"""Restricts a list to the query parameters that it offers: its filters, search, order and pages.

Django accepts more lookups, such as regular expressions, with which a client can keep PostgreSQL busy for minutes.
"""

from typing import Any

from django.contrib.admin.filters import SimpleListFilter
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import SEARCH_VAR, ChangeList
from django.core.exceptions import SuspiciousOperation, ValidationError
from django.db import DataError

MAX_SEARCH_CHARACTERS = 200
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


class NotOffered(Exception):
    """The request has a parameter or a value that the list does not offer."""


class OfferedChangeList(ChangeList):
    """Raises IncorrectLookupParameters for parameters that no filter takes. No list has a date hierarchy."""

    def get_filters(self, request: Any) -> Any:
        if not is_searchable(request.GET.get(SEARCH_VAR, "")) or any(
            len(values) > 1 for values in self.filter_params.values()
        ):
            raise IncorrectLookupParameters
        specs, has_filters, left, may_have_duplicates, has_active_filters = super().get_filters(request)
        if left or not all(_has_choice(spec) for spec in specs):
            raise IncorrectLookupParameters
        return specs, has_filters, left, may_have_duplicates, has_active_filters


def is_searchable(text: str) -> bool:
    """Limits the length, as each word is a condition on each column. PostgreSQL accepts no NUL."""
    return len(text) <= MAX_SEARCH_CHARACTERS and "\x00" not in text


def _has_choice(spec: Any) -> bool:
    if not isinstance(spec, SimpleListFilter):
        return True
    return spec.value() in (None, *(str(value) for value, _title in spec.lookup_choices))
