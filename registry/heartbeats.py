"""Heartbeats: what an agent says of itself every half minute. Live columns, a lease, rarely a transition."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID

from django.conf import settings
from django.db import transaction

from activity import bus, statements
from activity.events import NewEvent, record
from activity.models import EventType
from registry import credentials, presence, projection, rows
from registry.credentials import Proof
from registry.exceptions import BadCredential, NotAllowed, NotFound, RegistryError, Removed
from registry.models import Status, Workspace

DEGRADED_AT = 0.5
RECOVERED_BELOW = 0.1
LONGEST_TEXT = 4000


@dataclass(frozen=True, kw_only=True, slots=True)
class Beat:
    """`error_rate` 0-1; `current_task` and `sample_error` are cut at LONGEST_TEXT characters.

    `proof` is checked when the beat is taken; None says that whoever sent it is known already.
    """

    workspace_id: UUID
    error_rate: float = 0.0
    sample_error: str = ""
    active_tasks: int = 0
    uptime_seconds: int = 0
    current_task: str = ""
    proof: Proof | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        for name in ("sample_error", "current_task"):
            if len(getattr(self, name)) > LONGEST_TEXT:
                object.__setattr__(self, name, getattr(self, name)[:LONGEST_TEXT])


@dataclass(frozen=True, slots=True)
class Before:
    """What a workspace was when its beat came; `token_id` is that of the beat's proof."""

    status: str
    current_task: str
    token_id: UUID | None
    is_token_stale: bool


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
    """Take beats of workspaces that are known already. Of several of one workspace the last counts.

    The answer has each workspace once, with None or what was wrong (NotFound, Removed); the wrong ones
    leave no trace.
    """
    taken = take(beats)
    return {beat.workspace_id: None if n in taken else refusal(beat) for n, beat in enumerate(beats)}


def take(beats: Sequence[Beat]) -> dict[int, UUID | None]:
    """Commit a batch: live columns, leases and the transitions they cause, in one transaction.

    Returns the places of the beats that were taken, with the token that each showed. Missing are those of
    unknown and removed workspaces, and those whose proof is not good: they leave no trace.
    """
    taken: dict[int, UUID | None] = {}
    with transaction.atomic():
        for places in _rounds(beats):
            latest = {beats[n].workspace_id: beats[n] for n in places}
            before = _write(list(latest.values()))
            alive = {i: latest[i] for i in before}
            events = [event for i, beat in alive.items() for event in _events(before[i].status, beat)]
            projection.apply(record(events, actor=None))
            taken |= {n: before[i].token_id for n in places if (i := beats[n].workspace_id) in before}
            _after(before, alive)
    return taken


def refusal(beat: Beat) -> RegistryError:
    """Why a beat was not taken: BadCredential, NotAllowed, NotFound, Removed."""
    if beat.proof is not None:
        try:
            principal = credentials.principal_for_proof(beat.proof)
        except BadCredential as error:
            return error
        if principal.workspace_id != beat.workspace_id:
            return NotAllowed("not allowed")
    if Workspace.objects.filter(id=beat.workspace_id).exists():
        return Removed(beat.workspace_id, rows.last_event(beat.workspace_id))
    return NotFound()


def _rounds(beats: Sequence[Beat]) -> list[list[int]]:
    """Beats of one workspace with the same proof go together; with another proof they go one after the other."""
    rounds: list[list[int]] = [[]]
    proofs: dict[UUID, Proof | None] = {}
    for n, beat in enumerate(beats):
        if proofs.setdefault(beat.workspace_id, beat.proof) != beat.proof:
            rounds.append([])
            proofs = {beat.workspace_id: beat.proof}
        rounds[-1].append(n)
    return rounds


def _write(beats: Sequence[Beat]) -> dict[UUID, Before]:
    """One statement: proofs checked, rows locked in the order of their ids, live columns and leases written."""
    proofs = [beat.proof or (None, None) for beat in beats]
    written = statements.execute(
        WRITE,
        {
            "ids": [beat.workspace_id for beat in beats],
            "prefixes": [prefix for prefix, _ in proofs],
            "hashes": [digest for _, digest in proofs],
            "error_rates": [beat.error_rate for beat in beats],
            "sample_errors": [beat.sample_error for beat in beats],
            "active_tasks": [beat.active_tasks for beat in beats],
            "uptimes": [beat.uptime_seconds for beat in beats],
            "tasks": [beat.current_task for beat in beats],
            "lease": float(settings.LEASE_SECONDS),
            "recovered": RECOVERED_BELOW,
        },
    )
    return {workspace_id: Before(*columns) for workspace_id, *columns in written}


def _after(before: dict[UUID, Before], alive: dict[UUID, Beat]) -> None:
    credentials.mark_used([row.token_id for row in before.values() if row.token_id and row.is_token_stale])
    if alive:
        bus.after_commit(presence.mark_alive, list(alive))
        bus.after_commit(_broadcast, before, alive)


def _events(status: str, beat: Beat) -> list[NewEvent]:
    events = []
    for event_type, reached in transitions(status, beat.error_rate):
        payload: dict[str, object] = {"from": status}
        if event_type == EventType.WORKSPACE_DEGRADED:
            payload |= {"error_rate": beat.error_rate, "sample_error": beat.sample_error}
        events.append(NewEvent(event_type=event_type, workspace_id=beat.workspace_id, payload=payload))
        status = reached
    return events


def _broadcast(before: dict[UUID, Before], alive: dict[UUID, Beat]) -> None:
    """One time for both: they may overtake each other, and who heard the one is not to take the other for old."""
    at = datetime.now(UTC)
    changed = [beat for i, beat in alive.items() if beat.current_task != before[i].current_task]
    if changed:
        bus.publish([bus.envelope("TASK_UPDATED", beat.workspace_id, _task(beat), at=at) for beat in changed])
    bus.publish_beats(bus.envelope("HEARTBEAT", beat.workspace_id, _vitals(beat), at=at) for beat in alive.values())


def _task(beat: Beat) -> dict[str, object]:
    return {"current_task": beat.current_task, "active_tasks": beat.active_tasks}


def _vitals(beat: Beat) -> dict[str, object]:
    return {
        "active_tasks": beat.active_tasks,
        "last_error_rate": beat.error_rate,
        "last_sample_error": beat.sample_error,
        "uptime_seconds": beat.uptime_seconds,
    }


# A degraded workspace keeps its sample error until it recovers.
WRITE = f"""
WITH given AS (
  SELECT * FROM unnest(%(ids)b::uuid[], %(prefixes)b::text[], %(hashes)b::bytea[], %(error_rates)b::float[],
    %(sample_errors)b::text[], %(active_tasks)b::int[], %(uptimes)b::int[], %(tasks)b::text[])
    AS g(id, prefix, hash, error_rate, sample_error, active_tasks, uptime_seconds, current_task)
), held AS (
  SELECT g.*, w.status, w.current_task AS task_before, t.id AS token_id, t.is_stale
  FROM given g JOIN workspaces w ON w.id = g.id LEFT JOIN LATERAL {credentials.TOKEN_OF_PROOF} t ON true
  WHERE w.status <> 'removed' AND (g.prefix IS NULL OR t.id IS NOT NULL)
  ORDER BY w.id FOR NO KEY UPDATE OF w
)
UPDATE workspaces w SET
  last_heartbeat_at = clock_timestamp(),
  lease_expires_at = clock_timestamp() + make_interval(secs => %(lease)b),
  last_error_rate = b.error_rate,
  last_sample_error = CASE
    WHEN b.sample_error <> '' THEN b.sample_error
    WHEN w.status = 'degraded' AND b.error_rate >= %(recovered)b THEN w.last_sample_error
  END,
  active_tasks = b.active_tasks,
  uptime_seconds = b.uptime_seconds,
  current_task = nullif(b.current_task, '')
FROM held b WHERE w.id = b.id
RETURNING b.id, b.status, coalesce(b.task_before, ''), b.token_id, coalesce(b.is_stale, false)
"""  # noqa: S608  # of constants
