"""What operations want of the agents that Molecule runs. Only rows are written here: the reconciler acts on them.

Nothing is done while no RUNTIME_BACKEND is set. want() and offer() need the rows of the workspaces locked.
"""

from collections.abc import Collection, Sequence
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db.models import prefetch_related_objects

from activity import statements
from registry.models import EXTERNAL, Deployment, Desired, Workspace
from registry.structure.shown_deployments import SHOWN, Changed, announce


def want(workspace_ids: Collection[UUID], desired: Desired, *, restart: bool = False) -> None:
    """Set what is wanted of their deployments. `restart`: as a new generation, and at once, however often it failed.

    Running ones that have none get one, if offer() would give them one.
    """
    if not settings.RUNTIME_BACKEND or not workspace_ids:
        return
    announce(_run(WANT, ids=sorted(workspace_ids), desired=desired, restart=int(restart)))
    if desired == Desired.RUNNING:
        _insert(workspace_ids)


def offer(workspace_ids: Collection[UUID]) -> None:
    """Their files have changed: deploy those that have files, no agent yet, and are not external. For those that are
    deployed it is changed()."""
    if not settings.RUNTIME_BACKEND or not workspace_ids:
        return
    changed(workspace_ids)
    _insert(workspace_ids)


def changed(workspace_ids: Collection[UUID] | None) -> None:
    """What their agents are started with has changed, of all workspaces where None is given: try again what was given
    up, and restart the others if RUNTIME_RESTART_ON_CHANGE. One that has become external is not run any more."""
    if not settings.RUNTIME_BACKEND:
        return
    ids = None if workspace_ids is None else sorted(workspace_ids)
    announce(_run(CHANGED, ids=ids, restart=int(settings.RUNTIME_RESTART_ON_CHANGE), runtime=EXTERNAL))


def is_run_here(workspace: Workspace) -> bool:
    """Whether Molecule runs its agent, or will. A query, unless look_up() has been called."""
    try:
        return bool(settings.RUNTIME_BACKEND) and workspace.deployment.desired != Desired.ABSENT
    except Deployment.DoesNotExist:
        return False


def look_up(workspaces: Sequence[Workspace]) -> None:
    """Read the deployments of all of them with one query, for is_run_here()."""
    if settings.RUNTIME_BACKEND:
        prefetch_related_objects(workspaces, "deployment")


def _insert(workspace_ids: Collection[UUID]) -> None:
    announce(_run(INSERT, ids=sorted(workspace_ids), backend=settings.RUNTIME_BACKEND, runtime=EXTERNAL))


def _run(statement: str, **parameters: Any) -> list[Changed]:
    return statements.execute(statement, parameters)


# Rows are locked in the order of their ids, because a change of a global secret locks all of them.
LOCKED = f"""
WITH locked AS (
  SELECT d.workspace_id, {SHOWN}::text AS shown FROM deployments d
  WHERE %(ids)b::uuid[] IS NULL OR d.workspace_id = ANY(%(ids)b::uuid[])
  ORDER BY d.workspace_id FOR NO KEY UPDATE
)
"""  # noqa: S608  # of constants
RETURNING = f"RETURNING d.workspace_id, locked.shown, {SHOWN}::text"
# What is restarted or resumed does not wait for its next attempt. Nothing brings back what is absent.
WANT = f"""{LOCKED}
UPDATE deployments d SET desired = %(desired)b, generation = d.generation + %(restart)b::int, attempts = 0,
  next_attempt_at = NULL,
  state = CASE WHEN d.state IN ('failed', 'absent') AND d.desired = 'running' THEN 'pending' ELSE d.state END
FROM locked WHERE d.workspace_id = locked.workspace_id AND d.desired <> 'absent'
{RETURNING}
"""  # noqa: S608  # of constants
# A paused workspace gets one that is stopped. One that an agent has registered for is left to that agent.
INSERT = f"""
INSERT INTO deployments AS d (workspace_id, backend, desired)
SELECT id, %(backend)b, CASE status WHEN 'paused' THEN 'stopped' ELSE 'running' END FROM workspaces w
WHERE id = ANY(%(ids)b::uuid[]) AND runtime IS DISTINCT FROM %(runtime)b::text AND url IS NULL
  AND status IN ('provisioning', 'paused', 'failed')
  AND EXISTS (SELECT FROM workspace_files f WHERE f.workspace_id = w.id)
ORDER BY id
ON CONFLICT (workspace_id) DO NOTHING
RETURNING d.workspace_id, NULL::text, {SHOWN}::text
"""  # noqa: S608  # of constants
GIVEN_UP = "(d.state IN ('failed', 'absent') AND d.next_attempt_at IS NULL)"
CHANGED = f"""{LOCKED}
UPDATE deployments d SET
  desired = CASE WHEN w.runtime = %(runtime)b::text THEN 'absent' ELSE d.desired END,
  changes = d.changes + 1,
  generation = d.generation + %(restart)b::int,
  state = CASE WHEN {GIVEN_UP} THEN 'pending' ELSE d.state END,
  since = CASE WHEN {GIVEN_UP} THEN now() ELSE d.since END,
  reason = CASE WHEN {GIVEN_UP} THEN NULL ELSE d.reason END,
  message = CASE WHEN {GIVEN_UP} THEN NULL ELSE d.message END,
  attempts = CASE WHEN {GIVEN_UP} OR %(restart)b::int = 1 THEN 0 ELSE d.attempts END,
  next_attempt_at = CASE WHEN %(restart)b::int = 1 THEN NULL ELSE d.next_attempt_at END
FROM locked JOIN workspaces w ON w.id = locked.workspace_id
WHERE d.workspace_id = locked.workspace_id AND d.desired <> 'absent'
{RETURNING}
"""  # noqa: S608  # of constants
