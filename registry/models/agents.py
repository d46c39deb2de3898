"""Model assignments."""

import uuid

from django.contrib.postgres.functions import RandomUUID
from django.core.validators import MaxLengthValidator
from django.db import models

from activity.models import Now
from registry.models.workspaces import Workspace, no_line_breaks


class AgentStatus(models.TextChoices):
    """Whether a model is still assigned."""

    ACTIVE = "active"
    REMOVED = "removed"


class Agent(models.Model):
    """A model that is or was assigned to a workspace. Each workspace has at most one active assignment."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, db_default=RandomUUID(), editable=False)
    workspace = models.ForeignKey(Workspace, models.DO_NOTHING, related_name="agents", db_index=False)
    model = models.TextField(validators=[MaxLengthValidator(100), no_line_breaks])
    status = models.TextField(choices=AgentStatus, default=AgentStatus.ACTIVE, db_default=AgentStatus.ACTIVE)
    removed_at = models.DateTimeField(null=True)
    removal_reason = models.TextField(null=True)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "agents"
        ordering = ["-created_at"]
        constraints = [
            models.UniqueConstraint(
                fields=["workspace"],
                condition=models.Q(status="active"),
                name="agents_one_active_per_workspace",
            )
        ]

    def __str__(self) -> str:
        return self.model
