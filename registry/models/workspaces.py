"""Workspaces. Only projection.apply() writes structural columns; heartbeats write live columns."""

import uuid

from django.contrib.postgres.functions import RandomUUID
from django.core.validators import MaxLengthValidator, MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models

from activity.models import Now

no_line_breaks = RegexValidator(r"[\r\n]", "must not contain line breaks", code="line_break", inverse_match=True)


class Status(models.TextChoices):
    """The statuses of a workspace; docs/architecture.md has the transitions."""

    PROVISIONING = "provisioning"
    ONLINE = "online"
    DEGRADED = "degraded"
    OFFLINE = "offline"
    FAILED = "failed"
    PAUSED = "paused"
    REMOVED = "removed"


ALIVE = (Status.ONLINE, Status.DEGRADED)
"""The statuses that end when the lease expires."""

DEFAULT_TIER = 1

EXTERNAL = "external"
"""The runtime of a workspace whose agent runs elsewhere."""


class WorkspaceQuerySet(models.QuerySet["Workspace"]):
    """`active()`: the workspaces that are not removed."""

    def active(self) -> "WorkspaceQuerySet":
        """Return those that are not removed."""
        return self.exclude(status=Status.REMOVED)


class Workspace(models.Model):
    """A role in the organisation, filled by one agent. `parent_id` also decides which workspaces may communicate."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, db_default=RandomUUID(), editable=False)
    # All rules for names and roles are in registry.structure.text.
    name = models.TextField(validators=[MaxLengthValidator(255), no_line_breaks])
    role = models.TextField(null=True, blank=True, validators=[MaxLengthValidator(10_000)])
    tier = models.IntegerField(
        default=DEFAULT_TIER,
        db_default=DEFAULT_TIER,
        validators=[MinValueValidator(1), MaxValueValidator(4)],
        help_text="1-4; decides how it is deployed.",
    )
    status = models.TextField(
        choices=Status, default=Status.PROVISIONING, db_default=Status.PROVISIONING, editable=False
    )
    source_bundle_id = models.TextField(null=True, editable=False)
    agent_card = models.JSONField(null=True, editable=False)
    url = models.TextField(null=True, editable=False)
    parent = models.ForeignKey(
        "self", models.DO_NOTHING, null=True, blank=True, related_name="children", db_index=False
    )
    forwarded_to = models.ForeignKey(
        "self",
        models.DO_NOTHING,
        null=True,
        db_column="forwarded_to",
        related_name="+",
        db_index=False,
        editable=False,
    )
    last_heartbeat_at = models.DateTimeField(null=True, editable=False)
    last_error_rate = models.FloatField(default=0, db_default=0, editable=False)
    last_sample_error = models.TextField(null=True, editable=False)
    active_tasks = models.IntegerField(default=0, db_default=0, editable=False)
    uptime_seconds = models.IntegerField(default=0, db_default=0, editable=False)
    current_task = models.TextField(null=True, editable=False)
    runtime = models.TextField(
        null=True,
        blank=True,
        validators=[MaxLengthValidator(100), no_line_breaks],
        help_text="What runs the agent. Empty: not known.",
    )
    lease_expires_at = models.DateTimeField(null=True, editable=False)
    flapping_until = models.DateTimeField(null=True, editable=False)
    refused_at = models.DateTimeField(null=True, editable=False)
    refused_count = models.IntegerField(default=0, db_default=0, editable=False)
    refused_reason = models.TextField(null=True, editable=False)
    refused_address = models.TextField(null=True, editable=False)
    enrolment_expires_at = models.DateTimeField(null=True, editable=False)
    heartbeat_interval = models.IntegerField(null=True, editable=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    updated_at = models.DateTimeField(db_default=Now(), editable=False)

    objects = WorkspaceQuerySet.as_manager()

    class Meta:
        db_table = "workspaces"
        ordering = ["created_at", "id"]

    def __str__(self) -> str:
        return self.name
