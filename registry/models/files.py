"""The files that an agent is made of, their earlier contents, and the agent's own settings."""

from django.contrib.postgres.fields import ArrayField
from django.db import models

from activity.models import Now
from registry.models.workspaces import Workspace


class WorkspaceFile(models.Model):
    """A file in `/configs` of an agent. `updated_by` is the actor, as in the log.

    `required_env`: of its `config.yaml`, the variables that it requires. SQL cannot read them there.
    """

    pk = models.CompositePrimaryKey("workspace_id", "path")
    workspace = models.ForeignKey(Workspace, models.DO_NOTHING, related_name="files", db_index=False)
    path = models.TextField()
    content = models.BinaryField()
    sha256 = models.TextField()
    mode = models.IntegerField(default=0o644, db_default=0o644)
    updated_at = models.DateTimeField(db_default=Now())
    updated_by = models.TextField()
    required_env = ArrayField(models.TextField(), default=list, db_default=[])

    class Meta:
        db_table = "workspace_files"

    def __str__(self) -> str:
        return self.path


class WorkspaceFileRevision(models.Model):
    """A content that a file had: who wrote it and when, and who replaced or deleted it and when."""

    id = models.BigAutoField(primary_key=True)
    workspace = models.ForeignKey(Workspace, models.DO_NOTHING, related_name="file_revisions", db_index=False)
    path = models.TextField()
    content = models.BinaryField()
    sha256 = models.TextField()
    mode = models.IntegerField()
    updated_at = models.DateTimeField()
    updated_by = models.TextField()
    replaced_at = models.DateTimeField(db_default=Now())
    replaced_by = models.TextField()

    class Meta:
        db_table = "workspace_file_revisions"
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.path} of {self.updated_at}"


class AgentSettings(models.Model):
    """What an agent keeps about itself: any JSON object."""

    workspace = models.OneToOneField(Workspace, models.DO_NOTHING, primary_key=True, related_name="settings")
    data = models.JSONField(default=dict)
    updated_at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "workspace_config"

    def __str__(self) -> str:
        return str(self.workspace_id)
