"""Credentials, stored as hashes."""

import uuid
from datetime import datetime

from django.conf import settings
from django.contrib.postgres.functions import RandomUUID
from django.db import models

from activity.models import Now
from registry.models.workspaces import Workspace


class Token(models.Model):
    """A credential, stored as a hash. `prefix` is its beginning in plain text, for lookups and for display."""

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
        """Return whether the token is neither revoked nor expired at that time."""
        return self.revoked_at is None and (self.expires_at is None or self.expires_at > now)


class TokenKind(models.TextChoices):
    """An agent's token, or a token that lets an agent enrol once."""

    AGENT = "agent"
    ENROLMENT = "enrolment"


class WorkspaceToken(Token):
    """An agent's token, or an enrolment token, with which an agent gets its token.

    `enrolment_id`: the enrolment token that an agent's token was issued for, if any. That row may be gone.
    `generation`: of the deployment that an agent's token was issued for, if any.
    `may_reveal`: it may read secret values. Tokens that are issued with it inherit that.
    """

    workspace = models.ForeignKey(Workspace, models.DO_NOTHING, related_name="tokens")
    kind = models.TextField(choices=TokenKind)
    enrolment_id = models.UUIDField(null=True, editable=False)
    generation = models.IntegerField(null=True, editable=False)
    may_reveal = models.BooleanField(default=False, db_default=False)

    class Meta:
        db_table = "workspace_tokens"
        ordering = ["-created_at"]


class OperatorToken(Token):
    """An operator's token for scripts. It has the permissions of its user."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="+")

    class Meta:
        db_table = "operator_tokens"
        ordering = ["-created_at"]
