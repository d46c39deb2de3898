"""Request and response bodies of files, settings, templates, bundles and organisations."""

from typing import Any

from rest_framework import serializers

from activity.fields import RequestFields
from registry.api.fields import NameField
from registry.config import contents

ENCODING = "`base64` for what is no UTF-8 text."


class FileBody(RequestFields):
    """The content of a file."""

    content = serializers.CharField(allow_blank=True, trim_whitespace=False)
    encoding = serializers.ChoiceField([contents.BASE64, "utf-8"], required=False, help_text=ENCODING)
    executable = serializers.BooleanField(
        default=None, allow_null=True, help_text="Without it an existing file stays as it is."
    )


class FilesBody(RequestFields):
    """All files of a workspace."""

    files = serializers.DictField(
        child=serializers.JSONField(),
        help_text="By path: a text, or an object like the body of one file.",
    )


class FileRow(serializers.Serializer[Any]):
    """A file without its content."""

    path = serializers.CharField()
    size = serializers.IntegerField(help_text="In bytes.")
    sha256 = serializers.CharField()
    executable = serializers.BooleanField()
    updated_at = serializers.DateTimeField()
    updated_by = serializers.CharField(help_text="Who wrote it, as in the log.")


class FileResponse(FileRow):
    """A file with its content."""

    content = serializers.CharField()
    encoding = serializers.CharField(required=False, help_text=ENCODING)


class FileSaved(FileRow):
    """A file was written."""

    status = serializers.CharField()


class FilesReplaced(serializers.Serializer[Any]):
    """All files were replaced."""

    status = serializers.CharField()
    count = serializers.IntegerField()


class SharedFile(serializers.Serializer[Any]):
    """A file that the parent shares with its team."""

    path = serializers.CharField()
    content = serializers.CharField()
    encoding = serializers.CharField(required=False, help_text=ENCODING)


class RevisionQuery(RequestFields):
    """The revisions of one path, or the last of all."""

    path = serializers.CharField(required=False, trim_whitespace=False)


class RevisionRow(serializers.Serializer[Any]):
    """A content that a file had."""

    id = serializers.IntegerField()
    path = serializers.CharField()
    size = serializers.IntegerField(help_text="In bytes.")
    sha256 = serializers.CharField()
    updated_at = serializers.DateTimeField()
    updated_by = serializers.CharField(help_text="Who wrote it, as in the log.")
    replaced_at = serializers.DateTimeField()
    replaced_by = serializers.CharField(help_text="Who replaced or deleted it.")


class RevisionContent(SharedFile):
    """The content of a revision."""

    sha256 = serializers.CharField()


class SettingsResponse(serializers.Serializer[Any]):
    """An agent's own settings."""

    data = serializers.DictField()  # type: ignore[assignment]


class TemplateBody(RequestFields):
    """A template to import."""

    name = serializers.CharField(max_length=255)
    files = serializers.DictField(
        child=serializers.JSONField(), allow_empty=False, help_text="By path: a text, or an object as for one file."
    )


class TemplateRow(serializers.Serializer[Any]):
    """A template, as its config.yaml describes it."""

    id = serializers.CharField()
    name = serializers.CharField()
    description = serializers.CharField()
    tier = serializers.IntegerField()
    runtime = serializers.CharField()
    model = serializers.CharField()
    skills = serializers.ListField(child=serializers.CharField())
    skill_count = serializers.IntegerField()
    imported = serializers.BooleanField(help_text="False for a folder on the server.")
    problem = serializers.CharField(required=False, help_text="Why it cannot be read.")


class TemplateImported(serializers.Serializer[Any]):
    """A template was imported."""

    id = serializers.CharField()
    name = serializers.CharField()
    status = serializers.CharField()


class ImportQuery(RequestFields):
    """Whether to create anything, and where."""

    dry_run = serializers.BooleanField(default=False, help_text="Answer what would be created, and create nothing.")
    parent_id = serializers.UUIDField(default=None, allow_null=True, help_text="The workspace to import it below.")


class CopyBody(RequestFields):
    """What is different about a copy."""

    name = NameField(required=False, help_text='"… (copy)" by default.')
    parent_id = serializers.UUIDField(
        required=False, allow_null=True, help_text="The team that it is in; by default that of the original."
    )
    with_team = serializers.BooleanField(default=True)


class DryRunQuery(RequestFields):
    """Whether to create anything."""

    dry_run = serializers.BooleanField(default=False, help_text="Answer what would be created, and create nothing.")


class CreatedTree(serializers.Serializer[Any]):
    """A workspace that was created, and its team."""

    workspace_id = serializers.UUIDField()
    name = serializers.CharField()
    status = serializers.CharField()
    children = serializers.ListField(child=serializers.JSONField(), help_text="The same for each member of its team.")


class DocumentProblem(serializers.Serializer[Any]):
    """What is wrong in a document, and where."""

    where = serializers.CharField()
    error = serializers.CharField()


class Preview(serializers.Serializer[Any]):
    """What an import would create, and everything that keeps it from that."""

    dry_run = serializers.BooleanField()
    count = serializers.IntegerField()
    workspaces = serializers.ListField(
        child=serializers.JSONField(),
        help_text="Trees of `name`, `role`, `tier`, `runtime`, `model`, `template`, `files` (how many), `children`.",
    )
    problems = DocumentProblem(many=True)
    ignored = serializers.ListField(child=serializers.CharField(), required=False)


class OrgBody(RequestFields):
    """Which organisation to import: a folder on the server, or the template itself."""

    dir = serializers.CharField(required=False, max_length=255)
    template = serializers.DictField(required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if ("dir" in attrs) == ("template" in attrs):
            raise serializers.ValidationError({"dir": "send either dir or template"})
        return attrs


class OrgTemplateRow(serializers.Serializer[Any]):
    """An org template."""

    dir = serializers.CharField()
    name = serializers.CharField()
    description = serializers.CharField()
    workspaces = serializers.IntegerField(help_text="How many.")
    problem = serializers.CharField(required=False, help_text="Why it cannot be read.")


class OrgCreated(serializers.Serializer[Any]):
    """An organisation was created."""

    org = serializers.CharField()
    workspaces = serializers.ListField(
        child=serializers.JSONField(), help_text="`id` and `name` of each, parents first."
    )
    count = serializers.IntegerField()
    ignored = serializers.ListField(child=serializers.CharField(), required=False)
