"""Looks at what runs: finds what has ended or hangs, and notices an agent's first sign of life."""

from collections.abc import Collection
from datetime import timedelta
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import F, Q, QuerySet
from django.db.models.functions import Now

from registry.identity import deployment_tokens
from registry.models import Deployment, DeploymentState, Desired
from registry.runtime.backend import Backend, Liveness
from registry.structure import rows
from registry.structure.shown_deployments import announced


def started() -> list[UUID]:
    """Mark those as running whose agents have used their new token; returns what has taken too long to do so."""
    waiting = _settled().filter(state=DeploymentState.STARTING)
    for workspace_id in deployment_tokens.whose_newest_was_used(list(waiting.values_list("workspace_id", flat=True))):
        _mark_running(workspace_id)
    late = waiting.filter(started_at__lt=Now() - timedelta(seconds=settings.PROVISIONING_SECONDS))
    return list(late.values_list("workspace_id", flat=True))


def ended(backend: Backend) -> list[UUID]:
    """Those that should run and do not. What cannot be known changes nothing."""
    watched = _settled().filter(state__in=[DeploymentState.STARTING, DeploymentState.RUNNING])
    found: Collection[UUID] = watched.values_list("workspace_id", flat=True)
    return [workspace_id for workspace_id in found if backend.probe(workspace_id).liveness == Liveness.DEAD]


def _mark_running(workspace_id: UUID) -> None:
    """The tokens first: if this is interrupted, it is done again."""
    with transaction.atomic():
        rows.lock([workspace_id])
        deployment_tokens.revoke_earlier(workspace_id)
        ready = _settled().filter(workspace_id=workspace_id, state=DeploymentState.STARTING)
        with announced([workspace_id]):
            ready.update(state=DeploymentState.RUNNING, since=Now(), reason=None, message=None)


def _settled() -> QuerySet[Deployment]:
    """Those that should run, and that nobody is working on."""
    free = Q(claimed_until=None) | Q(claimed_until__lt=Now())
    return Deployment.objects.filter(
        free, desired=Desired.RUNNING, observed_generation=F("generation"), resource_id__isnull=False
    )
