"""Exports of lists: exactly what the filters select, as CSV or NDJSON, read in batches."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern

from activity import clock, downloads
from activity.downloads import FORMATS, Format
from registry.admin.lists import routes
from registry.admin.lists.bar import BoundBar
from registry.admin.lists.lookups import NotOffered
from registry.admin.lists.paging import older

BATCH, LARGE_BATCH = 1000, 100
"""Rows that are in memory at once."""
MOST_COUNTED = 100_000
TEMPLATE = "admin/lists/export.html"


@dataclass(frozen=True, kw_only=True)
class Export:
    """`position` orders the rows, newest first, and is unique; its columns are among `columns`. `is_large`: a row may
    have more than 100 kB."""

    columns: tuple[str, ...]
    position: tuple[str, ...]
    is_large: bool = False

    def batches(self, rows: QuerySet[Any]) -> Generator[Sequence[tuple[Any, ...]], None, None]:
        """The values of all rows. Each batch is a query of its own, so no transaction lasts as long as the download."""
        ordered = rows.order_by(*(f"-{name}" for name in self.position))
        upto: dict[str, Any] = {}
        most = LARGE_BATCH if self.is_large else BATCH
        while True:
            found = list((ordered.filter(older(upto)) if upto else ordered).values_list(*self.columns)[:most])
            if found:
                yield found
            if len(found) < most:
                return
            upto = {name: found[-1][self.columns.index(name)] for name in self.position}


def urls(model_admin: Any) -> list[URLPattern]:
    """The page that asks, and the files."""
    files = (routes.at(model_admin, f"export/{form.name}/", _file_page(form), _file, form) for form in FORMATS)
    return [routes.at(model_admin, "export/", "export", _page), *files]


def page_url(model_admin: Any) -> str:
    """The page that asks; the filters follow it."""
    return routes.url(model_admin, "export")


def _page(model_admin: Any, request: Any) -> HttpResponse:
    """Says how many rows there are before the download starts."""
    try:
        rows = _rows(model_admin, request)
    except NotOffered as error:
        return _back(model_admin, request, error)
    bar, count = BoundBar(model_admin.filter_bar, request), rows.order_by()[: MOST_COUNTED + 1].count()
    opts = model_admin.opts
    context = {
        **model_admin.admin_site.each_context(request),
        "title": f"Export {opts.verbose_name_plural}",
        "opts": opts,
        "size": size_label(count),
        "bar": bar,
        "files": [(form.label, f"{routes.url(model_admin, _file_page(form))}?{bar.query}") for form in FORMATS],
        "back": f"{routes.url(model_admin)}?{bar.query}",
    }
    return TemplateResponse(request, TEMPLATE, context)


def _file_page(form: Format) -> str:
    return f"export_{form.name}"


def _file(form: Format, model_admin: Any, request: Any) -> HttpResponse:
    try:
        rows = _rows(model_admin, request)
    except NotOffered as error:
        return _back(model_admin, request, error)
    export: Export = model_admin.export
    name = f"{str(model_admin.opts.verbose_name_plural).replace(' ', '-')}-{clock.now():%Y-%m-%d}"
    return downloads.download(form, export.columns, export.batches(rows), name=name)  # type: ignore[return-value]


def _rows(model_admin: Any, request: Any) -> QuerySet[Any]:
    """What the list shows for these parameters, on all its pages. Raises PermissionDenied, NotOffered."""
    if not model_admin.has_view_permission(request):
        raise PermissionDenied
    rows: QuerySet[Any] = model_admin.listed(request)
    return rows


def _back(model_admin: Any, request: Any, error: NotOffered) -> HttpResponse:
    messages.warning(request, str(error))
    return HttpResponseRedirect(routes.url(model_admin))


def size_label(count: int) -> str:
    """ "1,204 rows", "more than 100,000 rows"."""
    if count > MOST_COUNTED:
        return f"more than {MOST_COUNTED:,} rows"
    return f"{count:,} row{'' if count == 1 else 's'}"
