"""Which rows of the two logs a list shows. One definition for REST, the admin's lists and exports."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

from django.db.models import Model, QuerySet, TextChoices

from activity import parameters
from activity.models import ActivityLog, ActivityStatus, ActivityType, EventType, StructureEvent
from activity.parameters import Parameters

SOURCES = ("canvas", "agent")
Row = TypeVar("Row", bound=Model)


@dataclass(frozen=True, kw_only=True)
class LogFilter:
    """Conditions that a row must all meet; what is empty is no condition, but an empty list of ids matches nothing.

    `since` and `until` are exclusive. A type or status that does not exist matches nothing.
    """

    types: tuple[str, ...] = ()
    workspace_ids: Sequence[UUID] | None = None
    since: datetime | None = None
    until: datetime | None = None

    def conditions(self) -> dict[str, Any]:
        """The condition of each column that both logs have; None is no condition."""
        return {"workspace_id__in": self.workspace_ids, "created_at__gt": self.since, "created_at__lt": self.until}


@dataclass(frozen=True, kw_only=True)
class ActivityFilter(LogFilter):
    """`source`: one of SOURCES, "canvas" for no source workspace; another matches nothing."""

    statuses: tuple[str, ...] = ()
    source: str = ""

    def select(self, rows: QuerySet[ActivityLog]) -> QuerySet[ActivityLog]:
        """Those of the rows that the filter wants."""
        if self.source and self.source not in SOURCES:
            return rows.none()
        own = {
            "activity_type__in": _existing(self.types, ActivityType),
            "status__in": _existing(self.statuses, ActivityStatus),
            "source_id__isnull": self.source == "canvas" if self.source else None,
        }
        return _filtered(rows, self.conditions() | own)


@dataclass(frozen=True, kw_only=True)
class EventFilter(LogFilter):
    """`actors`: one of these, exactly."""

    actors: tuple[str, ...] = ()

    def select(self, rows: QuerySet[StructureEvent]) -> QuerySet[StructureEvent]:
        """Those of the rows that the filter wants."""
        own = {"event_type__in": _existing(self.types, EventType), "actor__in": self.actors or None}
        return _filtered(rows, self.conditions() | own)


def activity(given: Parameters) -> ActivityFilter:
    """The filter of the activity log that the parameters ask for. `before` is another name for `until`.

    Raises BadParameter.
    """
    return ActivityFilter(
        **_common(given),
        statuses=parameters.several(given, "status"),
        source=parameters.text(given, "source"),
        until=_earliest(parameters.moment(given, "until"), parameters.moment(given, "before")),
    )


def events(given: Parameters) -> EventFilter:
    """The filter of the structural log that the parameters ask for. Raises BadParameter."""
    actor = parameters.text(given, "actor")
    return EventFilter(**_common(given), until=parameters.moment(given, "until"), actors=(actor,) if actor else ())


def _common(given: Parameters) -> dict[str, Any]:
    workspace_id = parameters.identifier(given, "workspace_id")
    return {
        "types": parameters.several(given, "type"),
        "workspace_ids": [workspace_id] if workspace_id else None,
        "since": parameters.moment(given, "since"),
    }


def _earliest(*moments: datetime | None) -> datetime | None:
    return min((moment for moment in moments if moment is not None), default=None)


def _existing(wanted: Sequence[str], choices: type[TextChoices]) -> list[str] | None:
    """The wanted values that exist: a list without any is answered without reading the log. None for no condition."""
    return [value for value in wanted if value in choices.values] if wanted else None


def _filtered(rows: QuerySet[Row], conditions: dict[str, Any]) -> QuerySet[Row]:
    return rows.filter(**{name: value for name, value in conditions.items() if value is not None})
