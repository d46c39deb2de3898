"""reconcile(): a lease that is past means offline. Hints say when to look; only the lease in PostgreSQL decides."""

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
# In one look, which is then a matter of seconds; the rest is for the next.
MOST = 20 * BATCH
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
    found = list(_due(since).order_by("lease_expires_at").values_list("id", flat=True)[:MOST])
    gone = 0
    for start in range(0, len(found), BATCH):
        # The web processes may have stopped meanwhile.
        if (since := _serving_since()) is None:
            break
        gone += _expire(found[start : start + BATCH], since)
    return gone


def seconds_to_deadline() -> float | None:
    """Until the next workspace may go offline, less than 0 when it could already; None while none can."""
    since = _serving_since()
    if since is None:
        return None
    left = _watched().aggregate(left=Min(_deadline(since)) - Now())["left"]
    return None if left is None else float(left.total_seconds())


def _serving_since() -> datetime | None:
    """Return since when a web process has been accepting heartbeats; None while none does."""
    web = jobs.last(jobs.WEB)
    return web.since if web is not None and jobs.is_fresh(web) else None


def _deadline(since: datetime) -> Greatest:
    """Each workspace has until the end of its lease, and never less than a whole lease since agents can reach us.

    While the platform itself is down, or has just come back, silence does not mean death.
    """
    return Greatest("lease_expires_at", Value(since) + presence.lease_duration())


def _watched() -> QuerySet[Workspace]:
    return Workspace.objects.filter(status__in=ALIVE, lease_expires_at__isnull=False)


def _due(since: datetime) -> QuerySet[Workspace]:
    return _watched().annotate(deadline=_deadline(since)).filter(lease_expires_at__lte=Now(), deadline__lte=Now())


def _expire(ids: list[UUID], since: datetime) -> int:
    with transaction.atomic():
        rows = _lock_due(ids, since)
        marks = flapping.marks([row.id for row in rows])
        flapping.mark(marks)
        projection.apply(record([_event(row, marks.get(row.id)) for row in rows], actor=ACTOR))
    return len(rows)


def _lock_due(ids: list[UUID], since: datetime) -> list[Workspace]:
    """Those of them that are due still, without their cards, which are long and not needed."""
    rows = _due(since).filter(id__in=ids).only("id", "status", "last_heartbeat_at").order_by("lease_expires_at")
    return list(rows.select_for_update(skip_locked=True, no_key=True))


def _event(row: Workspace, flapping_until: datetime | None) -> NewEvent:
    last = None if row.last_heartbeat_at is None else row.last_heartbeat_at.isoformat()
    payload: dict[str, object] = {"from": row.status, "last_heartbeat_at": last, "reason": "lease expired"}
    if flapping_until is not None:
        payload["flapping_until"] = rfc3339(flapping_until)
    return NewEvent(event_type=EventType.WORKSPACE_OFFLINE, workspace_id=row.id, payload=payload)
