"""Rows of deployments that a supervisor works on. A claim ends by itself, so that another one can take over; what is
written under a claim that has ended is refused."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import Case, F, When
from django.db.models.functions import Now

from activity import statements
from registry.models import Deployment
from registry.structure.shown_deployments import announced

SECONDS = 15.0
"""After the last renewal. If a supervisor hangs longer, two work on one row: Backend.start() starts it once then."""
# A removed workspace stays removed, and a paused one paused, whatever the row says.
DESIRED = "CASE w.status WHEN 'removed' THEN 'absent' WHEN 'paused' THEN 'stopped' ELSE d.desired END"
# What is as it is wanted, or was given up: nothing is to be done.
SETTLED = f"""CASE {DESIRED}
  WHEN 'absent' THEN d.state = 'absent'
  WHEN 'stopped' THEN d.state = 'stopped'
  ELSE d.observed_generation = d.generation AND (
    (d.state IN ('starting', 'running') AND d.resource_id IS NOT NULL)
    OR (d.state IN ('failed', 'absent') AND d.next_attempt_at IS NULL))
END"""
FREE = "(d.claimed_until IS NULL OR d.claimed_until < now())"
CLAIM = f"""
WITH due AS (
  SELECT d.workspace_id, {DESIRED} AS desired
  FROM deployments d JOIN workspaces w ON w.id = d.workspace_id
  WHERE {FREE} AND (d.workspace_id = ANY(%(ids)b::uuid[])
    OR (NOT {SETTLED} AND (d.next_attempt_at IS NULL OR d.next_attempt_at <= now())))
  ORDER BY d.next_attempt_at NULLS FIRST, d.workspace_id
  LIMIT %(limit)b FOR NO KEY UPDATE OF d SKIP LOCKED
)
UPDATE deployments d SET claimed_by = gen_random_uuid(), claimed_until = now() + make_interval(secs => %(seconds)b)
FROM due WHERE d.workspace_id = due.workspace_id
RETURNING d.claimed_by, d.workspace_id, due.desired, d.generation, d.observed_generation, d.state, d.resource_id,
  d.attempts, d.reason, d.message, d.since, d.started_at, d.changes, now()
"""  # noqa: S608  # of constants
RENEW = """
UPDATE deployments SET claimed_until = now() + make_interval(secs => %(seconds)b)
WHERE claimed_by = ANY(%(claims)b::uuid[]) RETURNING 1
"""


class ClaimLost(Exception):
    """Another supervisor has taken over, or an operation wants something else by now."""


@dataclass(frozen=True)
class Claim:
    """A row as it was when it was claimed. `now`: when that was."""

    id: UUID
    workspace_id: UUID
    desired: str
    generation: int
    observed_generation: int
    state: str
    resource_id: str | None
    attempts: int
    reason: str | None
    message: str | None
    since: datetime
    started_at: datetime | None
    changes: int
    now: datetime

    @property
    def is_observed(self) -> bool:
        """Whether the state is that of the generation that is wanted."""
        return self.observed_generation == self.generation


def claim(limit: int, *, also: Collection[UUID] = ()) -> list[Claim]:
    """Claim at most so many of those for which something is to be done, and of `also`. Skips what others hold."""
    given = {"ids": list(also), "limit": limit, "seconds": SECONDS}
    return [Claim(*row) for row in statements.execute(CLAIM, given)] if limit > 0 else []


def renew(claims: Collection[UUID]) -> None:
    """Keep them for another SECONDS."""
    if claims:
        statements.execute(RENEW, {"claims": list(claims), "seconds": SECONDS})


def save(claim: Claim, *, release: bool = True, **columns: Any) -> None:
    """Write what was seen. Raises ClaimLost."""
    if "state" in columns:
        columns["since"] = Case(When(state=columns["state"], then=F("since")), default=Now())
    if release:
        columns |= {"claimed_by": None, "claimed_until": None}
    with announced([claim.workspace_id]):
        if not Deployment.objects.filter(workspace_id=claim.workspace_id, claimed_by=claim.id).update(**columns):
            raise ClaimLost


def release(claim: Claim) -> None:
    """End it, unless it has ended. The row is looked at again at once."""
    mine = Deployment.objects.filter(workspace_id=claim.workspace_id, claimed_by=claim.id)
    mine.update(claimed_by=None, claimed_until=None)


def check_wanted(claim: Claim) -> None:
    """Lock the row, whose workspace must be locked already. Raises ClaimLost."""
    wanted = Deployment.objects.select_for_update(no_key=True).filter(
        workspace_id=claim.workspace_id, claimed_by=claim.id, generation=claim.generation, desired=claim.desired
    )
    if not wanted.exists():
        raise ClaimLost
