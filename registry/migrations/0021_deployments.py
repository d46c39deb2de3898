"""The agents that Molecule runs, and for which of their generations a token was issued. The table is in
0021_deployments.sql."""

from pathlib import Path

import activity.models
import django.db.models.deletion
from django.db import migrations, models

DROP = "ALTER TABLE workspace_tokens DROP COLUMN generation; DROP TABLE deployments;"


class Migration(migrations.Migration):

    dependencies = [
        ('registry', '0020_search'),
    ]

    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.RunSQL(Path(__file__).with_suffix('.sql').read_text(), DROP)],
            state_operations=[
                migrations.CreateModel(
                    name='Deployment',
                    fields=[
                        ('workspace', models.OneToOneField(on_delete=django.db.models.deletion.DO_NOTHING, primary_key=True, related_name='deployment', serialize=False, to='registry.workspace')),
                        ('backend', models.TextField()),
                        ('desired', models.TextField(choices=[('running', 'Running'), ('stopped', 'Stopped'), ('absent', 'Absent')], db_default='running', default='running')),
                        ('generation', models.IntegerField(db_default=1, default=1)),
                        ('observed_generation', models.IntegerField(db_default=0, default=0)),
                        ('state', models.TextField(choices=[('pending', 'Pending'), ('starting', 'Starting'), ('running', 'Running'), ('stopping', 'Stopping'), ('stopped', 'Stopped'), ('failed', 'Failed'), ('absent', 'Absent'), ('unknown', 'Unknown')], db_default='pending', default='pending')),
                        ('resource_id', models.TextField(null=True)),
                        ('url', models.TextField(null=True)),
                        ('image', models.TextField(null=True)),
                        ('attempts', models.IntegerField(db_default=0, default=0)),
                        ('next_attempt_at', models.DateTimeField(null=True)),
                        ('reason', models.TextField(null=True)),
                        ('message', models.TextField(null=True)),
                        ('since', models.DateTimeField(db_default=activity.models.Now())),
                        ('started_at', models.DateTimeField(null=True)),
                        ('claimed_until', models.DateTimeField(null=True)),
                        ('claimed_by', models.UUIDField(null=True)),
                    ],
                    options={
                        'db_table': 'deployments',
                        'default_permissions': (),
                    },
                ),
                migrations.AddField(
                    model_name='workspacetoken',
                    name='generation',
                    field=models.IntegerField(editable=False, null=True),
                ),
            ],
        ),
    ]
