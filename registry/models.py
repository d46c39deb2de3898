"""Who exists. Structural columns are written by projection.apply() alone, live columns by heartbeats."""

import uuid
from datetime import datetime

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.functions import RandomUUID
from django.core.validators import MaxLengthValidator, MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models
from django.db.models import functions

from activity.models import Now

no_line_breaks = RegexValidator(r"[\r\n]", "must not contain line breaks", code="line_break", inverse_match=True)
secret_key_name = RegexValidator(
    r"\A[A-Za-z_][A-Za-z0-9_]{0,127}\Z", "must be a valid environment variable name of at most 128 characters"
)


class Status(models.TextChoices):
    PROVISIONING = "provisioning"
    ONLINE = "online"
    DEGRADED = "degraded"
    OFFLINE = "offline"
    FAILED = "failed"
    PAUSED = "paused"
    REMOVED = "removed"


ALIVE = (Status.ONLINE, Status.DEGRADED)
"""The statuses that a lease keeps up."""

DEFAULT_TIER = 1
DEFAULT_RUNTIME = "langgraph"


class WorkspaceQuerySet(models.QuerySet["Workspace"]):
    def living(self) -> "WorkspaceQuerySet":
        return self.exclude(status=Status.REMOVED)


class Workspace(models.Model):
    """A role in the org chart, run by one agent. `parent_id` is hierarchy and communication topology in one."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, db_default=RandomUUID(), editable=False)
    name = models.TextField(validators=[MaxLengthValidator(255), no_line_breaks])
    role = models.TextField(null=True, blank=True, validators=[MaxLengthValidator(1000), no_line_breaks])
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
        default=DEFAULT_RUNTIME,
        db_default=DEFAULT_RUNTIME,
        validators=[MaxLengthValidator(100), no_line_breaks],
        help_text="What runs the agent.",
    )
    lease_expires_at = models.DateTimeField(null=True, editable=False)
    flapping_until = models.DateTimeField(null=True, editable=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    updated_at = models.DateTimeField(db_default=Now(), editable=False)

    objects = WorkspaceQuerySet.as_manager()

    class Meta:
        db_table = "workspaces"
        ordering = ["created_at", "id"]

    def __str__(self) -> str:
        return self.name


class AgentStatus(models.TextChoices):
    ACTIVE = "active"
    REMOVED = "removed"


class Agent(models.Model):
    """Which model is, or was, assigned to which workspace. At most one is active per workspace."""

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


class SealedSecret(models.Model):
    """A value under seal. `context()` is what the seal is bound to."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, db_default=RandomUUID(), editable=False)
    key = models.TextField(validators=[secret_key_name], help_text="The environment variable the agent sees.")
    encrypted_value = models.BinaryField()
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    updated_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return self.key

    def context(self) -> str:
        raise NotImplementedError


class WorkspaceSecret(SealedSecret):
    workspace = models.ForeignKey(Workspace, models.DO_NOTHING, related_name="secrets", db_index=False)

    class Meta:
        db_table = "workspace_secrets"
        ordering = ["key"]
        constraints = [
            models.UniqueConstraint(fields=["workspace", "key"], name="workspace_secrets_workspace_id_key_key")
        ]

    def context(self) -> str:
        return f"workspace_secrets:{self.workspace_id}:{self.key}"


class GlobalSecret(SealedSecret):
    """Every workspace's default; a workspace's own key wins."""

    class Meta:
        db_table = "global_secrets"
        ordering = ["key"]
        constraints = [models.UniqueConstraint(fields=["key"], name="global_secrets_key_key")]

    def context(self) -> str:
        return f"global_secrets::{self.key}"


class SecretAction(models.TextChoices):
    SET = "set"
    DELETED = "deleted"
    READ = "read"


class SecretAccess(models.Model):
    """Who set, deleted or read which secrets, and when. Never a value. Without a workspace: global ones."""

    id = models.BigAutoField(primary_key=True)
    at = models.DateTimeField(db_default=Now())
    actor = models.TextField()
    action = models.TextField(choices=SecretAction)
    workspace = models.ForeignKey(Workspace, models.DO_NOTHING, null=True, related_name="+", db_index=False)
    keys = ArrayField(models.TextField())

    class Meta:
        db_table = "secret_accesses"
        ordering = ["-id"]
        verbose_name = "secret access"
        verbose_name_plural = "secret accesses"

    def __str__(self) -> str:
        return f"{self.actor} {self.action} {', '.join(self.keys)}"


class Token(models.Model):
    """A credential, stored as a hash. `prefix` is its clear beginning, for lookup and for people."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, db_default=RandomUUID(), editable=False)
    prefix = models.TextField(unique=True)
    hash = models.BinaryField()
    label = models.TextField(default="", db_default="", blank=True)
    created_at = models.DateTimeField(db_default=Now())
    last_used_at = models.DateTimeField(null=True)
    expires_at = models.DateTimeField(null=True)
    revoked_at = models.DateTimeField(null=True)

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return f"{self.prefix}…"

    def is_live(self, now: datetime) -> bool:
        return self.revoked_at is None and (self.expires_at is None or self.expires_at > now)


class TokenKind(models.TextChoices):
    AGENT = "agent"
    ENROLMENT = "enrolment"


class WorkspaceToken(Token):
    """An agent's credential, or the one-time enrolment that earns it."""

    workspace = models.ForeignKey(Workspace, models.DO_NOTHING, related_name="tokens")
    kind = models.TextField(choices=TokenKind)

    class Meta:
        db_table = "workspace_tokens"
        ordering = ["-created_at"]


class OperatorToken(Token):
    """A person's credential for scripts; it may do what its user may."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="+")

    class Meta:
        db_table = "operator_tokens"
        ordering = ["-created_at"]


class LoopTicks(models.Manager["LoopTick"]):
    def get_queryset(self) -> models.QuerySet["LoopTick"]:
        return super().get_queryset().annotate(now=functions.Now())  # type: ignore[no-redef]


class LoopTick(models.Model):
    """A background loop: when it last completed a step, and what went wrong.

    `since`: running without a break from then on. `last_error` happened at `failed_at`. `now`: when the row was read,
    by the clock that wrote all of these, PostgreSQL's; hosts may have another time.
    """

    now: datetime

    name = models.TextField(primary_key=True)
    since = models.DateTimeField()
    ticked_at = models.DateTimeField(null=True)
    errors = models.BigIntegerField(default=0, db_default=0)
    last_error = models.TextField(null=True)
    failed_at = models.DateTimeField(null=True)
    detail = models.JSONField(default=dict, db_default=models.Value({}, models.JSONField()))

    objects = LoopTicks()

    class Meta:
        db_table = "loop_ticks"
        verbose_name = "background loop"

    def __str__(self) -> str:
        return self.name
