"""Live columns: the last refused credential, until when an agent may enrol, and the interval an agent declared.

Workspaces that no agent registered as yet get the end of the enrolment token that they wait for.
"""

from django.db import migrations, models

ADD = """
ALTER TABLE workspaces
  ADD COLUMN refused_at TIMESTAMPTZ,
  ADD COLUMN refused_count INTEGER NOT NULL DEFAULT 0,
  ADD COLUMN refused_reason TEXT,
  ADD COLUMN refused_address TEXT,
  ADD COLUMN enrolment_expires_at TIMESTAMPTZ,
  ADD COLUMN heartbeat_interval INTEGER,
  ADD CONSTRAINT workspaces_heartbeat_interval_check CHECK (heartbeat_interval BETWEEN 10 AND 600);
UPDATE workspaces w SET enrolment_expires_at = t.expires_at
FROM (
  SELECT workspace_id, max(expires_at) AS expires_at FROM workspace_tokens
  WHERE kind = 'enrolment' AND revoked_at IS NULL GROUP BY workspace_id
) t
WHERE t.workspace_id = w.id AND w.agent_card IS NULL AND w.status <> 'removed';
"""
DROP = """
ALTER TABLE workspaces
  DROP COLUMN refused_at, DROP COLUMN refused_count, DROP COLUMN refused_reason, DROP COLUMN refused_address,
  DROP COLUMN enrolment_expires_at, DROP COLUMN heartbeat_interval;
"""


class Migration(migrations.Migration):

    dependencies = [
        ('registry', '0005_loop_errors'),
    ]

    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.RunSQL(ADD, DROP)],
            state_operations=[
                migrations.AddField('workspace', 'refused_at', models.DateTimeField(editable=False, null=True)),
                migrations.AddField(
                    'workspace', 'refused_count', models.IntegerField(db_default=0, default=0, editable=False)
                ),
                migrations.AddField('workspace', 'refused_reason', models.TextField(editable=False, null=True)),
                migrations.AddField('workspace', 'refused_address', models.TextField(editable=False, null=True)),
                migrations.AddField(
                    'workspace', 'enrolment_expires_at', models.DateTimeField(editable=False, null=True)
                ),
                migrations.AddField('workspace', 'heartbeat_interval', models.IntegerField(editable=False, null=True)),
            ],
        ),
    ]
