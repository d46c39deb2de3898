"""The filter bars of the two logs. None of them scans a log to find its choices."""

from dataclasses import replace
from typing import Any
from uuid import UUID

from django.contrib.auth.models import User
from django.db.models import QuerySet

from activity import filters, parameters
from activity.filters import ActivityFilter, EventFilter, LogFilter
from activity.models import ActivityStatus, ActivityType, EventType
from activity.parameters import Parameters
from activity.principals import Kind
from registry.admin.lists.bar import FilterBar, Preset
from registry.admin.lists.controls import Hidden, Several, Text, Times
from registry.admin.lists.paging import FOLLOW
from registry.identity.tokens import principal_for_user
from registry.liveness import expiry
from registry.models import Workspace

MAX_MATCHES = 100
SPANS = {"1h": "Last hour", "24h": "Last 24 hours", "7d": "Last 7 days"}


def ids_matching(text: str) -> list[UUID]:
    """Returns at most MAX_MATCHES workspaces, active or removed, because the log has an index by id only."""
    try:
        return [UUID(text)]
    except ValueError:
        found = Workspace.objects.filter(name__icontains=text).order_by("name", "id")
        return list(found.values_list("id", flat=True)[:MAX_MATCHES])


def actors(text: str) -> tuple[str, ...]:
    """The actors to search for; "operator:", "command:" and the id of a user may be left out.

    For a user's name also the older form, without the id. Each is compared as a whole, which the index supports.
    """
    try:
        return (f"{Kind.WORKSPACE}:{UUID(text)}",)
    except ValueError:
        name = text.removeprefix(f"{Kind.OPERATOR}:")
    if ":" in name or text == expiry.ACTOR:
        return (text,)
    ids = User.objects.filter(username=name).values_list("pk", flat=True)
    return (text, f"{Kind.OPERATOR}:{name}", f"command:{name}", *(f"{Kind.OPERATOR}:{name}#{pk}" for pk in ids))


def title_of(workspace_id: str) -> str:
    """The name of a workspace, or its id."""
    try:
        found = Workspace.objects.filter(id=UUID(workspace_id)).values_list("name", flat=True).first()
    except ValueError:
        return workspace_id
    return found or workspace_id


def _select_activity(rows: QuerySet[Any], given: Parameters) -> QuerySet[Any]:
    wanted: ActivityFilter = _of_workspaces(filters.activity(given), given)
    return wanted.select(rows)


def _select_events(rows: QuerySet[Any], given: Parameters) -> QuerySet[Any]:
    wanted: EventFilter = _of_workspaces(filters.events(given), given)
    found = tuple(one for text in wanted.actors for one in actors(text))
    return replace(wanted, actors=found).select(rows)


def _of_workspaces(wanted: Any, given: Parameters) -> Any:
    """The filter, also by part of a workspace's name, which only the admin offers."""
    text = parameters.text(given, "workspace")
    if not text:
        return wanted
    ids = ids_matching(text)
    found: LogFilter = wanted
    kept = ids if found.workspace_ids is None else [one for one in ids if one in found.workspace_ids]
    return replace(found, workspace_ids=kept)


WORKSPACE = Text(name="workspace", label="Workspace", hint="Part of the name, or the id")
WORKSPACE_ID = Hidden(name="workspace_id", label="Workspace", title=title_of)
TIME = Times(label="Time", after="since", before="until")
RECENT = tuple(Preset(label=label, values={"since": span}) for span, label in SPANS.items())

ACTIVITY = FilterBar(
    controls=(
        WORKSPACE,
        WORKSPACE_ID,
        Several(name="type", label="Type", choices=ActivityType.choices),
        Several(name="status", label="Status", choices=ActivityStatus.choices),
        TIME,
        Hidden(name="source", label="Source"),
        Hidden(name="before", label="Before"),
    ),
    presets=(Preset(label="Errors", values={"status": f"{ActivityStatus.ERROR},{ActivityStatus.TIMEOUT}"}), *RECENT),
    select=_select_activity,
    views=(FOLLOW,),
)
EVENTS = FilterBar(
    controls=(
        WORKSPACE,
        WORKSPACE_ID,
        Text(name="actor", label="Actor", hint="User name, or a workspace id"),
        Several(name="type", label="Type", choices=EventType.choices),
        TIME,
    ),
    presets=(
        Preset(label="By me", values=lambda request: {"actor": principal_for_user(request.user).actor}),
        Preset(label="By the supervisor", values={"actor": expiry.ACTOR}),
        *RECENT,
    ),
    select=_select_events,
    views=(FOLLOW,),
)
