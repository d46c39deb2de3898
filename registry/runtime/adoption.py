"""What a backend has and the database does not: lost rows are written again, and what belongs to no workspace is
removed after a while."""

import logging
import time
from uuid import UUID

from django.db.models.functions import Now

from registry.models import Deployment, DeploymentState, Desired, Status, Workspace
from registry.runtime.backend import Backend, Resource
from registry.structure.shown_deployments import announced

log = logging.getLogger(__name__)

ORPHAN_SECONDS = 600.0


class Adoption:
    """Remembers since when it has seen each orphan. Another supervisor begins anew, which only takes longer."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self._orphans: dict[UUID, float] = {}

    def adopt(self) -> list[UUID]:
        """Write the rows that are missing; returns the orphans that are to be removed. Raises Unavailable."""
        owned = {resource.workspace_id: resource for resource in self.backend.list_owned()}
        active = Workspace.objects.active().filter(id__in=owned).in_bulk()
        known = set(Deployment.objects.filter(workspace_id__in=active).values_list("workspace_id", flat=True))
        lost = [owned[i] for i in active.keys() - known]
        with announced([resource.workspace_id for resource in lost]):
            Deployment.objects.bulk_create(
                [self._row(resource, active[resource.workspace_id]) for resource in lost], ignore_conflicts=True
            )
        for resource in lost:
            log.warning("deployment of %s: it runs, and its row was lost", resource.workspace_id)
        return self._old(owned.keys() - active.keys() - self._to_be_removed(list(owned)))

    def _to_be_removed(self, owned: list[UUID]) -> set[UUID]:
        """Removed workspaces whose deployments the reconciler is going to remove."""
        waiting = Deployment.objects.filter(workspace_id__in=owned).exclude(state=DeploymentState.ABSENT)
        return set(waiting.values_list("workspace_id", flat=True))

    def _row(self, resource: Resource, workspace: Workspace) -> Deployment:
        is_paused = workspace.status == Status.PAUSED
        return Deployment(
            workspace_id=workspace.id,
            backend=self.backend.name,
            desired=Desired.STOPPED if is_paused else Desired.RUNNING,
            generation=resource.generation,
            observed_generation=resource.generation,
            state=DeploymentState.STARTING,
            resource_id=resource.resource_id,
            url=resource.url,
            started_at=Now(),
        )

    def _old(self, orphans: set[UUID]) -> list[UUID]:
        now = time.monotonic()
        self._orphans = {i: self._orphans.get(i, now) for i in orphans}
        return [i for i, since in self._orphans.items() if now - since >= ORPHAN_SECONDS]
