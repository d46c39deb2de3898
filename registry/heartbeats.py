"""Heartbeats: what an agent says of itself every half minute. Live columns, a lease, rarely a transition."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction

from activity import bus
from activity.events import NewEvent, record
from activity.models import EventType
from registry import presence, projection, rows
from registry.exceptions import NotFound, RegistryError, Removed
from registry.models import Status, Workspace

DEGRADED_AT = 0.5
RECOVERED_BELOW = 0.1
LONGEST_TEXT = 4000


@dataclass(frozen=True, kw_only=True)
class Beat:
    """`error_rate` 0-1; `current_task` and `sample_error` are cut at LONGEST_TEXT characters."""

    workspace_id: UUID
    error_rate: float = 0.0
    sample_error: str = ""
    active_tasks: int = 0
    uptime_seconds: int = 0
    current_task: str = ""

    def __post_init__(self) -> None:
        for name in ("sample_error", "current_task"):
            object.__setattr__(self, name, getattr(self, name)[:LONGEST_TEXT])


def transitions(status: str, error_rate: float) -> list[tuple[EventType, Status]]:
    """The steps that a beat takes a workspace through; none for a paused one."""
    steps = []
    if status in (Status.PROVISIONING, Status.OFFLINE, Status.FAILED):
        steps.append((EventType.WORKSPACE_ONLINE, Status.ONLINE))
        status = Status.ONLINE
    if status == Status.ONLINE and error_rate >= DEGRADED_AT:
        steps.append((EventType.WORKSPACE_DEGRADED, Status.DEGRADED))
    if status == Status.DEGRADED and error_rate < RECOVERED_BELOW:
        steps.append((EventType.WORKSPACE_ONLINE, Status.ONLINE))
    return steps


def flush(beats: Sequence[Beat]) -> dict[UUID, RegistryError | None]:
    """Commit a batch: live columns, leases and the transitions they cause, in one transaction.

    Of several beats of one workspace the last counts. The answer has each workspace once, with None or
    what was wrong (NotFound, Removed); the wrong ones leave no trace.
    """
    latest = {beat.workspace_id: beat for beat in beats}
    with transaction.atomic():
        before = rows.lock(latest)
        taken = {i: beat for i, beat in latest.items() if i in before and before[i].status != Status.REMOVED}
        _write(list(taken.values()))
        events = [event for i, beat in taken.items() for event in _events(before[i], beat)]
        projection.apply(record(events, actor=None))
        if taken:
            bus.after_commit(presence.mark_alive, list(taken))
            bus.after_commit(_broadcast, before, taken)
    return {i: None if i in taken else _wrong(i, before.get(i)) for i in latest}


def _write(beats: Sequence[Beat]) -> None:
    """One statement for all. A degraded workspace keeps its sample error until it recovers."""
    columns = list(
        zip(
            *(
                (
                    b.workspace_id,
                    b.error_rate,
                    b.sample_error,
                    b.active_tasks,
                    b.uptime_seconds,
                    b.current_task,
                )
                for b in beats
            ),
            strict=True,
        )
    )
    if not columns:
        return
    with connection.cursor() as cursor:
        cursor.execute(
            """
            UPDATE workspaces w SET
              last_heartbeat_at = clock_timestamp(),
              lease_expires_at = clock_timestamp() + make_interval(secs => %s),
              last_error_rate = b.error_rate,
              last_sample_error = CASE
                WHEN b.sample_error <> '' THEN b.sample_error
                WHEN w.status = 'degraded' AND b.error_rate >= %s THEN w.last_sample_error
              END,
              active_tasks = b.active_tasks,
              uptime_seconds = b.uptime_seconds,
              current_task = nullif(b.current_task, '')
            FROM unnest(%s::uuid[], %s::float[], %s::text[], %s::int[], %s::int[], %s::text[])
              AS b(id, error_rate, sample_error, active_tasks, uptime_seconds, current_task)
            WHERE w.id = b.id
            """,
            [settings.LEASE_SECONDS, RECOVERED_BELOW, *(list(column) for column in columns)],
        )


def _events(workspace: Workspace, beat: Beat) -> list[NewEvent]:
    events, status = [], workspace.status
    for event_type, reached in transitions(workspace.status, beat.error_rate):
        payload: dict[str, object] = {"from": status}
        if event_type == EventType.WORKSPACE_DEGRADED:
            payload |= {"error_rate": beat.error_rate, "sample_error": beat.sample_error}
        events.append(NewEvent(event_type=event_type, workspace_id=workspace.id, payload=payload))
        status = reached
    return events


def _broadcast(before: dict[UUID, Workspace], taken: dict[UUID, Beat]) -> None:
    changed = [beat for i, beat in taken.items() if beat.current_task != (before[i].current_task or "")]
    if changed:
        bus.publish([bus.envelope("TASK_UPDATED", beat.workspace_id, _task(beat)) for beat in changed])
    bus.publish_beats(bus.envelope("HEARTBEAT", beat.workspace_id, _vitals(beat)) for beat in taken.values())


def _task(beat: Beat) -> dict[str, object]:
    return {"current_task": beat.current_task, "active_tasks": beat.active_tasks}


def _vitals(beat: Beat) -> dict[str, object]:
    return {
        "active_tasks": beat.active_tasks,
        "last_error_rate": beat.error_rate,
        "last_sample_error": beat.sample_error,
        "uptime_seconds": beat.uptime_seconds,
    }


def _wrong(workspace_id: UUID, workspace: Workspace | None) -> RegistryError:
    return NotFound() if workspace is None else Removed(workspace_id, rows.last_event(workspace_id))
