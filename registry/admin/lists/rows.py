"""The rows of a list as cells with labels, so that a narrow window can show each row as a card."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from django.contrib.admin.templatetags.admin_list import result_headers
from django.contrib.admin.utils import display_for_field, label_for_field, quote
from django.utils.safestring import SafeString, mark_safe
from django.utils.text import capfirst

from registry.admin import formats
from registry.models import Workspace

CHECKBOX = "action_checkbox"
PLACEHOLDER = "0" * 32
"""Stands for a row's id in the address of its page."""


@dataclass(frozen=True, kw_only=True)
class Column:
    """`attributes` are those of the tag of each cell. `value` says what is shown of a row."""

    css: str
    attributes: SafeString
    value: Callable[[Any], Any]


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One value, as it is shown."""

    column: Column
    shown: Any

    @property
    def name(self) -> str:
        return self.column.css


@dataclass(frozen=True, kw_only=True)
class Row:
    """`workspace_id` is set where the row is a workspace, for live updates. The first cell leads to `url`."""

    pk: str
    name: str
    url: str
    cells: list[Cell]
    workspace_id: str = ""

    @property
    def html(self) -> SafeString:
        """The cells. A page has hundreds of them, which the template language would render three times as slowly."""
        first, *others = ((cell.column.attributes, cell.shown) for cell in self.cells)
        head = formats.html('<th scope="row" {}><a href="{}">{}</a></th>', first[0], self.url, first[1])
        return head + mark_safe("".join(formats.html("<td {}>{}</td>", *cell) for cell in others))  # noqa: S308


def rows(changelist: Any) -> Iterator[Row]:
    """The rows of the page."""
    columns = [_column(changelist, name) for name in changelist.list_display if name != CHECKBOX]
    page = changelist.url_for_result(changelist.model(pk=PLACEHOLDER)) if changelist.result_list else ""
    for row in changelist.result_list:
        yield Row(
            pk=str(row.pk),
            name=str(row),
            url=page.replace(PLACEHOLDER, quote(str(row.pk))),
            cells=[Cell(column=column, shown=_shown(column.value(row))) for column in columns],
            workspace_id=str(row.pk) if isinstance(row, Workspace) else "",
        )


def headers(changelist: Any) -> list[dict[str, Any]]:
    """The headers of the columns, with links that sort."""
    both = zip(changelist.list_display, result_headers(changelist), strict=True)
    return [{**header, "text": capfirst(str(header["text"]))} for name, header in both if name != CHECKBOX]


def _column(changelist: Any, name: Any) -> Column:
    label = capfirst(str(label_for_field(name, changelist.model, changelist.model_admin)))
    css = name.__name__ if callable(name) else name
    attributes = formats.html('class="field-{}" data-label="{}"', css, label)
    return Column(css=css, attributes=attributes, value=_value(changelist, name))


def _value(changelist: Any, name: Any) -> Callable[[Any], Any]:
    """What the column shows of a row. Django would look up for each row again where a column comes from."""
    if name == "__str__":
        return str
    if callable(name):
        return name  # type: ignore[no-any-return]
    field = next((one for one in changelist.opts.fields if one.name == name), None)
    if field is not None:
        return lambda row: display_for_field(getattr(row, name), field, "")
    return getattr(changelist.model_admin, name)  # type: ignore[no-any-return]


def _shown(value: Any) -> Any:
    return "" if value in (None, formats.EMPTY) else value
