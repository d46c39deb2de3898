"""Serializers of events and activity."""

import re
from datetime import UTC, datetime
from typing import Any

from django.utils.dateparse import parse_datetime
from rest_framework import serializers

from activity import cursors, log
from activity.cursors import Cursor
from activity.fields import FilterField, LimitField, RequestFields
from activity.models import ActivityLog, ActivityStatus, ActivityType, EventType, StructureEvent

MAX_INT = 2**31 - 1
MAX_SEQ = 2**63 - 1
LONGEST_METHOD = 255
LONGEST_TEXT = 64 * 1024
MAX_ENTRIES = 500
"""In one report."""
# A space that follows a time of day, not the one between date and time.
SPACE_BEFORE_OFFSET = re.compile(r"(:\d\d(?:[.,]\d+)?|[Tt ]\d+) (\d\d(?::?\d\d)?)?$")


def query_time(text: str) -> datetime | None:
    """The ISO 8601 time of a query parameter, in UTC, which is also assumed without an offset; None for other text.

    The "+" of an offset that a client did not encode arrives as a space.
    """
    try:
        moment = parse_datetime(SPACE_BEFORE_OFFSET.sub(r"\1+\2", text))
        # In UTC: PostgreSQL refuses offsets from 16 hours on.
        return moment and (moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC))
    except (ValueError, OverflowError):
        return None


class TimeField(serializers.DateTimeField):
    """A time in a query string; see query_time()."""

    def to_internal_value(self, value: Any) -> datetime:
        return super().to_internal_value(query_time(str(value)) or "")


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


class ActivityQuery(RequestFields):
    """Filters of an activity list; of the matching rows the newest `limit` are returned."""

    type = FilterField(ActivityType.values, source="activity_type")
    status = FilterField(ActivityStatus.values)
    source = FilterField(log.SOURCES)  # type: ignore[assignment]
    since = TimeField(required=False)
    before = TimeField(required=False)
    cursor = CursorField(required=False, help_text="Where to go on, from the Link header of an earlier answer.")
    limit = LimitField(most=500)


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


class EventQuery(RequestFields):
    """Newest first; with `after`, the events after that position, oldest first."""

    after = serializers.IntegerField(required=False, min_value=0, max_value=MAX_SEQ)
    before = serializers.IntegerField(required=False, min_value=0, max_value=MAX_SEQ)
    type = FilterField(EventType.values, source="event_type")
    limit = LimitField(most=1000)


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
