"""Heartbeats: they write an agent's live columns, extend its lease and rarely change its status."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from django.db import OperationalError, transaction

from activity import bus, statements
from activity.events import NewEvent, record
from activity.models import EventType, StructureEvent
from activity.statements import Outcome
from registry.exceptions import BadCredential, Busy, NotAllowed, NotFound, RegistryError, Removed
from registry.identity import refusals, tokens
from registry.identity.tokens import PresentedToken
from registry.liveness import presence
from registry.models import Status, Workspace
from registry.secrets import masking
from registry.secrets.masking import Mask
from registry.structure import change_limit, projection, rows

DEGRADED_AT = 0.5
RECOVERED_BELOW = 0.1
WEDGED = "wedged"
"""The `runtime_state` of an agent that still sends heartbeats, but cannot work."""
LONGEST_TEXT = 4000
NO_MASK = Mask(())


@dataclass(frozen=True, kw_only=True, slots=True)
class Beat:
    """`error_rate` 0-1; of `current_task` and `sample_error` commit() keeps LONGEST_TEXT characters.

    `token` is checked by commit(); None means that the sender has been authenticated already.
    """

    workspace_id: UUID
    error_rate: float = 0.0
    sample_error: str = ""
    active_tasks: int = 0
    uptime_seconds: int = 0
    current_task: str = ""
    is_wedged: bool = False
    token: PresentedToken | None = field(default=None, repr=False)

    @property
    def is_failing(self) -> bool:
        """Whether it degrades a workspace that is online."""
        return self.is_wedged or self.error_rate >= DEGRADED_AT

    @property
    def is_well(self) -> bool:
        """Whether a degraded workspace recovers by it."""
        return not self.is_wedged and self.error_rate < RECOVERED_BELOW

    @property
    def is_long(self) -> bool:
        """Whether a text is longer than what is kept."""
        return len(self.sample_error) > LONGEST_TEXT or len(self.current_task) > LONGEST_TEXT

    @property
    def weight(self) -> int:
        """Its size in the queue: texts that are longer than what is kept count as further heartbeats."""
        return 1 + (len(self.sample_error) + len(self.current_task)) // (2 * LONGEST_TEXT + 1)


class AcceptedBeat(NamedTuple):
    """An accepted heartbeat: its index in the batch, its workspace before it, and its token."""

    n: int
    status: str
    current_task: str
    token_id: UUID | None
    is_token_stale: bool
    heartbeat_interval: int | None
    was_refused: bool
    at: datetime
    """While its row was locked, by PostgreSQL's clock."""


class LogHeld(Exception):
    """Another transaction holds the log's lock for too long.

    `workspace_ids` are those whose heartbeats cause an event, for which the lock is needed.
    """

    def __init__(self, workspace_ids: set[UUID]) -> None:
        super().__init__()
        self.workspace_ids = workspace_ids


def transitions(status: str, beat: Beat, *, is_damped: bool = False) -> list[tuple[EventType, Status]]:
    """The events and statuses that a heartbeat causes, in order; none for a paused workspace.

    `is_damped`: it changed too often, so it stays online or degraded, as it is.
    """
    steps = []
    if status in (Status.PROVISIONING, Status.OFFLINE, Status.FAILED):
        steps.append((EventType.WORKSPACE_ONLINE, Status.ONLINE))
        status = Status.ONLINE
    if is_damped:
        return steps
    if status == Status.ONLINE and beat.is_failing:
        steps.append((EventType.WORKSPACE_DEGRADED, Status.DEGRADED))
    if status == Status.DEGRADED and beat.is_well:
        steps.append((EventType.WORKSPACE_ONLINE, Status.ONLINE))
    return steps


def flush(beats: Sequence[Beat]) -> dict[UUID, RegistryError | None]:
    """Commit heartbeats whose senders have been authenticated. Of several of one workspace the last counts.

    Returns each workspace once, with None or its error (NotFound, Removed, Busy); those with an error are unchanged.
    Waits for locked rows, as it is for single requests.
    """
    with transaction.atomic():
        rows.lock(beat.workspace_id for beat in beats)
        accepted, busy = commit(beats)
    results: dict[UUID, RegistryError | None] = {beats[n].workspace_id: None for n in accepted}
    results |= {beats[n].workspace_id: Busy() for n in busy}
    refused = [beat for beat in beats if beat.workspace_id not in results]
    return results | {beat.workspace_id: error for beat, error in zip(refused, errors(refused), strict=True)}


def commit(beats: Sequence[Beat]) -> Outcome:
    """Commit a batch: live columns, leases and the transitions they cause, in one transaction.

    Of several heartbeats of one workspace the last is written. Those of unknown or removed workspaces and with invalid
    tokens are refused and change nothing. Rows that another transaction holds are skipped, and their heartbeats busy;
    so are those that cause an event while another transaction holds the log.
    """
    beats = _masked(beats)
    try:
        return _commit(beats)
    except LogHeld as held:
        return _commit_without_events(beats, held.workspace_ids)


def _commit_without_events(beats: Sequence[Beat], waiting_for_log: set[UUID]) -> Outcome:
    """Commit all but the heartbeats of workspaces that wait for the log; those are busy."""
    left_out = [n for n, beat in enumerate(beats) if beat.workspace_id in waiting_for_log]
    kept = [n for n, beat in enumerate(beats) if beat.workspace_id not in waiting_for_log]
    accepted, busy = _commit([beats[n] for n in kept])
    return Outcome(
        {kept[n]: token_id for n, token_id in accepted.items()}, {kept[n] for n in busy} | _valid(beats, left_out)
    )


def _commit(beats: Sequence[Beat]) -> Outcome:
    """Raises LogHeld."""
    with transaction.atomic():
        accepted = _write(beats)
        tokens.mark_used([row.token_id for row in accepted if row.token_id and row.is_token_stale])
        last = {beats[row.n].workspace_id: row for row in accepted}
        projection.apply(_record(_events({i: (row.status, beats[row.n]) for i, row in last.items()})))
        if last:
            bus.after_commit(presence.mark_alive, {i: row.heartbeat_interval for i, row in last.items()})
            bus.after_commit(_broadcast, [(beats[row.n], row) for row in last.values()])
        if cleared := [workspace_id for workspace_id, row in last.items() if row.was_refused]:
            bus.after_commit(refusals.publish_cleared, cleared)
        busy = _valid(beats, sorted(set(range(len(beats))) - {row.n for row in accepted}))
    return Outcome({row.n: row.token_id for row in accepted}, busy)


def _valid(beats: Sequence[Beat], indexes: Sequence[int]) -> set[int]:
    """The indexes of valid heartbeats, among these."""
    return {indexes[n] for n in tokens.valid([(beats[n].workspace_id, beats[n].token) for n in indexes])}


def _record(events: list[NewEvent]) -> list[StructureEvent]:
    """Only this waits for a lock, the one of the log, and most batches have no event."""
    if not events:
        return []
    statements.limit_waits()
    try:
        return record(events, actor=None)
    except OperationalError as error:
        if statements.is_lock_timeout(error):
            raise LogHeld({event.workspace_id for event in events}) from error
        raise


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
    """The same heartbeats with known secrets masked in their texts, which are then cut. No query without texts."""
    with_text = {beat.workspace_id for beat in beats if beat.sample_error or beat.current_task}
    if not with_text:
        return beats
    masks = masking.masks(with_text)
    return [
        _with_mask(beat, masks.get(beat.workspace_id, NO_MASK)) if masks or beat.is_long else beat for beat in beats
    ]


def _with_mask(beat: Beat, mask: Mask) -> Beat:
    texts = (beat.sample_error, beat.current_task)
    masked = tuple(mask.text(text)[:LONGEST_TEXT] for text in texts)
    return beat if masked == texts else replace(beat, sample_error=masked[0], current_task=masked[1])


def _write(beats: Sequence[Beat]) -> list[AcceptedBeat]:
    """Check tokens, lock the rows that are free, and write live columns and leases, all in one statement.

    Returns the accepted heartbeats in their order.
    """
    written = statements.execute(
        WRITE,
        {
            **tokens.columns([(beat.workspace_id, beat.token) for beat in beats]),
            "error_rates": [beat.error_rate for beat in beats],
            "sample_errors": [beat.sample_error for beat in beats],
            "active_tasks": [beat.active_tasks for beat in beats],
            "uptimes": [beat.uptime_seconds for beat in beats],
            "tasks": [beat.current_task for beat in beats],
            "well": [beat.is_well for beat in beats],
            "lease": presence.lease_seconds(None),
            "intervals": presence.LEASE_INTERVALS,
        },
    )
    return sorted(AcceptedBeat(*columns) for columns in written)


def _events(arrived: Mapping[UUID, tuple[str, Beat]]) -> list[NewEvent]:
    """The events that these heartbeats cause, each given with its workspace's status before it."""
    changing = {i: (status, beat) for i, (status, beat) in arrived.items() if transitions(status, beat)}
    damped = change_limit.waits(
        [
            i
            for i, (status, beat) in changing.items()
            if transitions(status, beat) != transitions(status, beat, is_damped=True)
        ]
    )
    return [
        event for i, (status, beat) in changing.items() for event in _events_of(status, beat, is_damped=i in damped)
    ]


def _events_of(status: str, beat: Beat, *, is_damped: bool) -> list[NewEvent]:
    events = []
    for event_type, reached in transitions(status, beat, is_damped=is_damped):
        payload: dict[str, object] = {"from": status}
        if event_type == EventType.WORKSPACE_DEGRADED:
            payload |= {"error_rate": beat.error_rate, "sample_error": beat.sample_error}
            payload |= {"runtime_state": WEDGED} if beat.is_wedged else {}
        events.append(NewEvent(event_type=event_type, workspace_id=beat.workspace_id, payload=payload))
        status = reached
    return events


def _broadcast(accepted: Sequence[tuple[Beat, AcceptedBeat]]) -> None:
    """Publish heartbeats. Each has the time at which its row was locked: so those of one workspace are in order, also
    from two web processes.

    TASK_UPDATED and HEARTBEAT have the same timestamp: they may arrive in either order, and neither must look older.
    """
    changed = [(beat, row.at) for beat, row in accepted if beat.current_task != row.current_task]
    if changed:
        bus.publish([bus.envelope("TASK_UPDATED", beat.workspace_id, _task(beat), at=at) for beat, at in changed])
    bus.publish_beats(bus.envelope("HEARTBEAT", beat.workspace_id, _vitals(beat), at=row.at) for beat, row in accepted)


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
# written. Refusals are cleared in the same row version, so clearing costs nothing. The rows are locked in no
# order: a statement that skips locked rows never waits for one, so it cannot be part of a deadlock.
WRITE = f"""
WITH given AS (
  SELECT * FROM unnest(%(ids)b::uuid[], %(prefixes)b::text[], %(hashes)b::bytea[], %(error_rates)b::float[],
    %(sample_errors)b::text[], %(active_tasks)b::int[], %(uptimes)b::int[], %(tasks)b::text[], %(well)b::bool[])
    WITH ORDINALITY
    AS g(id, prefix, hash, error_rate, sample_error, active_tasks, uptime_seconds, current_task, is_well, n)
), good AS (
  SELECT g.*, t.id AS token_id, t.is_stale, lead(g.n) OVER (PARTITION BY g.id ORDER BY g.n) IS NULL AS is_last
  FROM given g LEFT JOIN LATERAL {tokens.MATCHING_TOKEN} t ON true
  WHERE g.prefix IS NULL OR t.id IS NOT NULL
), held AS (
  SELECT g.*, w.status, w.current_task AS task_before, w.heartbeat_interval, w.refused_at
  FROM good g JOIN workspaces w ON w.id = g.id
  WHERE w.status <> 'removed'
  FOR NO KEY UPDATE OF w SKIP LOCKED
), written AS (
  UPDATE workspaces w SET
    last_heartbeat_at = clock_timestamp(),
    lease_expires_at = clock_timestamp() + make_interval(
      secs => greatest(%(lease)b, %(intervals)b * w.heartbeat_interval)),
    last_error_rate = b.error_rate,
    last_sample_error = CASE
      WHEN b.sample_error <> '' THEN b.sample_error
      WHEN w.status = 'degraded' AND NOT b.is_well THEN w.last_sample_error
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
  refused_at IS NOT NULL, clock_timestamp()
FROM held
"""  # noqa: S608  # of constants
