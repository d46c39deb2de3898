"""What the reconciler reports: a start and a failure, each with its event in one transaction."""

import random
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models.functions import Now

from activity.events import NewEvent, record
from activity.models import EventType
from registry.identity import deployment_tokens
from registry.identity.tokens import WELL_FORMED
from registry.liveness import presence
from registry.models import ALIVE, DeploymentState, Status, Workspace
from registry.organisation import pausing
from registry.runtime import claims
from registry.runtime.backend import Backend, BackendError, NotRunnable, Refused
from registry.runtime.claims import Claim
from registry.secrets import masking
from registry.structure import projection, rows

ACTOR = "supervisor"
FIRST_SECONDS, LONGEST_SECONDS = 5.0, 300.0
JITTER = 0.25
MOST_ATTEMPTS = 5
# An agent that was seen and ran for so long did not fail to start.
STABLE_SECONDS = 600.0
TAIL_LINES = 50
# A secret may have more than one line, so more is read and masked than is kept.
READ_LINES = 500
LONGEST_TAIL = 4000
CRASH_LOOP = "crash_loop"


def backoff(attempts: int) -> timedelta:
    """How long to wait after so many failures in a row."""
    seconds = min(LONGEST_SECONDS, FIRST_SECONDS * 2 ** min(attempts - 1, 16))
    return timedelta(seconds=seconds * (1 + random.uniform(0, JITTER)))  # noqa: S311  # spreads restarts


def starting(claim: Claim, backend: Backend) -> str:
    """The agent is about to be started: returns its new token. Raises ClaimLost, NotFound, Removed."""
    with transaction.atomic():
        workspace = rows.lock_active(claim.workspace_id)
        claims.check_wanted(claim)
        token = deployment_tokens.issue(claim.workspace_id, claim.generation)
        state = {"state": DeploymentState.STARTING, "started_at": Now(), "backend": backend.name}
        state |= {"started_changes": claim.changes, "next_attempt_at": None}
        claims.save(claim, release=False, resource_id=None, url=None, **state)
        details: dict[str, Any] = {"backend": backend.name, "generation": claim.generation}
        if claim.attempts and claim.is_observed:
            details |= {"attempt": claim.attempts + 1, "reason": claim.reason, "message": claim.message}
        projection.apply(record([pausing.provisioning_event(workspace, **details)], actor=ACTOR))
        presence.end_leases([claim.workspace_id])
    return token.text


def failed(claim: Claim, error: BackendError, backend: Backend) -> None:
    """It did not start, or ended. It is tried again after a while, unless that is of no use. Raises ClaimLost.

    There is an event if the agent was waited for, or is not tried again.
    """
    columns = _columns(claim, error)
    payload = {"backend": backend.name, "generation": claim.generation, "reason": columns["reason"]}
    payload |= {"message": columns["message"], "log_tail": _log_tail(claim, backend)}
    is_given_up = columns["next_attempt_at"] is None
    with transaction.atomic():
        workspace = rows.lock_active(claim.workspace_id)
        claims.check_wanted(claim)
        claims.save(claim, observed_generation=claim.generation, resource_id=None, url=None, **columns)
        awaited = workspace.status == Status.PROVISIONING
        if columns["state"] == DeploymentState.FAILED and (awaited or (is_given_up and _is_shown_alive(workspace))):
            projection.apply(record([_failure(workspace, payload)], actor=ACTOR))


def _columns(claim: Claim, error: BackendError) -> dict[str, Any]:
    message = masking.mask_for(claim.workspace_id).text(error.message)
    if isinstance(error, NotRunnable):
        state = DeploymentState.ABSENT
        return {"state": state, "reason": error.reason, "message": message, "next_attempt_at": None}
    columns: dict[str, Any] = {
        "state": DeploymentState.FAILED,
        "reason": error.reason,
        "message": message,
        "next_attempt_at": None,
    }
    if isinstance(error, Refused):
        return columns
    attempts = 1 if _was_stable(claim) else claim.attempts + 1
    columns["attempts"] = attempts
    if attempts >= MOST_ATTEMPTS:
        return columns | {"reason": CRASH_LOOP, "message": f"failed {attempts} times in a row, at last: {message}"}
    return columns | {"next_attempt_at": Now() + backoff(attempts)}


def _was_stable(claim: Claim) -> bool:
    is_running = claim.state == DeploymentState.RUNNING
    return is_running and claim.now - claim.since >= timedelta(seconds=STABLE_SECONDS)


def _is_shown_alive(workspace: Workspace) -> bool:
    return workspace.status in (*ALIVE, Status.OFFLINE)


def _log_tail(claim: Claim, backend: Backend) -> str:
    try:
        text = backend.logs(claim.workspace_id, lines=READ_LINES)
    except BackendError as error:
        return f"(no log: {error.message})"
    masked = masking.mask_for(claim.workspace_id).text(text.replace("\0", "\ufffd"))
    masked = WELL_FORMED.sub("[token]", masked)
    return "\n".join(masked.splitlines()[-TAIL_LINES:])[-LONGEST_TAIL:]


def _failure(workspace: Workspace, payload: dict[str, Any]) -> NewEvent:
    return NewEvent(
        event_type=EventType.WORKSPACE_PROVISION_FAILED,
        workspace_id=workspace.id,
        payload={"from": workspace.status, "name": workspace.name, **payload},
    )
