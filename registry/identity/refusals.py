"""Refused credentials, counted on the workspace that the request names, so that operators see a misconfigured agent.

A refused request only appends to a bounded buffer in memory. `flush()`, which the web process calls in the background,
looks up all buffered tokens in one statement and writes the counts. A good heartbeat or a registration clears them.
"""

import logging
import threading
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple
from uuid import UUID

from django.db import transaction
from prometheus_client import Counter

from activity import bus, statements
from registry.exceptions import UNAVAILABLE_ERRORS
from registry.identity.tokens import PresentedToken
from registry.models import Workspace

log = logging.getLogger(__name__)

EVENT = "WORKSPACE_REFUSED"
CAPACITY = 2000
MAX_ADDRESS = 64
MAX_COUNT = 2**31 - 1


class Reason(StrEnum):
    """Why a credential was refused: the only values of `refused_reason`."""

    NO_TOKEN = "no token"  # noqa: S105
    UNKNOWN = "unknown token"
    OTHER_WORKSPACE = "token of another workspace"
    REVOKED = "token revoked"
    EXPIRED = "token expired"


REFUSED = Counter("molecule_refused", "Requests with a refused credential for a known workspace", ["reason"])
# Refusals that were not looked up because the buffer was full.
DROPPED = REFUSED.labels("dropped")


class Attempt(NamedTuple):
    """`workspace_id` is the one that the request names, if it names one; `token` is the one that was sent."""

    workspace_id: UUID | None
    token: PresentedToken | None


@dataclass(frozen=True, slots=True)
class Refusals:
    """How often an attempt was refused, and for the last one the monotonic time and the client's address."""

    count: int
    at: float
    address: str

    def __add__(self, other: "Refusals") -> "Refusals":
        last = max(self, other, key=lambda one: one.at)
        return Refusals(self.count + other.count, last.at, last.address)


class Buffer:
    """Refusals not yet written, of at most `capacity` different attempts. Safe to use from any thread."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.lock = threading.Lock()
        self.pending: dict[Attempt, Refusals] = {}

    def add(self, refused: Mapping[Attempt, Refusals]) -> None:
        """Merge these in. What exceeds the capacity is dropped and counted in the metric."""
        with self.lock:
            for attempt, refusals in refused.items():
                if attempt in self.pending:
                    self.pending[attempt] += refusals
                elif len(self.pending) < self.capacity:
                    self.pending[attempt] = refusals
                else:
                    DROPPED.inc(refusals.count)

    def take_all(self) -> dict[Attempt, Refusals]:
        """Empty the buffer; returns what was in it."""
        with self.lock:
            taken, self.pending = self.pending, {}
        return taken


BUFFER = Buffer(CAPACITY)


def note(workspace_id: UUID | None, token: PresentedToken | None, address: str) -> None:
    """Remember that a request was refused. Costs no query and never raises."""
    if workspace_id is None and token is None:
        return
    shown = address.encode("unicode_escape").decode()[:MAX_ADDRESS]
    BUFFER.add({Attempt(workspace_id, token): Refusals(1, time.monotonic(), shown)})


def flush() -> None:
    """Write what was noted, without waiting for locked workspaces, which are retried by the next call.

    Raises what the database raises; while it is unavailable the buffer keeps what it has.
    """
    refused = BUFFER.take_all()
    if not refused:
        return
    try:
        written = _write(refused)
    except UNAVAILABLE_ERRORS:
        BUFFER.add(refused)
        raise
    attempts = list(refused)
    BUFFER.add({attempts[row.n]: refused[attempts[row.n]] for row in written if row.is_locked})
    for row in written:
        if not row.is_locked:
            REFUSED.labels(row.reason).inc(refused[attempts[row.n]].count)


def clear(workspace: Workspace) -> None:
    """Clear the workspace's refusals, as its agent has registered. The row must be locked."""
    if workspace.refused_at is not None:
        Workspace.objects.filter(id=workspace.id).update(
            refused_at=None, refused_count=0, refused_reason=None, refused_address=None
        )
        bus.after_commit(publish_cleared, [workspace.id])


def publish_cleared(ids: Collection[UUID]) -> None:
    """Tell canvases that the refusals of these workspaces were cleared."""
    _publish((workspace_id, None) for workspace_id in ids)


class Written(NamedTuple):
    """One attempt on a known workspace. The last four are None if a later heartbeat has cleared it already."""

    n: int
    reason: str
    is_locked: bool
    workspace_id: UUID
    last_at: datetime | None
    last_count: int | None
    last_reason: str | None
    last_address: str | None

    @property
    def last_refusal(self) -> dict[str, Any]:
        return {
            "at": self.last_at and bus.rfc3339(self.last_at),
            "count": self.last_count,
            "reason": self.last_reason,
            "address": self.last_address,
        }


def _write(refused: Mapping[Attempt, Refusals]) -> list[Written]:
    now = time.monotonic()
    tokens = [attempt.token or (None, None) for attempt in refused]
    with transaction.atomic():
        found = statements.execute(
            WRITE,
            {
                "ids": [attempt.workspace_id for attempt in refused],
                "prefixes": [prefix for prefix, _ in tokens],
                "hashes": [digest for _, digest in tokens],
                "counts": [min(refusals.count, MAX_COUNT) for refusals in refused.values()],
                "ages": [now - refusals.at for refusals in refused.values()],
                "addresses": [refusals.address for refusals in refused.values()],
            },
        )
        written = [Written(*columns) for columns in found]
        last = {row.workspace_id: row.last_refusal for row in written if row.last_at is not None}
        if last:
            bus.after_commit(_publish, last.items())
    return written


def _publish(last_refusals: Iterable[tuple[UUID, dict[str, Any] | None]]) -> None:
    bus.publish([bus.envelope(EVENT, workspace_id, {"last_refusal": last}) for workspace_id, last in last_refusals])


# Times are by the database's clock, as last_heartbeat_at is: refusals before the last heartbeat are not written.
# A request with a valid token was refused for another reason and is left out.
WRITE = f"""
WITH given AS (
  SELECT * FROM unnest(%(ids)b::uuid[], %(prefixes)b::text[], %(hashes)b::bytea[], %(counts)b::int[],
    %(ages)b::float[], %(addresses)b::text[])
    WITH ORDINALITY AS g(id, prefix, hash, count, age, address, n)
), judged AS (
  SELECT g.n, g.count, g.address, clock_timestamp() - make_interval(secs => g.age) AS at,
    coalesce(g.id, t.workspace_id) AS workspace_id,
    CASE
      WHEN g.prefix IS NULL THEN '{Reason.NO_TOKEN}'
      WHEN t.id IS NULL THEN '{Reason.UNKNOWN}'
      WHEN t.workspace_id <> g.id THEN '{Reason.OTHER_WORKSPACE}'
      WHEN t.revoked_at IS NOT NULL THEN '{Reason.REVOKED}'
      WHEN t.expires_at <= now() THEN '{Reason.EXPIRED}'
    END AS reason
  FROM given g LEFT JOIN workspace_tokens t ON t.prefix = g.prefix AND t.hash = g.hash
), known AS (
  SELECT j.* FROM judged j JOIN workspaces w ON w.id = j.workspace_id
  WHERE j.reason IS NOT NULL AND w.status <> 'removed'
), held AS (
  SELECT w.id, w.last_heartbeat_at FROM workspaces w
  WHERE w.id IN (SELECT workspace_id FROM known) AND w.status <> 'removed'
  ORDER BY w.id FOR NO KEY UPDATE SKIP LOCKED
), newest AS (
  SELECT DISTINCT ON (h.id) h.id, k.at, k.reason, k.address, sum(k.count) OVER (PARTITION BY h.id) AS total
  FROM known k JOIN held h ON h.id = k.workspace_id
  WHERE h.last_heartbeat_at IS NULL OR h.last_heartbeat_at < k.at
  ORDER BY h.id, k.at DESC
), written AS (
  UPDATE workspaces w SET
    refused_at = n.at,
    refused_count = least(w.refused_count + n.total, {MAX_COUNT}),
    refused_reason = n.reason,
    refused_address = n.address
  FROM newest n WHERE w.id = n.id
  RETURNING w.id, w.refused_at, w.refused_count, w.refused_reason, w.refused_address
)
SELECT (k.n - 1)::int, k.reason, h.id IS NULL, k.workspace_id,
  w.refused_at, w.refused_count, w.refused_reason, w.refused_address
FROM known k LEFT JOIN held h ON h.id = k.workspace_id LEFT JOIN written w ON w.id = k.workspace_id
"""  # noqa: S608  # of constants
