"""reconcile(): a lease that is past means offline. Hints say when to look; only the lease in PostgreSQL decides."""

from datetime import datetime
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import Min, QuerySet
from django.db.models.functions import Now

from activity.bus import rfc3339
from activity.events import NewEvent, record
from activity.models import EventType
from registry.liveness import flapping
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
    # One scan finds all ended leases. They have no index, because every heartbeat would have to update it.
    found = list(_due().order_by("lease_expires_at").values_list("id", flat=True)[:MOST])
    gone = 0
    for start in range(0, len(found), BATCH):
        if not _agents_could_reach_us():
            break
        gone += _expire(found[start : start + BATCH])
    return gone


def seconds_to_deadline() -> float | None:
    """Until the next lease can run out, less than 0 when it could already; None while none can."""
    grace = _grace_seconds()
    if grace is None:
        return None
    left = _watched().aggregate(left=Min("lease_expires_at") - Now())["left"]
    return None if left is None else max(grace, left.total_seconds())


def _agents_could_reach_us() -> bool:
    """Silence means death only if beats had a way in.

    While the platform itself is down, or has just come back, "cannot tell" is not "dead".
    """
    grace = _grace_seconds()
    return grace is not None and grace <= 0


def _grace_seconds() -> float | None:
    """Until a web process will have served for one whole lease, less than 0 when it has; None while none serves."""
    web = jobs.last(jobs.WEB)
    if web is None or not jobs.is_fresh(web):
        return None
    return float(settings.LEASE_SECONDS) - (web.now - web.since).total_seconds()


def _watched() -> QuerySet[Workspace]:
    return Workspace.objects.filter(status__in=ALIVE)


def _due() -> QuerySet[Workspace]:
    return _watched().filter(lease_expires_at__lte=Now())


def _expire(ids: list[UUID]) -> int:
    with transaction.atomic():
        rows = _lock_due(ids)
        marks = flapping.marks([row.id for row in rows])
        flapping.mark(marks)
        projection.apply(record([_event(row, marks.get(row.id)) for row in rows], actor=ACTOR))
    return len(rows)


def _lock_due(ids: list[UUID]) -> list[Workspace]:
    """Those of them that are due still, without their cards, which are long and not needed."""
    rows = _due().filter(id__in=ids).only("id", "status", "last_heartbeat_at").order_by("lease_expires_at")
    return list(rows.select_for_update(skip_locked=True, no_key=True))


def _event(row: Workspace, flapping_until: datetime | None) -> NewEvent:
    last = None if row.last_heartbeat_at is None else row.last_heartbeat_at.isoformat()
    payload: dict[str, object] = {"from": row.status, "last_heartbeat_at": last, "reason": "lease expired"}
    if flapping_until is not None:
        payload["flapping_until"] = rfc3339(flapping_until)
    return NewEvent(event_type=EventType.WORKSPACE_OFFLINE, workspace_id=row.id, payload=payload)
