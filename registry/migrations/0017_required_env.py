"""The variables that a `config.yaml` requires, beside its content: SQL cannot read YAML."""

import django.contrib.postgres.fields
import yaml
from django.db import migrations, models

CREATE = "ALTER TABLE workspace_files ADD COLUMN required_env TEXT[] NOT NULL DEFAULT '{}';"
DROP = "ALTER TABLE workspace_files DROP COLUMN required_env;"


def fill(apps, schema_editor):
    """Each was checked when it was written."""
    files = apps.get_model("registry", "WorkspaceFile").objects.filter(path="config.yaml")
    for workspace_id, content in files.values_list("workspace_id", "content"):
        values = yaml.safe_load(bytes(content)) or {}
        env, runtime = values.get("env") or {}, values.get("runtime_config") or {}
        if required := [*(env.get("required") or ()), *(runtime.get("required_env") or ())]:
            files.filter(workspace_id=workspace_id).update(required_env=list(dict.fromkeys(required)))


class Migration(migrations.Migration):

    dependencies = [("registry", "0016_statuses")]

    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.RunSQL(CREATE, DROP)],
            state_operations=[
                migrations.AddField(
                    model_name="workspacefile",
                    name="required_env",
                    field=django.contrib.postgres.fields.ArrayField(
                        base_field=models.TextField(), db_default=[], default=list, size=None
                    ),
                ),
            ],
        ),
        migrations.RunPython(fill, migrations.RunPython.noop),
    ]
