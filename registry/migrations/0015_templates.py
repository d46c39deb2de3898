"""Imported templates with their files, and the log of exports and imports. The tables are in 0015_templates.sql."""

from pathlib import Path

import activity.models
import django.db.models.deletion
from django.db import migrations, models

DROP = "DROP TABLE transfers, agent_template_files, agent_templates;"


class Migration(migrations.Migration):

    dependencies = [
        ('registry', '0014_names'),
    ]

    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.RunSQL(Path(__file__).with_suffix('.sql').read_text(), DROP)],
            state_operations=[
                migrations.CreateModel(
                    name='AgentTemplate',
                    fields=[
                        ('id', models.TextField(primary_key=True, serialize=False)),
                        ('name', models.TextField()),
                        ('created_at', models.DateTimeField(db_default=activity.models.Now())),
                        ('created_by', models.TextField()),
                    ],
                    options={
                        'db_table': 'agent_templates',
                        'ordering': ['id'],
                    },
                ),
                migrations.CreateModel(
                    name='AgentTemplateFile',
                    fields=[
                        ('pk', models.CompositePrimaryKey('template_id', 'path', blank=True, editable=False, primary_key=True, serialize=False)),
                        ('path', models.TextField()),
                        ('content', models.BinaryField()),
                        ('mode', models.IntegerField(db_default=420, default=420)),
                        ('template', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='files', to='registry.agenttemplate')),
                    ],
                    options={
                        'db_table': 'agent_template_files',
                    },
                ),
                migrations.CreateModel(
                    name='Transfer',
                    fields=[
                        ('id', models.BigAutoField(primary_key=True, serialize=False)),
                        ('at', models.DateTimeField(db_default=activity.models.Now())),
                        ('actor', models.TextField()),
                        ('kind', models.TextField(choices=[('bundle_exported', 'Bundle Exported'), ('bundle_imported', 'Bundle Imported'), ('workspace_duplicated', 'Workspace Duplicated'), ('template_imported', 'Template Imported'), ('template_deleted', 'Template Deleted'), ('organisation_imported', 'Organisation Imported')])),
                        ('name', models.TextField()),
                        ('workspaces', models.IntegerField(db_default=0, default=0)),
                        ('workspace', models.ForeignKey(db_index=False, null=True, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to='registry.workspace')),
                    ],
                    options={
                        'db_table': 'transfers',
                        'ordering': ['-id'],
                    },
                ),
            ],
        ),
    ]
