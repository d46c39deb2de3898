"""The filters beside the logs, with inputs: workspace, actor and time. None scans a log to find its choices."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.contrib import admin
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.auth.models import User
from django.db.models import QuerySet

from activity import clock
from activity.principals import Kind
from activity.serializers import query_time
from registry.admin.bases import actor_of
from registry.admin.paging import BEFORE
from registry.liveness import expiry
from registry.models import Workspace

MAX_MATCHES = 100
TIME_SPANS = {"1h": timedelta(hours=1), "1d": timedelta(days=1), "7d": timedelta(days=7)}


@dataclass(frozen=True, kw_only=True)
class Input:
    """One input of a filter form."""

    name: str
    label: str
    value: str
    type: str = "text"
    hint: str = ""


class InputFilter(admin.ListFilter):
    """`parameters`: the names it reads from the query string. `presets`: links beside the inputs."""

    template = "admin/activity/input_filter.html"
    parameters: tuple[str, ...]

    def __init__(self, request: Any, params: dict[str, list[str]], model: Any, model_admin: Any) -> None:
        super().__init__(request, params, model, model_admin)
        self.values = {name: params.pop(name)[-1].strip() for name in self.parameters if name in params}
        if any("\x00" in text for text in self.values.values()):
            raise IncorrectLookupParameters

    def expected_parameters(self) -> list[str | None]:
        return list(self.parameters)

    def has_output(self) -> bool:
        return True

    def value_of(self, name: str) -> str:
        """Returns the parameter, empty when it was not given."""
        return self.values.get(name, "")

    def inputs(self) -> Sequence[Input]:
        """Returns the inputs of the form."""
        raise NotImplementedError

    def presets(self) -> Sequence[tuple[dict[str, str], str]]:
        """Returns pairs of parameters and link title."""
        return []

    def preserved(self) -> list[tuple[str, str]]:
        """Returns the parameters of the other filters, which the form repeats; not the page position."""
        return [(name, str(text)) for name, text in self.request.GET.items() if name not in (*self.parameters, BEFORE)]

    def choices(self, changelist: Any) -> Iterator[Any]:
        chosen = {name: text for name, text in self.values.items() if text}
        for values, title in [({}, "All"), *self.presets()]:
            query = changelist.get_query_string(values, remove=[n for n in self.parameters if n not in values])
            yield {"selected": chosen == values, "query_string": query, "display": title}


class WorkspaceFilter(InputFilter):
    """`?workspace_id=…` comes from links, `?workspace=…` from the input."""

    title = "workspace"
    parameters = ("workspace_id", "workspace")

    def inputs(self) -> Sequence[Input]:
        text = self.value_of("workspace")
        return [Input(name="workspace", label="Part of the name, or the id", value=text)]

    def presets(self) -> Sequence[tuple[dict[str, str], str]]:
        workspace_id = self.value_of("workspace_id")
        if not workspace_id:
            return []
        name = Workspace.objects.filter(id=_uuid(workspace_id)).values_list("name", flat=True).first()
        return [({"workspace_id": workspace_id}, name or workspace_id)]

    def queryset(self, request: Any, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if workspace_id := self.value_of("workspace_id"):
            queryset = queryset.filter(workspace_id=_uuid(workspace_id))
        if text := self.value_of("workspace"):
            queryset = queryset.filter(workspace_id__in=_ids_matching(text))
        return queryset


class ActorFilter(InputFilter):
    """Matches exactly, which the index supports; "operator:", "command:" and the id of a user may be left out."""

    title = "actor"
    parameters = ("actor",)

    def inputs(self) -> Sequence[Input]:
        hint = "User name, or a workspace id"
        return [Input(name="actor", label="Actor", value=self.value_of("actor"), hint=hint)]

    def presets(self) -> Sequence[tuple[dict[str, str], str]]:
        return [({"actor": actor_of(self.request)}, "Me"), ({"actor": expiry.ACTOR}, "Supervisor")]

    def queryset(self, request: Any, queryset: QuerySet[Any]) -> QuerySet[Any]:
        text = self.value_of("actor")
        return queryset.filter(actor__in=_actors(text)) if text else queryset


class TimeFilter(InputFilter):
    """A span that ends now, or a range: `from` inclusive, `until` exclusive."""

    title = "time"
    parameters = ("since", "from", "until")

    def inputs(self) -> Sequence[Input]:
        return [
            Input(name=name, label=f"{name.capitalize()} (UTC)", value=self.value_of(name), type="datetime-local")
            for name in ("from", "until")
        ]

    def presets(self) -> Sequence[tuple[dict[str, str], str]]:
        titles = {"1h": "Last hour", "1d": "Last day", "7d": "Last 7 days"}
        return [({"since": span}, title) for span, title in titles.items()]

    def queryset(self, request: Any, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if name := self.value_of("since"):
            queryset = queryset.filter(created_at__gte=clock.now() - _span(name))
        if start := self.value_of("from"):
            queryset = queryset.filter(created_at__gte=_moment(start))
        if end := self.value_of("until"):
            queryset = queryset.filter(created_at__lt=_moment(end))
        return queryset


def _ids_matching(text: str) -> list[UUID]:
    """Returns at most MAX_MATCHES workspaces, active or removed, because the log has an index by id only."""
    try:
        return [UUID(text)]
    except ValueError:
        found = Workspace.objects.filter(name__icontains=text).order_by("name", "id")
        return list(found.values_list("id", flat=True)[:MAX_MATCHES])


def _actors(text: str) -> list[str]:
    """The actors to search for. For a user's name also the older form, without the id."""
    try:
        return [f"{Kind.WORKSPACE}:{UUID(text)}"]
    except ValueError:
        name = text.removeprefix(f"{Kind.OPERATOR}:")
    if ":" in name or text == expiry.ACTOR:
        return [text]
    ids = User.objects.filter(username=name).values_list("pk", flat=True)
    return [text, f"{Kind.OPERATOR}:{name}", f"command:{name}", *(f"{Kind.OPERATOR}:{name}#{pk}" for pk in ids)]


def _span(name: str) -> timedelta:
    if name not in TIME_SPANS:
        raise IncorrectLookupParameters(f"not a span: {name}")
    return TIME_SPANS[name]


def _moment(text: str) -> datetime:
    moment = query_time(text)
    if moment is None:
        raise IncorrectLookupParameters(f"not a time: {text}")
    return moment


def _uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError as error:
        raise IncorrectLookupParameters(error) from None
