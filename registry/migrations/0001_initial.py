"""The tables are the specification's own DDL, in 0001_initial.sql: names, defaults and cascades live in the
database, so that plain SQL works too. Django is only told what is there."""

from pathlib import Path

import activity.models
import django.contrib.postgres.functions
import django.core.validators
import django.db.models.deletion
import uuid
from django.conf import settings
from django.db import migrations, models


DROP = """
ALTER TABLE activity_logs DROP CONSTRAINT activity_logs_workspace_id_fkey;
DROP TABLE loop_ticks, operator_tokens, workspace_tokens, global_secrets, workspace_secrets, agents, workspaces;
DROP FUNCTION workspaces_refuse_resurrection, workspaces_refuse_cycle;
"""


class Migration(migrations.Migration):

    initial = True

    dependencies = [
        ('activity', '0001_initial'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.RunSQL(Path(__file__).with_suffix('.sql').read_text(), DROP)],
            state_operations=[
                migrations.CreateModel(
                    name='LoopTick',
                    fields=[
                        ('name', models.TextField(primary_key=True, serialize=False)),
                        ('since', models.DateTimeField()),
                        ('ticked_at', models.DateTimeField()),
                        ('detail', models.JSONField(db_default=models.Value({}, models.JSONField()), default=dict)),
                    ],
                    options={
                        'db_table': 'loop_ticks',
                        'verbose_name': 'background loop',
                    },
                ),
                migrations.CreateModel(
                    name='GlobalSecret',
                    fields=[
                        ('id', models.UUIDField(db_default=django.contrib.postgres.functions.RandomUUID(), default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                        ('key', models.TextField(help_text='The environment variable the agent sees.', validators=[django.core.validators.RegexValidator('\\A[A-Za-z_][A-Za-z0-9_]{0,127}\\Z', 'must be a valid environment variable name of at most 128 characters')])),
                        ('encrypted_value', models.BinaryField()),
                        ('created_at', models.DateTimeField(db_default=activity.models.Now(), editable=False)),
                        ('updated_at', models.DateTimeField(db_default=activity.models.Now(), editable=False)),
                    ],
                    options={
                        'db_table': 'global_secrets',
                        'ordering': ['key'],
                        'constraints': [models.UniqueConstraint(fields=('key',), name='global_secrets_key_key')],
                    },
                ),
                migrations.CreateModel(
                    name='OperatorToken',
                    fields=[
                        ('id', models.UUIDField(db_default=django.contrib.postgres.functions.RandomUUID(), default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                        ('prefix', models.TextField(unique=True)),
                        ('hash', models.BinaryField()),
                        ('label', models.TextField(blank=True, db_default='', default='')),
                        ('created_at', models.DateTimeField(db_default=activity.models.Now())),
                        ('last_used_at', models.DateTimeField(null=True)),
                        ('expires_at', models.DateTimeField(null=True)),
                        ('revoked_at', models.DateTimeField(null=True)),
                        ('user', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='+', to=settings.AUTH_USER_MODEL)),
                    ],
                    options={
                        'db_table': 'operator_tokens',
                        'ordering': ['-created_at'],
                    },
                ),
                migrations.CreateModel(
                    name='Workspace',
                    fields=[
                        ('id', models.UUIDField(db_default=django.contrib.postgres.functions.RandomUUID(), default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                        ('name', models.TextField(validators=[django.core.validators.MaxLengthValidator(255), django.core.validators.RegexValidator('[\\r\\n]', 'must not contain line breaks', code='line_break', inverse_match=True)])),
                        ('role', models.TextField(blank=True, null=True, validators=[django.core.validators.MaxLengthValidator(1000), django.core.validators.RegexValidator('[\\r\\n]', 'must not contain line breaks', code='line_break', inverse_match=True)])),
                        ('tier', models.IntegerField(db_default=1, default=1, help_text='1-4; decides how it is deployed.', validators=[django.core.validators.MinValueValidator(1), django.core.validators.MaxValueValidator(4)])),
                        ('status', models.TextField(choices=[('provisioning', 'Provisioning'), ('online', 'Online'), ('degraded', 'Degraded'), ('offline', 'Offline'), ('failed', 'Failed'), ('paused', 'Paused'), ('removed', 'Removed')], db_default='provisioning', default='provisioning', editable=False)),
                        ('source_bundle_id', models.TextField(editable=False, null=True)),
                        ('agent_card', models.JSONField(editable=False, null=True)),
                        ('url', models.TextField(editable=False, null=True)),
                        ('last_heartbeat_at', models.DateTimeField(editable=False, null=True)),
                        ('last_error_rate', models.FloatField(db_default=0, default=0, editable=False)),
                        ('last_sample_error', models.TextField(editable=False, null=True)),
                        ('active_tasks', models.IntegerField(db_default=0, default=0, editable=False)),
                        ('uptime_seconds', models.IntegerField(db_default=0, default=0, editable=False)),
                        ('current_task', models.TextField(editable=False, null=True)),
                        ('runtime', models.TextField(db_default='langgraph', default='langgraph', help_text='What runs the agent.', validators=[django.core.validators.MaxLengthValidator(100), django.core.validators.RegexValidator('[\\r\\n]', 'must not contain line breaks', code='line_break', inverse_match=True)])),
                        ('lease_expires_at', models.DateTimeField(editable=False, null=True)),
                        ('created_at', models.DateTimeField(db_default=activity.models.Now(), editable=False)),
                        ('updated_at', models.DateTimeField(db_default=activity.models.Now(), editable=False)),
                        ('forwarded_to', models.ForeignKey(db_column='forwarded_to', db_index=False, editable=False, null=True, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to='registry.workspace')),
                        ('parent', models.ForeignKey(blank=True, db_index=False, null=True, on_delete=django.db.models.deletion.DO_NOTHING, related_name='children', to='registry.workspace')),
                    ],
                    options={
                        'db_table': 'workspaces',
                        'ordering': ['created_at', 'id'],
                    },
                ),
                migrations.CreateModel(
                    name='WorkspaceToken',
                    fields=[
                        ('id', models.UUIDField(db_default=django.contrib.postgres.functions.RandomUUID(), default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                        ('prefix', models.TextField(unique=True)),
                        ('hash', models.BinaryField()),
                        ('label', models.TextField(blank=True, db_default='', default='')),
                        ('created_at', models.DateTimeField(db_default=activity.models.Now())),
                        ('last_used_at', models.DateTimeField(null=True)),
                        ('expires_at', models.DateTimeField(null=True)),
                        ('revoked_at', models.DateTimeField(null=True)),
                        ('kind', models.TextField(choices=[('agent', 'Agent'), ('enrolment', 'Enrolment')])),
                        ('workspace', models.ForeignKey(on_delete=django.db.models.deletion.DO_NOTHING, related_name='tokens', to='registry.workspace')),
                    ],
                    options={
                        'db_table': 'workspace_tokens',
                        'ordering': ['-created_at'],
                    },
                ),
                migrations.CreateModel(
                    name='Agent',
                    fields=[
                        ('id', models.UUIDField(db_default=django.contrib.postgres.functions.RandomUUID(), default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                        ('model', models.TextField(validators=[django.core.validators.MaxLengthValidator(100), django.core.validators.RegexValidator('[\\r\\n]', 'must not contain line breaks', code='line_break', inverse_match=True)])),
                        ('status', models.TextField(choices=[('active', 'Active'), ('removed', 'Removed')], db_default='active', default='active')),
                        ('removed_at', models.DateTimeField(null=True)),
                        ('removal_reason', models.TextField(null=True)),
                        ('created_at', models.DateTimeField(db_default=activity.models.Now())),
                        ('workspace', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.DO_NOTHING, related_name='agents', to='registry.workspace')),
                    ],
                    options={
                        'db_table': 'agents',
                        'ordering': ['-created_at'],
                        'constraints': [models.UniqueConstraint(condition=models.Q(('status', 'active')), fields=('workspace',), name='agents_one_active_per_workspace')],
                    },
                ),
                migrations.CreateModel(
                    name='WorkspaceSecret',
                    fields=[
                        ('id', models.UUIDField(db_default=django.contrib.postgres.functions.RandomUUID(), default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                        ('key', models.TextField(help_text='The environment variable the agent sees.', validators=[django.core.validators.RegexValidator('\\A[A-Za-z_][A-Za-z0-9_]{0,127}\\Z', 'must be a valid environment variable name of at most 128 characters')])),
                        ('encrypted_value', models.BinaryField()),
                        ('created_at', models.DateTimeField(db_default=activity.models.Now(), editable=False)),
                        ('updated_at', models.DateTimeField(db_default=activity.models.Now(), editable=False)),
                        ('workspace', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.DO_NOTHING, related_name='secrets', to='registry.workspace')),
                    ],
                    options={
                        'db_table': 'workspace_secrets',
                        'ordering': ['key'],
                        'constraints': [models.UniqueConstraint(fields=('workspace', 'key'), name='workspace_secrets_workspace_id_key_key')],
                    },
                ),
            ],
        ),
    ]
