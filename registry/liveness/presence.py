"""Signs of life: the lease in PostgreSQL, which is the truth, and the Redis keys that hint at it."""

from collections.abc import Iterable, Sequence
from datetime import timedelta
from uuid import UUID

from django.conf import settings
from django.db.models.functions import Now
from redis.exceptions import ResponseError

from activity import redis
from registry.models import Workspace

TOMBSTONE_SECONDS = 120
# KEYS: pairs of the key to set and the tomb that forbids it. One call for a whole batch of beats.
SET_UNLESS_TOMBSTONE = """
for i = 1, #KEYS, 2 do
  if redis.call('EXISTS', KEYS[i + 1]) == 0 then
    redis.call('SET', KEYS[i], ARGV[1], 'PX', ARGV[2])
  end
end
"""


def liveness_key(workspace_id: UUID) -> str:
    """The Redis key that exists while the workspace is alive."""
    return f"ws:{workspace_id}"


def url_key(workspace_id: UUID) -> str:
    """The Redis key that caches the agent's URL."""
    return f"ws:{workspace_id}:url"


def tombstone_key(workspace_id: UUID) -> str:
    """Set by a removal for TOMB_SECONDS: longer than a sign of life can be under way after its commit."""
    return f"tomb:{workspace_id}"


def grant_lease(ids: Iterable[UUID], seconds: float) -> None:
    """Without a heartbeat within so many seconds, an online or degraded workspace goes offline."""
    Workspace.objects.filter(id__in=ids).update(lease_expires_at=Now() + timedelta(seconds=seconds))


def end_leases(ids: Iterable[UUID]) -> None:
    """For workspaces that wait for an agent: nothing expires while they do."""
    Workspace.objects.filter(id__in=ids).update(lease_expires_at=None)


def mark_alive(ids: Iterable[UUID]) -> None:
    """SET, never EXPIRE: an EXPIRE on a lost key does nothing, and the next death would go unseen."""
    _set_unless_tombstone([(i, liveness_key(i)) for i in ids], "online", settings.LEASE_SECONDS)


def cache_url(workspace_id: UUID, url: str) -> None:
    """Keep the URL for URL_CACHE_SECONDS."""
    _set_unless_tombstone([(workspace_id, url_key(workspace_id))], url, settings.URL_CACHE_SECONDS)


def cached_url(workspace_id: UUID) -> str | None:
    """The cached URL, None if there is none."""
    url = redis.client().get(url_key(workspace_id))
    return None if url is None else str(url)


def _set_unless_tombstone(keys: list[tuple[UUID, str]], value: str, seconds: float) -> None:
    flat = [key for workspace_id, key in keys for key in (key, tombstone_key(workspace_id))]
    redis.client().eval(SET_UNLESS_TOMBSTONE, len(flat), *flat, value, int(seconds * 1000))


def set_tombstones(ids: Sequence[UUID]) -> None:
    """Drop the keys of removed workspaces, and keep a sign of life that is still on its way from setting them."""
    with redis.client().pipeline() as pipe:
        for workspace_id in ids:
            pipe.set(tombstone_key(workspace_id), "removed", ex=TOMBSTONE_SECONDS)
            pipe.delete(liveness_key(workspace_id), url_key(workspace_id))
        pipe.execute()


def announce_expiries() -> bool:
    """Ask Redis to announce expired keys, keeping what else is announced; False where it does not let us."""
    try:
        if not expiries_are_announced():
            redis.client().config_set("notify-keyspace-events", "KEA" + _announced())
    except ResponseError:
        return False
    return expiries_are_announced()


def expiries_are_announced() -> bool:
    """Flags: "E" for one channel per kind of event, "A" for every kind, "x" for expiries."""
    try:
        flags = _announced()
    except ResponseError:
        return False
    return "E" in flags and ("A" in flags or "x" in flags)


def _announced() -> str:
    return str(redis.client().config_get("notify-keyspace-events").get("notify-keyspace-events", ""))
