"""REST for the organisation at a glance, and the availability of one workspace."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from rest_framework import serializers
from rest_framework.response import Response

from activity import clock
from activity.endpoints import Endpoint, documented
from activity.fields import RequestFields
from activity.serializers import TimeField
from activity.traffic import Traffic
from registry.liveness import availability
from registry.liveness.availability import Availability, Window
from registry.models import Status
from registry.organisation.attention import Attention, Item, Kind, recent_counts
from registry.organisation.overview import AVAILABILITY_HOURS, overview, recent
from registry.structure import rows

LONGEST = timedelta(days=31)


class WindowQuery(RequestFields):
    """From when until when; the last 48 hours by default, at most 31 days."""

    def get_fields(self) -> dict[str, Any]:
        """A method, because `from` is a keyword in Python."""
        return {"from": TimeField(required=False), "to": TimeField(required=False)}

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        now = clock.now()
        until = min(attrs.get("to", now), now)
        since = attrs.get("from") or _default_start(until)
        if since >= until:
            raise serializers.ValidationError({"from": "must be before to, and not in the future"})
        if until - since > LONGEST:
            raise serializers.ValidationError({"from": f"must be at most {LONGEST.days} days before to"})
        return {"window": Window(since, until)}


class Outage(serializers.Serializer[Any]):
    """A time in which the workspace was down. `until` is null where it still was at the end of the window."""

    status = serializers.ChoiceField(["offline", "failed"])
    since = serializers.DateTimeField()
    until = serializers.DateTimeField(allow_null=True)


class AvailabilityResponse(serializers.Serializer[Any]):
    """Up is online or degraded, down is offline or failed; other times count as neither."""

    ratio = serializers.FloatField(allow_null=True, help_text="Up, of up and down, 0-1; null if it was neither.")
    up_seconds = serializers.FloatField()
    down_seconds = serializers.FloatField()
    outages = Outage(many=True)
    strip = serializers.ListField(
        child=serializers.CharField(allow_null=True), help_text="The worst status in each of 48 parts."
    )

    def get_fields(self) -> dict[str, Any]:
        """A method, because `from` is a keyword in Python."""
        return {"from": serializers.DateTimeField(), "to": serializers.DateTimeField(), **super().get_fields()}


class CountsResponse(serializers.Serializer[Any]):
    """How many workspaces need somebody, and how many by problem."""

    count = serializers.IntegerField()
    kinds = serializers.DictField(child=serializers.IntegerField(), help_text="By kind of problem.")


class ProblemResponse(serializers.Serializer[Any]):
    """`at`: when it began, or when the token expires; null where that is not known."""

    kind = serializers.ChoiceField([str(kind) for kind in Kind])
    why = serializers.CharField(allow_blank=True)
    at = serializers.DateTimeField(allow_null=True)


class ItemResponse(serializers.Serializer[Any]):
    """A workspace that needs somebody."""

    workspace_id = serializers.UUIDField()
    name = serializers.CharField()
    status = serializers.ChoiceField(Status.choices)
    problems = ProblemResponse(many=True, help_text="The worst first.")


class AttentionResponse(CountsResponse):
    """With the workspaces that changed last, at most 50."""

    items = ItemResponse(many=True)
    global_secrets = serializers.ListField(
        child=serializers.CharField(), help_text="Keys of secrets for all workspaces that cannot be opened."
    )


class TrafficResponse(serializers.Serializer[Any]):
    """Calls of agents."""

    calls = serializers.IntegerField()
    errors = serializers.IntegerField()  # type: ignore[assignment]  # a declared field is no attribute
    p95_ms = serializers.FloatField(allow_null=True)


class HourResponse(TrafficResponse):
    """Those of one hour."""

    hour = serializers.DateTimeField()


class CallsResponse(TrafficResponse):
    """Those of the last 24 hours, of the 24 hours before, and hour by hour."""

    before = TrafficResponse()
    hours = HourResponse(many=True)


class UptimeResponse(serializers.Serializer[Any]):
    """How available all workspaces together were, and hour by hour."""

    to = serializers.DateTimeField()
    ratio = serializers.FloatField(allow_null=True)
    hours = serializers.ListField(child=serializers.FloatField(allow_null=True))

    def get_fields(self) -> dict[str, Any]:
        """A method, because `from` is a keyword in Python."""
        return {"from": serializers.DateTimeField(), **super().get_fields()}


class StatusesResponse(serializers.Serializer[Any]):
    """How many workspaces are active, and how many in each status."""

    total = serializers.IntegerField()
    statuses = serializers.DictField(child=serializers.IntegerField())


class OverviewResponse(serializers.Serializer[Any]):
    """The organisation at a glance."""

    at = serializers.DateTimeField()
    workspaces = StatusesResponse()
    attention = AttentionResponse()
    calls = CallsResponse()
    availability = UptimeResponse()


class WorkspaceAvailability(Endpoint):
    """`GET /workspaces/{id}/availability`"""

    @documented(
        "How much of a time a workspace was up",
        query=WindowQuery,
        answers={200: AvailabilityResponse},
        errors=(404, 410),
    )
    def get(self, request: Any, workspace_id: UUID) -> Response:
        rows.find(workspace_id)
        window: Window = self.query(WindowQuery)["window"]
        found = availability.of([workspace_id], window, AVAILABILITY_HOURS)[workspace_id]
        return Response(_availability(found, window))


class AttentionCounts(Endpoint):
    """`GET /attention`"""

    @documented("How many workspaces need somebody", answers={200: CountsResponse})
    def get(self, request: Any) -> Response:
        found = recent_counts()
        return Response({"count": found.count, "kinds": found.kinds})


class Overview(Endpoint):
    """`GET /overview`"""

    @documented("The organisation at a glance", answers={200: OverviewResponse})
    def get(self, request: Any) -> Response:
        found = overview()
        return Response(
            {
                "at": found.at,
                "workspaces": {"total": found.total, "statuses": found.statuses},
                "attention": _attention(found.attention),
                "calls": {
                    **_traffic(found.calls),
                    "before": _traffic(found.calls_before),
                    "hours": [{"hour": hour, **_traffic(calls)} for hour, calls in found.hours],
                },
                "availability": {
                    "from": found.window.since,
                    "to": found.at,
                    "ratio": found.uptime.ratio,
                    "hours": found.ratios,
                },
            }
        )


def _default_start(until: datetime) -> datetime:
    """Raises ValidationError for a time before which there is none."""
    try:
        return recent(until).since
    except OverflowError:
        raise serializers.ValidationError({"to": "is too early"}) from None


def _availability(found: Availability, window: Window) -> dict[str, Any]:
    return {
        "from": window.since,
        "to": window.until,
        "ratio": found.ratio,
        "up_seconds": found.up,
        "down_seconds": found.down,
        "outages": [
            {"status": one.status, "since": one.since, "until": _end(one.until, window)} for one in found.outages
        ],
        "strip": found.strip,
    }


def _end(until: datetime, window: Window) -> datetime | None:
    return None if until == window.until else until


def _traffic(found: Traffic) -> dict[str, Any]:
    return {"calls": found.calls, "errors": found.errors, "p95_ms": found.p95_ms}


def _attention(found: Attention) -> dict[str, Any]:
    return {
        "count": found.count,
        "kinds": found.kinds,
        "items": [_item(item) for item in found.items],
        "global_secrets": found.global_secrets,
    }


def _item(item: Item) -> dict[str, Any]:
    return {
        "workspace_id": item.workspace_id,
        "name": item.name,
        "status": item.status,
        "problems": [{"kind": one.kind, "why": one.why, "at": one.at} for one in item.problems],
    }
