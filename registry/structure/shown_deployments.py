"""What operators see of deployments, and the message that tells them of each change."""

import json
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from uuid import UUID

from django.db import transaction

from activity import bus, statements

EVENT = "DEPLOYMENT_UPDATED"

# What it was started with has changed since, and nothing restarts it yet.
NEEDS_RESTART = """(d.desired = 'running' AND d.resource_id IS NOT NULL AND d.observed_generation = d.generation
  AND d.changes > d.started_changes)"""
# What is shown, and its SQL. While nothing is known of it, it is looked at again every few seconds.
COLUMNS = {
    "backend": "d.backend",
    "desired": "d.desired",
    "state": "d.state",
    "since": "d.since",
    "reason": "d.reason",
    "message": "d.message",
    "generation": "d.generation",
    "attempts": "d.attempts",
    "next_attempt_at": "CASE WHEN d.state <> 'unknown' THEN d.next_attempt_at END",
    "started_at": "d.started_at",
    "image": "d.image",
    "needs_restart": NEEDS_RESTART,
}
TIMES = {"since", "next_attempt_at", "started_at"}
_PAIRS = ", ".join(
    f"'{name}', {statements.rfc3339(column) if name in TIMES else column}" for name, column in COLUMNS.items()
)
# As JSON; null where nothing is run here any more.
SHOWN = f"CASE WHEN (d.desired = 'absent' AND d.state = 'absent') IS FALSE THEN json_build_object({_PAIRS}) END"
# Changes whenever what is shown does, and not by what the reconciler writes for itself.
VERSION = f"""
  SELECT bit_xor(hash_record_extended(ROW(d.workspace_id, {", ".join(COLUMNS.values())}), 0)) FROM deployments d
"""  # noqa: S608  # our own columns
LOCK = f"""
SELECT d.workspace_id, {SHOWN}::text FROM deployments d WHERE d.workspace_id = ANY(%(ids)b::uuid[])
ORDER BY d.workspace_id FOR NO KEY UPDATE
"""  # noqa: S608
Changed = tuple[UUID, str | None, str | None]
"""A workspace, and what is shown of its deployment before and after, as JSON text."""


@contextmanager
def announced(workspace_ids: Collection[UUID]) -> Iterator[None]:
    """A transaction that holds the rows of these deployments; after it operators are told what has changed."""
    with transaction.atomic():
        before = _locked(workspace_ids)
        yield
        announce((one, before.get(one), shown) for one, shown in _locked(workspace_ids).items())


def announce(changed: Iterable[Changed]) -> None:
    """Tell operators, once this is committed, what differs."""
    told = {workspace_id: after for workspace_id, before, after in changed if before != after}
    if told:
        bus.after_commit(_publish, told)


def _locked(workspace_ids: Collection[UUID]) -> dict[UUID, str | None]:
    return dict(statements.execute(LOCK, {"ids": sorted(workspace_ids)}))


def _publish(told: dict[UUID, str | None]) -> None:
    bus.publish([bus.envelope(EVENT, one, {"deployment": shown and json.loads(shown)}) for one, shown in told.items()])
