"""Signs of life: the lease in PostgreSQL, which is the truth, and the Redis keys that hint at it."""

from collections.abc import Iterable, Sequence
from datetime import timedelta
from uuid import UUID

from django.conf import settings
from django.db.models.functions import Now
from redis.exceptions import ResponseError

from activity import redis
from registry.models import Workspace


def liveness_key(workspace_id: UUID) -> str:
    return f"ws:{workspace_id}"


def url_key(workspace_id: UUID) -> str:
    return f"ws:{workspace_id}:url"


def grant_lease(ids: Iterable[UUID], seconds: float) -> None:
    """The deadline by which the workspace must be heard of, or it counts as offline (or failed)."""
    Workspace.objects.filter(id__in=ids).update(lease_expires_at=Now() + timedelta(seconds=seconds))


def mark_alive(ids: Iterable[UUID]) -> None:
    """SET, never EXPIRE: an EXPIRE on a lost key does nothing, and the next death would go unseen."""
    lease_ms = int(settings.LEASE_SECONDS * 1000)
    with redis.client().pipeline(transaction=False) as pipe:
        for workspace_id in ids:
            pipe.set(liveness_key(workspace_id), "online", px=lease_ms)
        pipe.execute()


def cache_url(workspace_id: UUID, url: str) -> None:
    redis.client().set(url_key(workspace_id), url, ex=settings.URL_CACHE_SECONDS)


def forget(ids: Sequence[UUID]) -> None:
    redis.client().delete(*[key(workspace_id) for workspace_id in ids for key in (liveness_key, url_key)])


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
