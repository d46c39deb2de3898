"""The files of agents, their earlier contents, and agents' own settings. The tables are in 0012_files.sql."""

from pathlib import Path

import activity.models
import django.db.models.deletion
from django.db import migrations, models

DROP = """
DROP TRIGGER workspace_files_drop_removed ON workspaces;
DROP FUNCTION workspace_files_drop_removed();
DROP TABLE workspace_config, workspace_file_revisions, workspace_files;
"""


class Migration(migrations.Migration):

    dependencies = [
        ('registry', '0011_secrets_of_removed_workspaces'),
    ]

    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.RunSQL(Path(__file__).with_suffix('.sql').read_text(), DROP)],
            state_operations=[
                migrations.CreateModel(
                    name='AgentSettings',
                    fields=[
                        ('workspace', models.OneToOneField(on_delete=django.db.models.deletion.DO_NOTHING, primary_key=True, related_name='settings', serialize=False, to='registry.workspace')),
                        ('data', models.JSONField(default=dict)),
                        ('updated_at', models.DateTimeField(db_default=activity.models.Now())),
                    ],
                    options={
                        'db_table': 'workspace_config',
                    },
                ),
                migrations.CreateModel(
                    name='WorkspaceFile',
                    fields=[
                        ('pk', models.CompositePrimaryKey('workspace_id', 'path', blank=True, editable=False, primary_key=True, serialize=False)),
                        ('path', models.TextField()),
                        ('content', models.BinaryField()),
                        ('sha256', models.TextField()),
                        ('mode', models.IntegerField(db_default=420, default=420)),
                        ('updated_at', models.DateTimeField(db_default=activity.models.Now())),
                        ('updated_by', models.TextField()),
                        ('workspace', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.DO_NOTHING, related_name='files', to='registry.workspace')),
                    ],
                    options={
                        'db_table': 'workspace_files',
                    },
                ),
                migrations.CreateModel(
                    name='WorkspaceFileRevision',
                    fields=[
                        ('id', models.BigAutoField(primary_key=True, serialize=False)),
                        ('path', models.TextField()),
                        ('content', models.BinaryField()),
                        ('sha256', models.TextField()),
                        ('mode', models.IntegerField()),
                        ('updated_at', models.DateTimeField()),
                        ('updated_by', models.TextField()),
                        ('replaced_at', models.DateTimeField(db_default=activity.models.Now())),
                        ('replaced_by', models.TextField()),
                        ('workspace', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.DO_NOTHING, related_name='file_revisions', to='registry.workspace')),
                    ],
                    options={
                        'db_table': 'workspace_file_revisions',
                        'ordering': ['-id'],
                    },
                ),
            ],
        ),
    ]
