"""Templates that were imported, and the log of what was exported and imported."""

from django.db import models

from activity.models import Now
from registry.models.workspaces import Workspace


class AgentTemplate(models.Model):
    """A template that was imported; others are folders on the server."""

    id = models.TextField(primary_key=True)
    name = models.TextField()
    created_at = models.DateTimeField(db_default=Now())
    created_by = models.TextField()

    class Meta:
        db_table = "agent_templates"
        ordering = ["id"]

    def __str__(self) -> str:
        return self.name


class AgentTemplateFile(models.Model):
    """A file of an imported template."""

    pk = models.CompositePrimaryKey("template_id", "path")
    template = models.ForeignKey(AgentTemplate, models.CASCADE, related_name="files", db_index=False)
    path = models.TextField()
    content = models.BinaryField()
    mode = models.IntegerField(default=0o644, db_default=0o644)

    class Meta:
        db_table = "agent_template_files"

    def __str__(self) -> str:
        return self.path


class TransferKind(models.TextChoices):
    """What was exported or imported."""

    BUNDLE_EXPORTED = "bundle_exported"
    BUNDLE_IMPORTED = "bundle_imported"
    WORKSPACE_DUPLICATED = "workspace_duplicated"
    TEMPLATE_IMPORTED = "template_imported"
    TEMPLATE_DELETED = "template_deleted"
    ORGANISATION_IMPORTED = "organisation_imported"


class Transfer(models.Model):
    """Who exported or imported what, and when. `workspaces`: how many. `workspace`: the outermost one, if it is one."""

    id = models.BigAutoField(primary_key=True)
    at = models.DateTimeField(db_default=Now())
    actor = models.TextField()
    kind = models.TextField(choices=TransferKind)
    name = models.TextField()
    workspace = models.ForeignKey(Workspace, models.DO_NOTHING, null=True, related_name="+", db_index=False)
    workspaces = models.IntegerField(default=0, db_default=0)

    class Meta:
        db_table = "transfers"
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.actor} {self.kind} {self.name}"
