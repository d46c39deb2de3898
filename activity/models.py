"""Two logs: structure_events (append-only, kept forever) and activity_logs (kept for days)."""

import uuid

from django.contrib.postgres.functions import RandomUUID
from django.db import models

MAX_SEQ = 2**63 - 1
"""The highest position that a client may name; `seq` is a bigint."""


class Now(models.Func):
    """PostgreSQL's now(): the start of the transaction."""

    template = "now()"
    output_field = models.DateTimeField()


class ClockTime(models.Func):
    """PostgreSQL's clock_timestamp(): the time of the call, so rows of one statement keep their order."""

    template = "clock_timestamp()"
    output_field = models.DateTimeField()


class TransactionId(models.Func):
    """PostgreSQL's number of the transaction, the same for all that it writes."""

    template = "pg_current_xact_id()::text::bigint"
    output_field = models.BigIntegerField()


class NextSeq(models.Func):
    """The default of the identity column, for Django's migration state."""

    template = "nextval('structure_events_seq_seq'::regclass)"
    output_field = models.BigIntegerField()


class EventType(models.TextChoices):
    """All structural events; replaying them rebuilds the organisation. A CHECK constraint refuses others."""

    WORKSPACE_PROVISIONING = "WORKSPACE_PROVISIONING"
    WORKSPACE_PROVISION_FAILED = "WORKSPACE_PROVISION_FAILED"
    WORKSPACE_ONLINE = "WORKSPACE_ONLINE"
    WORKSPACE_OFFLINE = "WORKSPACE_OFFLINE"
    WORKSPACE_DEGRADED = "WORKSPACE_DEGRADED"
    WORKSPACE_PAUSED = "WORKSPACE_PAUSED"
    WORKSPACE_UPDATED = "WORKSPACE_UPDATED"
    WORKSPACE_REMOVED = "WORKSPACE_REMOVED"
    WORKSPACE_MOVED = "WORKSPACE_MOVED"
    WORKSPACE_EXPANDED = "WORKSPACE_EXPANDED"
    WORKSPACE_COLLAPSED = "WORKSPACE_COLLAPSED"
    AGENT_ASSIGNED = "AGENT_ASSIGNED"
    AGENT_REMOVED = "AGENT_REMOVED"
    AGENT_REPLACED = "AGENT_REPLACED"
    AGENT_MOVED = "AGENT_MOVED"
    AGENT_CARD_UPDATED = "AGENT_CARD_UPDATED"


class StructureEvent(models.Model):
    """Append-only: the database refuses UPDATE, DELETE, TRUNCATE and events without what their type needs.

    `seq` order is commit order, also of inserts by plain SQL. `transaction_id` is the same for the events of one
    transaction, None for those of older releases.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, db_default=RandomUUID(), editable=False)
    seq = models.BigIntegerField(unique=True, db_default=NextSeq(), editable=False)
    event_type = models.TextField(choices=EventType)
    workspace_id = models.UUIDField(null=True)
    agent_id = models.UUIDField(null=True)
    target_id = models.UUIDField(null=True)
    payload = models.JSONField(null=True)
    actor = models.TextField()
    created_at = models.DateTimeField(db_default=Now())
    transaction_id = models.BigIntegerField(null=True, db_default=TransactionId(), editable=False)

    class Meta:
        db_table = "structure_events"
        ordering = ["-seq"]
        verbose_name = "structure event"

    def __str__(self) -> str:
        return f"{self.seq} {self.event_type}"


class Rebuild(models.Model):
    """A repair of the tables from the log; `rows` is how many rows differed."""

    id = models.BigAutoField(primary_key=True)
    at = models.DateTimeField(db_default=Now())
    rows = models.IntegerField()

    class Meta:
        db_table = "rebuilds"
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.id} at {self.at}"


class ActivityType(models.TextChoices):
    A2A_SEND = "a2a_send"
    A2A_RECEIVE = "a2a_receive"
    TASK_UPDATE = "task_update"
    AGENT_LOG = "agent_log"
    ERROR = "error"
    SKILL_PROMOTION = "skill_promotion"
    MEMORY_WRITE = "memory_write"


class ActivityStatus(models.TextChoices):
    OK = "ok"
    ERROR = "error"
    TIMEOUT = "timeout"


class ActivityLog(models.Model):
    """An activity of a workspace. The indexes are in the migration's SQL.

    `transaction_id` is that of the insert, None for rows of older releases.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, db_default=RandomUUID(), editable=False)
    workspace_id = models.UUIDField()
    activity_type = models.TextField(choices=ActivityType)
    source_id = models.UUIDField(null=True)
    target_id = models.UUIDField(null=True)
    method = models.TextField(null=True)
    summary = models.TextField(null=True)
    request_body = models.JSONField(null=True)
    response_body = models.JSONField(null=True)
    duration_ms = models.IntegerField(null=True)
    status = models.TextField(choices=ActivityStatus, default=ActivityStatus.OK, db_default=ActivityStatus.OK)
    error_detail = models.TextField(null=True)
    created_at = models.DateTimeField(db_default=Now())
    transaction_id = models.BigIntegerField(null=True, db_default=TransactionId(), editable=False)

    class Meta:
        db_table = "activity_logs"
        ordering = ["-created_at", "-id"]
        verbose_name = "activity"
        verbose_name_plural = "activity"

    def __str__(self) -> str:
        return f"{self.activity_type} {self.summary or self.method or ''}".strip()
