"""Activities of a workspace as its page shows them, with the names of the workspaces that they mention."""

from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

from django.utils.safestring import SafeString

from activity.models import ActivityLog, ActivityStatus, ActivityType
from registry.admin import formats
from registry.models import Status, Workspace

LARGE = ("request_body", "response_body", "error_detail")
"""Columns that only the page of one activity reads."""
TONES = {
    ActivityStatus.OK: Status.ONLINE,
    ActivityStatus.ERROR: Status.FAILED,
    ActivityStatus.TIMEOUT: Status.DEGRADED,
}


@dataclass(frozen=True, kw_only=True)
class Call:
    """An activity. `other`: who called or was called, empty for an activity that is no call."""

    row: ActivityLog
    when: SafeString
    kind: str
    direction: str
    other: SafeString | str
    result: SafeString
    duration: str


def calls(rows: Iterable[ActivityLog]) -> list[Call]:
    """One query for the names."""
    found = list(rows)
    ids = {other for row in found if (other := _other(row)) is not None}
    names = dict(Workspace.objects.filter(id__in=ids).values_list("id", "name")) if ids else {}
    return [
        Call(
            row=row,
            when=formats.relative(row.created_at),
            kind=ActivityType(row.activity_type).label,
            direction="to" if row.activity_type == ActivityType.A2A_SEND else "from",
            other=formats.workspace_link(other, names.get(other)) if (other := _other(row)) else "",
            result=outcome(row),
            duration=formats.duration(row.duration_ms),
        )
        for row in found
    ]


def outcome(row: ActivityLog) -> SafeString:
    """The status as a badge."""
    return formats.badge(TONES[ActivityStatus(row.status)], row.status)


def _other(row: ActivityLog) -> UUID | None:
    """The other workspace. An agent that reports a call names itself as the source, whether it called or was called."""
    return next((one for one in (row.source_id, row.target_id) if one not in (None, row.workspace_id)), None)
