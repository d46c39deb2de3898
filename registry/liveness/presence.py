"""Leases in PostgreSQL, which decide, and the Redis keys whose expiry is a hint."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from uuid import UUID

from django.conf import settings
from django.db.models import DurationField, Expression, ExpressionWrapper, F, FloatField, Value
from django.db.models.functions import Greatest, Now
from redis.exceptions import ResponseError

from activity import redis
from registry.models import Workspace

MIN_INTERVAL_SECONDS, MAX_INTERVAL_SECONDS = 10, 600
"""What an agent may declare as its heartbeat interval."""
LEASE_INTERVALS = 2.5
"""How many declared intervals a lease lasts: two beats may be lost."""
TOMBSTONE_SECONDS = 120
"""Longer than a batch of heartbeats takes (GroupCommit), with what it posts to Redis after its commit."""
# KEYS: pairs of the key to set and the tombstone that forbids it. ARGV: the value, then milliseconds for each pair.
# One call for a whole batch of heartbeats.
SET_UNLESS_TOMBSTONE = """
for i = 1, #KEYS, 2 do
  if redis.call('EXISTS', KEYS[i + 1]) == 0 then
    redis.call('SET', KEYS[i], ARGV[1], 'PX', ARGV[(i + 3) / 2])
  end
end
"""


def liveness_key(workspace_id: UUID) -> str:
    """Exists while heartbeats arrive; expires with the lease."""
    return f"ws:{workspace_id}"


def url_key(workspace_id: UUID) -> str:
    """Caches the agent's URL for URL_CACHE_SECONDS."""
    return f"ws:{workspace_id}:url"


def tombstone_key(workspace_id: UUID) -> str:
    """Set by a removal for TOMBSTONE_SECONDS: longer than a heartbeat takes from its commit to Redis."""
    return f"tomb:{workspace_id}"


def lease_seconds(heartbeat_interval: int | None) -> float:
    """Return how long a lease lasts after a heartbeat, in seconds, for the interval that the agent declared."""
    return max(float(settings.LEASE_SECONDS), LEASE_INTERVALS * (heartbeat_interval or 0))


def lease_duration() -> Expression:
    """Return lease_seconds() of a row of `workspaces` as an interval, for queries."""
    seconds = Greatest(
        Value(float(settings.LEASE_SECONDS)), F("heartbeat_interval") * LEASE_INTERVALS, output_field=FloatField()
    )
    return ExpressionWrapper(seconds * Value(timedelta(seconds=1)), output_field=DurationField())


def start_lease(workspace_id: UUID, heartbeat_interval: int | None) -> None:
    """Store the interval that the agent declared, and start a lease of that length."""
    lease = timedelta(seconds=lease_seconds(heartbeat_interval))
    Workspace.objects.filter(id=workspace_id).update(
        heartbeat_interval=heartbeat_interval, lease_expires_at=Now() + lease
    )


def grant_leases(ids: Iterable[UUID]) -> None:
    """Start a lease for each: without a heartbeat before its end, an online or degraded workspace goes offline."""
    Workspace.objects.filter(id__in=ids).update(lease_expires_at=Now() + lease_duration())


def end_leases(ids: Iterable[UUID]) -> None:
    """Clear the lease of workspaces that wait for their agent: nothing expires meanwhile."""
    Workspace.objects.filter(id__in=ids).update(lease_expires_at=None)


def mark_alive(intervals: Mapping[UUID, int | None]) -> None:
    """Set the liveness keys of workspaces, each for as long as its lease lasts with the interval that it declared.

    SET, never EXPIRE: an EXPIRE on a lost key does nothing, and the next death would go unseen.
    """
    _set_unless_tombstone(
        "online", [(i, liveness_key(i), lease_seconds(interval)) for i, interval in intervals.items()]
    )


def cache_url(workspace_id: UUID, url: str) -> None:
    """Cache the agent's URL for URL_CACHE_SECONDS, unless the workspace was removed."""
    _set_unless_tombstone(url, [(workspace_id, url_key(workspace_id), settings.URL_CACHE_SECONDS)])


def cached_url(workspace_id: UUID) -> str | None:
    """Return the cached URL; None if there is none."""
    url = redis.client().get(url_key(workspace_id))
    return None if url is None else str(url)


def forget_urls(ids: Sequence[UUID]) -> None:
    """Delete the cached URLs."""
    if ids:
        redis.client().delete(*map(url_key, ids))


def _set_unless_tombstone(value: str, entries: Sequence[tuple[UUID, str, float]]) -> None:
    """`entries`: each workspace with the key to set and the seconds until it expires."""
    keys = [key for workspace_id, name, _ in entries for key in (name, tombstone_key(workspace_id))]
    milliseconds = [int(seconds * 1000) for *_, seconds in entries]
    redis.client().eval(SET_UNLESS_TOMBSTONE, len(keys), *keys, value, *milliseconds)


def set_tombstones(ids: Sequence[UUID]) -> None:
    """Delete the keys of removed workspaces, and keep heartbeats still under way from setting them again."""
    with redis.client().pipeline() as pipe:
        for workspace_id in ids:
            pipe.set(tombstone_key(workspace_id), "removed", ex=TOMBSTONE_SECONDS)
            pipe.delete(liveness_key(workspace_id), url_key(workspace_id))
        pipe.execute()


def announce_expiries() -> bool:
    """Turn on expiry notifications in Redis, keeping other flags. Return False if Redis does not allow it."""
    try:
        if not expiries_are_announced():
            redis.client().config_set("notify-keyspace-events", "KEA" + _notification_flags())
    except ResponseError:
        return False
    return expiries_are_announced()


def expiries_are_announced() -> bool:
    """Whether Redis notifies us of expired keys. Flags: "E" keyevent channels, "A" all events, "x" expiry."""
    try:
        flags = _notification_flags()
    except ResponseError:
        return False
    return "E" in flags and ("A" in flags or "x" in flags)


def _notification_flags() -> str:
    return str(redis.client().config_get("notify-keyspace-events").get("notify-keyspace-events", ""))
