"""The reconciler makes what runs what is wanted, one claimed deployment at a time. Nothing here is in a transaction but
what it reports."""

import logging
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

from django.conf import settings
from django.db.models.functions import Now

from registry.config import files
from registry.exceptions import Forwarded, NotFound, Removed
from registry.models import EXTERNAL, DeploymentState, Desired, Workspace
from registry.runtime import claims, environment, reports
from registry.runtime.backend import (
    Backend,
    BackendError,
    Liveness,
    NotRunnable,
    Observation,
    Resource,
    Spec,
    Unavailable,
)
from registry.runtime.claims import Claim, ClaimLost

log = logging.getLogger(__name__)

UNKNOWN_SECONDS = 10.0


def reconcile(claim: Claim, backend: Backend) -> None:
    """Do what this deployment needs, and write back what was seen. Raises DatabaseError, PoolTimeout: the claim then
    ends by itself, and another one continues."""
    try:
        _converge(claim, backend)
    except BackendError as error:
        log.warning("deployment of %s: %s", claim.workspace_id, error.reason)
        _fail(claim, error, backend)
    except (ClaimLost, NotFound, Removed, Forwarded):
        claims.release(claim)


def _converge(claim: Claim, backend: Backend) -> None:
    if claim.desired == Desired.ABSENT:
        claims.save(claim, release=False, state=DeploymentState.STOPPING)
        backend.remove(claim.workspace_id)
        claims.save(claim, state=DeploymentState.ABSENT, **_nothing_runs(claim))
    elif claim.desired == Desired.STOPPED:
        claims.save(claim, release=False, state=DeploymentState.STOPPING)
        backend.stop(claim.workspace_id)
        claims.save(claim, state=DeploymentState.STOPPED, **_nothing_runs(claim))
    else:
        _run(claim, backend, backend.probe(claim.workspace_id))


def _run(claim: Claim, backend: Backend, seen: Observation) -> None:
    if seen.liveness == Liveness.UNKNOWN:
        again = Now() + timedelta(seconds=UNKNOWN_SECONDS)
        claims.save(claim, state=DeploymentState.UNKNOWN, reason="unknown", message=seen.detail, next_attempt_at=again)
    elif seen.liveness == Liveness.DEAD:
        if claim.is_observed and claim.resource_id is not None and seen.began:
            raise Unavailable("ended", seen.detail)
        _start(claim, backend)
    elif seen.resource is not None and seen.resource.generation == claim.generation:
        _keep(claim, seen.resource)
    else:
        claims.save(claim, release=False, state=DeploymentState.STOPPING)
        backend.stop(claim.workspace_id)
        _start(claim, backend)


def _keep(claim: Claim, resource: Resource) -> None:
    """It runs: as it was, or as another supervisor that was killed has started it."""
    if claim.is_observed and claim.state == DeploymentState.STARTING and _is_late(claim):
        raise Unavailable("no_sign_of_life", f"no heartbeat within {settings.PROVISIONING_SECONDS:g} s")
    state = claim.state if claim.is_observed and claim.state == DeploymentState.RUNNING else DeploymentState.STARTING
    claims.save(
        claim, state=state, started_at=claim.started_at or Now(), next_attempt_at=None, **_runs(claim, resource)
    )


def _is_late(claim: Claim) -> bool:
    """Whether an agent that was started has shown no sign of life for too long."""
    patience = timedelta(seconds=settings.PROVISIONING_SECONDS)
    return claim.started_at is not None and claim.now - claim.started_at > patience


def _start(claim: Claim, backend: Backend) -> None:
    workspace = Workspace.objects.get(id=claim.workspace_id)
    spec = _spec(workspace, claim)
    backend.check(spec)
    backend.prepare(spec)
    values = environment.assemble(workspace, backend.paths(workspace.id, workspace.tier))
    spec = replace(spec, environment=values, token=reports.starting(claim, backend))
    started = backend.start(spec, partial(_note, claim))
    claims.save(claim, **_runs(claim, started))


def _note(claim: Claim, resource: Resource) -> None:
    """Before the agent does anything. Raises ClaimLost: then it never does."""
    claims.save(claim, release=False, **_runs(claim, resource))


def _spec(workspace: Workspace, claim: Claim) -> Spec:
    if workspace.runtime == EXTERNAL:
        raise NotRunnable("external", "its agent runs elsewhere")
    return Spec(
        workspace_id=workspace.id,
        generation=claim.generation,
        tier=workspace.tier,
        runtime=workspace.runtime or "",
        files=files.contents([workspace.id]).get(workspace.id, {}),
    )


def _fail(claim: Claim, error: BackendError, backend: Backend) -> None:
    try:
        if claim.desired == Desired.RUNNING:
            _clear(claim, backend)
            reports.failed(claim, error, backend)
        else:
            attempts = claim.attempts + 1
            again: dict[str, Any] = {"attempts": attempts, "next_attempt_at": Now() + reports.backoff(attempts)}
            claims.save(claim, reason=error.reason, message=error.message, **again)
    except (ClaimLost, NotFound, Removed, Forwarded):
        claims.release(claim)


def _clear(claim: Claim, backend: Backend) -> None:
    """End what is left of it. If that fails it is tried again before the next start."""
    try:
        backend.stop(claim.workspace_id)
    except BackendError as error:
        log.warning("deployment of %s: what is left of it: %s", claim.workspace_id, error.reason)


def _nothing_runs(claim: Claim) -> dict[str, Any]:
    seen = {"resource_id": None, "url": None, "observed_generation": claim.generation}
    return seen | {"next_attempt_at": None, "attempts": 0, "reason": None, "message": None}


def _runs(claim: Claim, resource: Resource) -> dict[str, Any]:
    return {"resource_id": resource.resource_id, "url": resource.url, "observed_generation": claim.generation}
