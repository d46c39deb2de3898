"""The filter bar above a list: one GET form, presets, and the filters in force as chips. All of it is in the URL."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import urlencode

from django.contrib.admin.views.main import ALL_VAR, ERROR_FLAG, ORDER_VAR, PAGE_VAR, SEARCH_VAR
from django.db.models import QuerySet

from activity.parameters import Parameters
from registry.admin.lists.controls import Chip, Control, Hidden, Several

BEFORE = "page_before"
"""The position of a page in a log."""
PLACES = (PAGE_VAR, ALL_VAR, ERROR_FLAG, BEFORE)
"""Parameters that say which part of the list is shown; they mean nothing for another filter."""
Select = Callable[[QuerySet[Any], Parameters], QuerySet[Any]]


@dataclass(frozen=True, kw_only=True)
class Preset:
    """Parameters that are often asked for, with a name; `values` may depend on the request."""

    label: str
    values: Mapping[str, str] | Callable[[Any], Mapping[str, str]]


@dataclass(frozen=True, kw_only=True)
class FilterBar:
    """What a list can be filtered by. `select`: the list's own filter; without one the controls have conditions.

    `views`: further parameters, which change how the list is shown and not what is in it.
    """

    controls: Sequence[Control] = ()
    presets: Sequence[Preset] = ()
    select: Select | None = None
    views: Sequence[str] = ()

    @property
    def names(self) -> list[str]:
        """The parameters that the list takes besides those of every list."""
        return [*(name for control in self.controls for name in control.names), *self.views]

    @property
    def filters(self) -> list[str]:
        """The parameters that change what is in the list."""
        return [SEARCH_VAR, *(name for control in self.controls for name in control.names)]

    def canonical(self, given: Parameters) -> dict[str, list[str]]:
        """The filters without empty values: of a control with several values each once, of others the last."""
        several = {control.name for control in self.controls if isinstance(control, Several)}
        found = {}
        for name in self.filters:
            values = [value.strip() for value in given.get(name, ()) if value.strip()]
            if name in several:
                found[name] = sorted({part.strip() for value in values for part in value.split(",") if part.strip()})
            else:
                found[name] = values[-1:]
        return {name: values for name, values in found.items() if values}

    def selected(self, rows: QuerySet[Any], given: Parameters) -> QuerySet[Any]:
        """The rows that the parameters want, whatever is searched for. Raises BadParameter."""
        if self.select is not None:
            return self.select(rows, given)
        return rows.filter(*(condition for control in self.controls for condition in control.conditions(given)))


@dataclass(frozen=True, kw_only=True)
class Link:
    """A chip that leads somewhere. `is_current`: the page shows that."""

    label: str
    url: str
    is_current: bool = False


@dataclass(frozen=True, kw_only=True)
class BoundControl:
    """A control with the values of a request."""

    control: Control
    values: Mapping[str, str]
    options: Sequence[Any] = ()
    count: int = 0


@dataclass(frozen=True)
class BoundBar:
    """A filter bar with the parameters of a request, for the template."""

    bar: FilterBar
    request: Any

    @cached_property
    def given(self) -> Parameters:
        return parameters_of(self.request)

    @property
    def search(self) -> str:
        return (self.given.get(SEARCH_VAR) or [""])[-1]

    @cached_property
    def controls(self) -> list[BoundControl]:
        """Those with inputs."""
        return [self._bound(one) for one in self.bar.controls if not isinstance(one, Hidden)]

    def _bound(self, control: Control) -> BoundControl:
        return BoundControl(
            control=control,
            values={name: (self.given.get(name) or [""])[-1] for name in control.names},
            options=getattr(control, "options", lambda given: ())(self.given),
            count=len(list(control.chips(self.given))),
        )

    @property
    def hidden(self) -> list[tuple[str, str]]:
        """The parameters that the form repeats: what links have set, the order and the view."""
        shown = {SEARCH_VAR, *(name for one in self.controls for name in one.control.names)}
        return [
            (name, value)
            for name, values in self.given.items()
            for value in values
            if value and name not in shown and name not in PLACES
        ]

    @property
    def presets(self) -> list[Link]:
        """A preset that is in force leads to the list without it."""
        both = ((one.label, one.values) for one in self.bar.presets)
        return [self.link(label, values(self.request) if callable(values) else values) for label, values in both]

    def link(self, label: str, values: Mapping[str, Any]) -> Link:
        """A chip that leads to the list with these filters, and back from it."""
        wanted = self.bar.canonical({name: [text] if isinstance(text, str) else text for name, text in values.items()})
        is_current = wanted == self.filters
        return Link(label=label, url=self.clear_url if is_current else self.url(wanted), is_current=is_current)

    @cached_property
    def chips(self) -> list[Link]:
        """The filters in force; each leads to the list without it."""
        found = [Chip(label=f"“{self.search}”", name=SEARCH_VAR, value=self.search)] if self.search else []
        found += [chip for control in self.bar.controls for chip in control.chips(self.given)]
        return [Link(label=chip.label, url=self._without(chip)) for chip in found]

    @cached_property
    def filters(self) -> dict[str, list[str]]:
        """The parameters that change what is in the list."""
        return self.bar.canonical(self.given)

    @property
    def query(self) -> str:
        """The filters as a query string, without "?"."""
        return encode(self.filters)

    @property
    def clear_url(self) -> str:
        return self.url({})

    def url(self, values: Mapping[str, Any]) -> str:
        """The list with these filters, in the order and view of this request."""
        kept = {name: self.given[name] for name in (ORDER_VAR, *self.bar.views) if name in self.given}
        return "?" + encode({**kept, **values})

    def _without(self, chip: Chip) -> str:
        left = [value for value in self.filters.get(chip.name, ()) if value != chip.value]
        return self.url({**self.filters, chip.name: left})


def encode(values: Mapping[str, Any]) -> str:
    """The values as a query string, in a fixed order."""
    return urlencode(sorted((name, value) for name, value in values.items() if value), doseq=True)


def parameters_of(request: Any) -> Parameters:
    """The query parameters of a request."""
    return dict(request.GET.lists())
