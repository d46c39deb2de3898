"""Serializers of events and activity."""

from datetime import datetime
from typing import Any

from rest_framework import serializers

from activity import cursors, filters
from activity.cursors import Cursor
from activity.fields import FilterField, LimitField, RequestFields
from activity.models import MAX_SEQ, ActivityLog, ActivityStatus, ActivityType, EventType, StructureEvent
from activity.parameters import query_time

MAX_INT = 2**31 - 1
LONGEST_METHOD = 255
LONGEST_TEXT = 64 * 1024
SOME_TIME = "An ISO 8601 time, or how long ago: `30m`, `24h`, `7d`, `2w`."
MAX_ENTRIES = 500
"""In one report."""


class TimeField(serializers.DateTimeField):
    """A time in a query string; see query_time()."""

    def to_internal_value(self, value: Any) -> datetime:
        return super().to_internal_value(query_time(str(value)) or "")


class SomeTimeField(serializers.CharField):
    """A time in a query string; activity.parameters.moment() reads it."""

    def __init__(self) -> None:
        super().__init__(required=False, help_text=SOME_TIME)


class ActivityTypeField(serializers.ChoiceField):
    def __init__(self, **kwargs: Any) -> None:
        message = f"invalid activity_type, must be one of: {', '.join(ActivityType.values)}"
        super().__init__(ActivityType.choices, error_messages={"invalid_choice": message}, **kwargs)


class ActivityEntry(RequestFields):
    activity_type = ActivityTypeField()
    method = serializers.CharField(required=False, allow_null=True, allow_blank=True, max_length=LONGEST_METHOD)
    summary = serializers.CharField(required=False, allow_null=True, allow_blank=True, max_length=LONGEST_TEXT)
    source_id = serializers.UUIDField(required=False, allow_null=True)
    target_id = serializers.UUIDField(required=False, allow_null=True)
    request_body = serializers.JSONField(required=False, allow_null=True)
    response_body = serializers.JSONField(required=False, allow_null=True)
    metadata = serializers.JSONField(
        required=False, allow_null=True, help_text="Stored as request_body if that is absent."
    )
    duration_ms = serializers.IntegerField(required=False, allow_null=True, min_value=0, max_value=MAX_INT)
    status = serializers.ChoiceField(ActivityStatus.choices, default=ActivityStatus.OK)
    error_detail = serializers.CharField(required=False, allow_null=True, allow_blank=True, max_length=LONGEST_TEXT)


class CursorField(serializers.CharField):
    """A cursor in a query string, from a link of an earlier answer."""

    default_error_messages = {"invalid": "must be from a link of this list; start without one"}

    def to_internal_value(self, value: Any) -> Cursor:  # type: ignore[override]
        try:
            return cursors.decode(super().to_internal_value(value))
        except cursors.Malformed:
            self.fail("invalid")


class ActivityPageQuery(RequestFields):
    """Which page of an activity list."""

    cursor = CursorField(required=False, help_text="Where to go on, from the Link header of an earlier answer.")
    limit = LimitField(most=500)


class ActivityQuery(ActivityPageQuery):
    """Filters of an activity list; of the matching rows the newest `limit` are returned.

    For the documentation only: activity.filters reads the filters.
    """

    type = FilterField(ActivityType.values)
    status = FilterField(ActivityStatus.values)
    source = FilterField(filters.SOURCES)  # type: ignore[assignment]
    workspace_id = serializers.UUIDField(required=False)
    since = SomeTimeField()
    until = SomeTimeField()
    before = SomeTimeField()


class ActivityRow(serializers.ModelSerializer[ActivityLog]):
    """Every column; request_body and response_body only if they are set. For the documentation only."""

    class Meta:
        model = ActivityLog
        fields = [
            "id",
            "workspace_id",
            "activity_type",
            "source_id",
            "target_id",
            "method",
            "summary",
            "request_body",
            "response_body",
            "duration_ms",
            "status",
            "error_detail",
            "created_at",
        ]


class EventPageQuery(RequestFields):
    """Newest first; with `after`, the events after that position, oldest first."""

    after = serializers.IntegerField(required=False, min_value=0, max_value=MAX_SEQ)
    before = serializers.IntegerField(required=False, min_value=0, max_value=MAX_SEQ)
    limit = LimitField(most=1000)


class EventQuery(EventPageQuery):
    """For the documentation only: activity.filters reads the filters."""

    type = FilterField(EventType.values)
    actor = serializers.CharField(required=False)
    workspace_id = serializers.UUIDField(required=False)
    since = SomeTimeField()
    until = SomeTimeField()


class EventRow(serializers.ModelSerializer[StructureEvent]):
    """For the documentation only."""

    class Meta:
        model = StructureEvent
        fields = [
            "id",
            "seq",
            "event_type",
            "workspace_id",
            "agent_id",
            "target_id",
            "payload",
            "actor",
            "created_at",
            "transaction_id",
        ]
