"""The tables are the specification's own DDL, in 0001_initial.sql: names, defaults and cascades live in the
database, so that plain SQL works too. The operations below only record them in Django's state."""

from pathlib import Path

import activity.models
import django.contrib.postgres.functions
import uuid
from django.db import migrations, models


DROP = """
DROP TABLE activity_logs, structure_events; DROP FUNCTION structure_events_refuse_change;
"""


class Migration(migrations.Migration):

    initial = True

    dependencies = [
    ]

    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.RunSQL(Path(__file__).with_suffix('.sql').read_text(), DROP)],
            state_operations=[
                migrations.CreateModel(
                    name='ActivityLog',
                    fields=[
                        ('id', models.UUIDField(db_default=django.contrib.postgres.functions.RandomUUID(), default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                        ('workspace_id', models.UUIDField()),
                        ('activity_type', models.TextField(choices=[('a2a_send', 'A2A Send'), ('a2a_receive', 'A2A Receive'), ('task_update', 'Task Update'), ('agent_log', 'Agent Log'), ('error', 'Error'), ('skill_promotion', 'Skill Promotion'), ('memory_write', 'Memory Write')])),
                        ('source_id', models.UUIDField(null=True)),
                        ('target_id', models.UUIDField(null=True)),
                        ('method', models.TextField(null=True)),
                        ('summary', models.TextField(null=True)),
                        ('request_body', models.JSONField(null=True)),
                        ('response_body', models.JSONField(null=True)),
                        ('duration_ms', models.IntegerField(null=True)),
                        ('status', models.TextField(choices=[('ok', 'Ok'), ('error', 'Error'), ('timeout', 'Timeout')], db_default='ok', default='ok')),
                        ('error_detail', models.TextField(null=True)),
                        ('created_at', models.DateTimeField(db_default=activity.models.Now())),
                    ],
                    options={
                        'verbose_name': 'activity',
                        'verbose_name_plural': 'activity',
                        'db_table': 'activity_logs',
                        'ordering': ['-created_at', '-id'],
                    },
                ),
                migrations.CreateModel(
                    name='StructureEvent',
                    fields=[
                        ('id', models.UUIDField(db_default=django.contrib.postgres.functions.RandomUUID(), default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                        ('seq', models.BigIntegerField(db_default=activity.models.NextSeq(), editable=False, unique=True)),
                        ('event_type', models.TextField(choices=[('WORKSPACE_PROVISIONING', 'Workspace Provisioning'), ('WORKSPACE_PROVISION_FAILED', 'Workspace Provision Failed'), ('WORKSPACE_ONLINE', 'Workspace Online'), ('WORKSPACE_OFFLINE', 'Workspace Offline'), ('WORKSPACE_DEGRADED', 'Workspace Degraded'), ('WORKSPACE_PAUSED', 'Workspace Paused'), ('WORKSPACE_UPDATED', 'Workspace Updated'), ('WORKSPACE_REMOVED', 'Workspace Removed'), ('WORKSPACE_MOVED', 'Workspace Moved'), ('WORKSPACE_EXPANDED', 'Workspace Expanded'), ('WORKSPACE_COLLAPSED', 'Workspace Collapsed'), ('AGENT_ASSIGNED', 'Agent Assigned'), ('AGENT_REMOVED', 'Agent Removed'), ('AGENT_REPLACED', 'Agent Replaced'), ('AGENT_MOVED', 'Agent Moved'), ('AGENT_CARD_UPDATED', 'Agent Card Updated')])),
                        ('workspace_id', models.UUIDField(null=True)),
                        ('agent_id', models.UUIDField(null=True)),
                        ('target_id', models.UUIDField(null=True)),
                        ('payload', models.JSONField(null=True)),
                        ('actor', models.TextField()),
                        ('created_at', models.DateTimeField(db_default=activity.models.Now())),
                    ],
                    options={
                        'verbose_name': 'structure event',
                        'db_table': 'structure_events',
                        'ordering': ['-seq'],
                    },
                ),
            ],
        ),
    ]
