"""Heartbeats: they write an agent's live columns, extend its lease and rarely change its status."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import NamedTuple
from uuid import UUID

from django.db import transaction

from activity import bus, statements
from activity.events import NewEvent, record
from activity.models import EventType
from registry.exceptions import BadCredential, NotAllowed, NotFound, RegistryError, Removed
from registry.identity import refusals, tokens
from registry.identity.tokens import PresentedToken
from registry.liveness import presence
from registry.models import Status, Workspace
from registry.secrets import masking
from registry.secrets.masking import Mask
from registry.structure import projection, rows

DEGRADED_AT = 0.5
RECOVERED_BELOW = 0.1
LONGEST_TEXT = 4000


@dataclass(frozen=True, kw_only=True, slots=True)
class Beat:
    """`error_rate` 0-1; `current_task` and `sample_error` are cut at LONGEST_TEXT characters.

    `token` is checked by commit(); None means that the sender has been authenticated already.
    """

    workspace_id: UUID
    error_rate: float = 0.0
    sample_error: str = ""
    active_tasks: int = 0
    uptime_seconds: int = 0
    current_task: str = ""
    token: PresentedToken | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        for name in ("sample_error", "current_task"):
            if len(getattr(self, name)) > LONGEST_TEXT:
                object.__setattr__(self, name, getattr(self, name)[:LONGEST_TEXT])


class AcceptedBeat(NamedTuple):
    """An accepted heartbeat: its index in the batch, its workspace before it, and its token."""

    n: int
    status: str
    current_task: str
    token_id: UUID | None
    is_token_stale: bool
    heartbeat_interval: int | None
    was_refused: bool


def transitions(status: str, error_rate: float) -> list[tuple[EventType, Status]]:
    """The events and statuses that a heartbeat with this error rate causes, in order; none for a paused workspace."""
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
    """Commit heartbeats whose senders have been authenticated. Of several of one workspace the last counts.

    Returns each workspace once, with None or its error (NotFound, Removed); those with an error are unchanged.
    """
    accepted = commit(beats)
    results: dict[UUID, RegistryError | None] = {beats[n].workspace_id: None for n in accepted}
    refused = [beat for beat in beats if beat.workspace_id not in results]
    return results | {beat.workspace_id: error for beat, error in zip(refused, errors(refused), strict=True)}


def commit(beats: Sequence[Beat]) -> dict[int, UUID | None]:
    """Commit a batch: live columns, leases and the transitions they cause, in one transaction.

    Returns the indexes of the accepted heartbeats, each with the id of its token; of several of one workspace the last
    is written. Heartbeats of unknown or removed workspaces and with invalid tokens are missing and change nothing.
    """
    beats = _masked(beats)
    with transaction.atomic():
        accepted = _write(beats)
        tokens.mark_used([row.token_id for row in accepted if row.token_id and row.is_token_stale])
        last = {beats[row.n].workspace_id: row for row in accepted}
        events = [event for row in last.values() for event in _events(row.status, beats[row.n])]
        projection.apply(record(events, actor=None))
        if last:
            bus.after_commit(presence.mark_alive, {i: row.heartbeat_interval for i, row in last.items()})
            bus.after_commit(_broadcast, [(beats[row.n], row.current_task) for row in last.values()])
        if cleared := [workspace_id for workspace_id, row in last.items() if row.was_refused]:
            bus.after_commit(refusals.publish_cleared, cleared)
    return {row.n: row.token_id for row in accepted}


def errors(beats: Sequence[Beat]) -> list[RegistryError]:
    """Why each of these was refused: BadCredential, NotAllowed, NotFound, Removed."""
    owners = tokens.owners({beat.token for beat in beats if beat.token})
    known = {beat.workspace_id for beat in beats if beat.token is None or owners.get(beat.token) == beat.workspace_id}
    removed = set(Workspace.objects.filter(id__in=known, status=Status.REMOVED).values_list("id", flat=True))
    last = rows.last_events(removed)

    def why(beat: Beat) -> RegistryError:
        if beat.token and owners.get(beat.token, beat.workspace_id) != beat.workspace_id:
            return NotAllowed("not allowed")
        if beat.workspace_id in removed and (beat.token is None or beat.token in owners):
            return Removed(beat.workspace_id, last.get(beat.workspace_id))
        # Only the removed workspace's own agent is told Removed, because it makes an agent stop for good.
        return BadCredential("invalid token") if beat.token else NotFound()

    return [why(beat) for beat in beats]


def _masked(beats: Sequence[Beat]) -> Sequence[Beat]:
    """The same with every known secret masked in their texts; without texts nothing is looked up."""
    talking = {beat.workspace_id for beat in beats if beat.sample_error or beat.current_task}
    if not talking or not (masks := masking.masks(talking)):
        return beats
    return [_with_mask(beat, masks[beat.workspace_id]) if beat.workspace_id in masks else beat for beat in beats]


def _with_mask(beat: Beat, mask: Mask) -> Beat:
    told = (beat.sample_error, beat.current_task)
    masked = tuple(mask.text(text, is_cut=len(text) == LONGEST_TEXT) if text else text for text in told)
    return beat if masked == told else replace(beat, sample_error=masked[0], current_task=masked[1])


def _write(beats: Sequence[Beat]) -> list[AcceptedBeat]:
    """In one statement check tokens, lock rows in the order of their ids, write live columns and leases.

    Returns the accepted heartbeats in their order.
    """
    presented_tokens = [beat.token or (None, None) for beat in beats]
    written = statements.execute(
        WRITE,
        {
            "ids": [beat.workspace_id for beat in beats],
            "prefixes": [prefix for prefix, _ in presented_tokens],
            "hashes": [digest for _, digest in presented_tokens],
            "error_rates": [beat.error_rate for beat in beats],
            "sample_errors": [beat.sample_error for beat in beats],
            "active_tasks": [beat.active_tasks for beat in beats],
            "uptimes": [beat.uptime_seconds for beat in beats],
            "tasks": [beat.current_task for beat in beats],
            "lease": presence.lease_seconds(None),
            "intervals": presence.LEASE_INTERVALS,
            "recovered": RECOVERED_BELOW,
        },
    )
    return sorted(AcceptedBeat(*columns) for columns in written)


def _events(status: str, beat: Beat) -> list[NewEvent]:
    events = []
    for event_type, reached in transitions(status, beat.error_rate):
        payload: dict[str, object] = {"from": status}
        if event_type == EventType.WORKSPACE_DEGRADED:
            payload |= {"error_rate": beat.error_rate, "sample_error": beat.sample_error}
        events.append(NewEvent(event_type=event_type, workspace_id=beat.workspace_id, payload=payload))
        status = reached
    return events


def _broadcast(accepted: Sequence[tuple[Beat, str]]) -> None:
    """Publish heartbeats, each given with the task before it.

    TASK_UPDATED and HEARTBEAT have one timestamp: they may arrive in either order, and neither must look older.
    """
    at = datetime.now(UTC)
    changed = [beat for beat, task_before in accepted if beat.current_task != task_before]
    if changed:
        bus.publish([bus.envelope("TASK_UPDATED", beat.workspace_id, _task(beat), at=at) for beat in changed])
    bus.publish_beats(bus.envelope("HEARTBEAT", beat.workspace_id, _vitals(beat), at=at) for beat, _ in accepted)


def _task(beat: Beat) -> dict[str, object]:
    return {"current_task": beat.current_task, "active_tasks": beat.active_tasks}


def _vitals(beat: Beat) -> dict[str, object]:
    return {
        "active_tasks": beat.active_tasks,
        "last_error_rate": beat.error_rate,
        "last_sample_error": beat.sample_error,
        "uptime_seconds": beat.uptime_seconds,
    }


# A degraded workspace keeps its sample error until it recovers. Only the last valid heartbeat of each workspace is
# written. Refusals are cleared in the same row version, so clearing costs nothing.
WRITE = f"""
WITH given AS (
  SELECT * FROM unnest(%(ids)b::uuid[], %(prefixes)b::text[], %(hashes)b::bytea[], %(error_rates)b::float[],
    %(sample_errors)b::text[], %(active_tasks)b::int[], %(uptimes)b::int[], %(tasks)b::text[])
    WITH ORDINALITY AS g(id, prefix, hash, error_rate, sample_error, active_tasks, uptime_seconds, current_task, n)
), good AS (
  SELECT g.*, t.id AS token_id, t.is_stale, lead(g.n) OVER (PARTITION BY g.id ORDER BY g.n) IS NULL AS is_last
  FROM given g LEFT JOIN LATERAL {tokens.MATCHING_TOKEN} t ON true
  WHERE g.prefix IS NULL OR t.id IS NOT NULL
), held AS (
  SELECT g.*, w.status, w.current_task AS task_before, w.heartbeat_interval, w.refused_at
  FROM good g JOIN workspaces w ON w.id = g.id
  WHERE w.status <> 'removed'
  ORDER BY w.id FOR NO KEY UPDATE OF w
), written AS (
  UPDATE workspaces w SET
    last_heartbeat_at = clock_timestamp(),
    lease_expires_at = clock_timestamp() + make_interval(
      secs => greatest(%(lease)b, %(intervals)b * w.heartbeat_interval)),
    last_error_rate = b.error_rate,
    last_sample_error = CASE
      WHEN b.sample_error <> '' THEN b.sample_error
      WHEN w.status = 'degraded' AND b.error_rate >= %(recovered)b THEN w.last_sample_error
    END,
    active_tasks = b.active_tasks,
    uptime_seconds = b.uptime_seconds,
    current_task = nullif(b.current_task, ''),
    refused_at = NULL,
    refused_count = 0,
    refused_reason = NULL,
    refused_address = NULL
  FROM held b WHERE w.id = b.id AND b.is_last
)
SELECT n - 1, status, coalesce(task_before, ''), token_id, coalesce(is_stale, false), heartbeat_interval,
  refused_at IS NOT NULL
FROM held
"""  # noqa: S608  # of constants
