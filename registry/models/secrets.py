"""Secrets, and the log of who accessed them."""

import uuid

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.functions import RandomUUID
from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from django.db import models

from activity.models import Now
from registry.models.workspaces import Workspace

variable_name = RegexValidator(
    r"\A[A-Za-z_][A-Za-z0-9_]{0,127}\Z", "must be a valid environment variable name of at most 128 characters"
)
RESERVED = frozenset(
    (
        *("WORKSPACE_ID", "WORKSPACE_NAME", "PARENT_ID", "TIER", "WORKSPACE_TIER", "PLATFORM_URL", "MOLECULE_URL"),
        *("CONFIGS_DIR", "WORKSPACE_CONFIG_PATH", "PLUGINS_DIR", "AGENT_HOST", "AGENT_PORT", "AGENT_URL"),
    )
)
"""The variables that Molecule sets for the agents that it runs. No secret takes their place."""


def secret_key_name(key: str) -> None:
    """Raises ValidationError. Secrets that are older than a reserved name are kept, so the column does not say it."""
    variable_name(key)
    if key in RESERVED:
        raise ValidationError("is reserved: Molecule sets it for the agents that it runs", code="reserved")


class SealedSecret(models.Model):
    """An encrypted value. `context()` returns the row and key that the encryption is bound to."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, db_default=RandomUUID(), editable=False)
    key = models.TextField(validators=[variable_name], help_text="The environment variable the agent sees.")
    encrypted_value = models.BinaryField()
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    updated_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return self.key

    def context(self) -> str:
        """Return the table, workspace and key to which the encrypted value is bound."""
        raise NotImplementedError


class WorkspaceSecret(SealedSecret):
    """A secret of one workspace; it takes precedence over a global one with the same key."""

    workspace = models.ForeignKey(Workspace, models.DO_NOTHING, related_name="secrets", db_index=False)

    class Meta:
        db_table = "workspace_secrets"
        ordering = ["key"]
        constraints = [
            models.UniqueConstraint(fields=["workspace", "key"], name="workspace_secrets_workspace_id_key_key")
        ]
        permissions = [("reveal_secrets", "Can let agents read secret values")]

    def context(self) -> str:
        return f"workspace_secrets:{self.workspace_id}:{self.key}"


class GlobalSecret(SealedSecret):
    """A secret of all workspaces; a workspace's own secret with the same key takes precedence."""

    class Meta:
        db_table = "global_secrets"
        ordering = ["key"]
        constraints = [models.UniqueConstraint(fields=["key"], name="global_secrets_key_key")]

    def context(self) -> str:
        return f"global_secrets::{self.key}"


class SecretAction(models.TextChoices):
    """What was done with a secret."""

    SET = "set"
    DELETED = "deleted"
    READ = "read"
    ALLOWED = "allowed"
    """A workspace was allowed to read values."""


class SecretAccess(models.Model):
    """Who set, deleted or read which secrets, or allowed that, and when; never their values.

    No workspace means global secrets.
    """

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
