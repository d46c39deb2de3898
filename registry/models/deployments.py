"""The agents that Molecule runs: what is wanted of each, and what was last seen."""

from django.db import models

from activity.models import Now
from registry.models.workspaces import Workspace


class Desired(models.TextChoices):
    """What operations want of a deployment."""

    RUNNING = "running"
    STOPPED = "stopped"
    ABSENT = "absent"


class DeploymentState(models.TextChoices):
    """What the reconciler saw. `FAILED`: it did not start, or ended; `reason` says whether it is tried again."""

    PENDING = "pending"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    STOPPED = "stopped"
    FAILED = "failed"
    ABSENT = "absent"
    UNKNOWN = "unknown"


class Deployment(models.Model):
    """Of a workspace whose agent Molecule runs. It is operational state: the log does not have it.

    Operations write `desired` and `generation`, while they hold the workspace's row; the reconciler writes the rest.
    `observed_generation`: the generation that `state` is about. `since`: when the state became what it is.
    `attempts`: failures in a row. `next_attempt_at`: not before then; None: at once, or never if nothing is to be done.
    `changes`: how often what its agent is started with has changed; `started_changes`: how many of them it has seen.
    `claimed_by`: who works on it, until `claimed_until`.
    """

    workspace = models.OneToOneField(Workspace, models.DO_NOTHING, primary_key=True, related_name="deployment")
    backend = models.TextField()
    desired = models.TextField(choices=Desired, default=Desired.RUNNING, db_default=Desired.RUNNING)
    generation = models.IntegerField(default=1, db_default=1)
    observed_generation = models.IntegerField(default=0, db_default=0)
    state = models.TextField(
        choices=DeploymentState, default=DeploymentState.PENDING, db_default=DeploymentState.PENDING
    )
    resource_id = models.TextField(null=True)
    url = models.TextField(null=True)
    image = models.TextField(null=True)
    attempts = models.IntegerField(default=0, db_default=0)
    next_attempt_at = models.DateTimeField(null=True)
    reason = models.TextField(null=True)
    message = models.TextField(null=True)
    since = models.DateTimeField(db_default=Now())
    started_at = models.DateTimeField(null=True)
    changes = models.IntegerField(default=0, db_default=0)
    started_changes = models.IntegerField(default=0, db_default=0)
    claimed_until = models.DateTimeField(null=True)
    claimed_by = models.UUIDField(null=True)

    class Meta:
        db_table = "deployments"
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.workspace_id} {self.state}"
