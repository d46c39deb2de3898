"""Request bodies of the fast path, read without serializers: exact types, within bounds, nothing to convert.

None means that the body needs a serializer, which then converts it or says what is wrong.
"""

from typing import Any
from uuid import UUID

from activity.endpoints import UUID_TEXT
from activity.log import Entry
from activity.models import ActivityStatus, ActivityType
from activity.serializers import LONGEST_METHOD, LONGEST_TEXT, MAX_INT
from registry.identity import tokens
from registry.identity.tokens import PresentedToken
from registry.liveness.heartbeats import WEDGED, Beat

TYPES = tuple(ActivityType.values)
STATUSES = tuple(ActivityStatus.values)


def beat(body: Any, presented: PresentedToken) -> Beat | None:
    """The heartbeat that HeartbeatBody would read, or None."""
    if type(body) is not dict:
        return None
    workspace_id = uuid(body.get("workspace_id"))
    error_rate = _given(body, "error_rate", 0.0)
    tasks, uptime = _given(body, "active_tasks", 0), _given(body, "uptime_seconds", 0)
    sample, task, state = (_given(body, name, "") for name in ("sample_error", "current_task", "runtime_state"))
    if workspace_id is None or type(error_rate) not in (int, float) or not 0 <= error_rate <= 1:
        return None
    if not (_is_count(tasks) and _is_count(uptime) and _is_text(sample) and _is_text(task) and _is_text(state)):
        return None
    return Beat(
        workspace_id=workspace_id,
        error_rate=float(error_rate),
        sample_error=sample,
        active_tasks=tasks,
        uptime_seconds=uptime,
        current_task=task,
        is_wedged=state == WEDGED,
        token=presented,
    )


def signed_beat(body: Any) -> Beat | None:
    """The heartbeat that HeartbeatWithToken would read, or None."""
    token = body.get("token") if type(body) is dict else None
    presented = tokens.presented_token(token) if type(token) is str else None
    return beat(body, presented) if presented else None


def entries(body: Any, own: UUID, *, most: int) -> list[Entry] | None:
    """The entries that ActivityEntry would read from one object or a list of 1 to `most`, or None.

    They are from the workspace `own` about itself.
    """
    bodies = body if type(body) is list else [body]
    if not 0 < len(bodies) <= most:
        return None
    found = [_entry(each, own) for each in bodies]
    return None if None in found else found  # type: ignore[return-value]


def uuid(value: Any) -> UUID | None:
    """The UUID in canonical form, with hyphens; None for anything else."""
    return UUID(value) if type(value) is str and UUID_TEXT.fullmatch(value) else None


def _entry(body: Any, own: UUID) -> Entry | None:
    if type(body) is not dict or body.get("activity_type") not in TYPES:
        return None
    method, summary, detail = body.get("method"), body.get("summary"), body.get("error_detail")
    status, source = _given(body, "status", "ok"), _given(body, "source_id", None)
    target, duration = _given(body, "target_id", None), _given(body, "duration_ms", None)
    texts = (method is None or (_is_text(method) and len(method) <= LONGEST_METHOD)) and all(
        text is None or (_is_text(text) and len(text) <= LONGEST_TEXT) for text in (summary, detail)
    )
    if not texts or source is not None or status not in STATUSES or not (duration is None or _is_count(duration)):
        return None
    target_id = uuid(target)
    if target is not None and target_id is None:
        return None
    request_body = body.get("request_body")
    return Entry(
        activity_type=body["activity_type"],
        source_id=own,
        target_id=target_id,
        method=method,
        summary=summary,
        request_body=body.get("metadata") if request_body is None else request_body,
        response_body=body.get("response_body"),
        duration_ms=duration,
        status=status,
        error_detail=detail,
    )


def _given(body: dict[str, Any], name: str, default: Any) -> Any:
    """An optional field, as RequestFields reads it: "" and null mean that it was not given."""
    value = body.get(name)
    return default if value is None or value == "" else value


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value <= MAX_INT


def _is_text(value: Any) -> bool:
    """Text that the serializers would trim is left to them."""
    return type(value) is str and value == value.strip()
