"""Lease expiry: a workspace whose lease in PostgreSQL has ended goes offline, whatever Redis says."""

import time
from datetime import datetime
from uuid import UUID

from django.db import transaction
from django.db.models import Min, QuerySet, Value
from django.db.models.functions import Greatest, Now

from activity.bus import rfc3339
from activity.events import NewEvent, record
from activity.models import EventType
from registry.liveness import flapping, presence
from registry.models import ALIVE, Workspace
from registry.structure import projection
from registry.supervision import jobs

BATCH = 1000
# The next call continues. A supervisor whose step takes long counts as hanging, also while batch after batch succeeds,
# so no batch begins after so many seconds.
MAX_PER_CALL = 20 * BATCH
MAX_CALL_SECONDS = 2.0
ACTOR = "supervisor"


def reconcile() -> int:
    """Set online and degraded workspaces whose lease has ended to offline; return how many changed.

    Each batch is a short transaction. Rows that another transaction has locked are left to the next call: most likely
    a heartbeat is renewing their lease.
    """
    since = _serving_since()
    if since is None:
        return 0
    # One scan finds all ended leases. They have no index, because every heartbeat would have to update it.
    began = time.monotonic()
    found = list(_expired(since).order_by("lease_expires_at").values_list("id", flat=True)[:MAX_PER_CALL])
    count = 0
    for start in range(0, len(found), BATCH):
        # The web processes may have stopped meanwhile.
        if (since := _serving_since()) is None:
            break
        count += _expire(found[start : start + BATCH], since)
        if time.monotonic() - began > MAX_CALL_SECONDS:
            break
    return count


def seconds_to_deadline() -> float | None:
    """Seconds until the next workspace can go offline, negative if one can now; None while none can."""
    since = _serving_since()
    if since is None:
        return None
    left = _alive().aggregate(left=Min(_deadline(since)) - Now())["left"]
    return None if left is None else float(left.total_seconds())


def _serving_since() -> datetime | None:
    """Since when a web process has been accepting heartbeats; None while none does."""
    web = jobs.last(jobs.WEB)
    return web.since if web is not None and jobs.is_fresh(web) else None


def _deadline(since: datetime) -> Greatest:
    """The end of the lease, but at least one whole lease after `since`: agents could not reach us before."""
    return Greatest("lease_expires_at", Value(since) + presence.lease_duration())


def _alive() -> QuerySet[Workspace]:
    return Workspace.objects.filter(status__in=ALIVE, lease_expires_at__isnull=False)


def _expired(since: datetime) -> QuerySet[Workspace]:
    return _alive().annotate(deadline=_deadline(since)).filter(deadline__lte=Now())


def _expire(ids: list[UUID], since: datetime) -> int:
    with transaction.atomic():
        rows = _lock_expired(ids, since)
        flapping_until = flapping.detect([row.id for row in rows])
        flapping.save(flapping_until)
        projection.apply(record([_event(row, flapping_until.get(row.id)) for row in rows], actor=ACTOR))
    return len(rows)


def _lock_expired(ids: list[UUID], since: datetime) -> list[Workspace]:
    """Lock those whose lease is still past. Without their agent cards, which are large and not needed."""
    rows = _expired(since).filter(id__in=ids).only("id", "status", "last_heartbeat_at").order_by("lease_expires_at")
    return list(rows.select_for_update(skip_locked=True, no_key=True))


def _event(row: Workspace, flapping_until: datetime | None) -> NewEvent:
    last = None if row.last_heartbeat_at is None else row.last_heartbeat_at.isoformat()
    payload: dict[str, object] = {"from": row.status, "last_heartbeat_at": last, "reason": "lease expired"}
    if flapping_until is not None:
        payload["flapping_until"] = rfc3339(flapping_until)
    return NewEvent(event_type=EventType.WORKSPACE_OFFLINE, workspace_id=row.id, payload=payload)
