"""A live column for who flaps; and heartbeats update rows in place (docs/decisions/0010-no-index-on-leases.md)."""

from django.db import migrations, models

APPLY = """
ALTER TABLE workspaces ADD COLUMN IF NOT EXISTS flapping_until TIMESTAMPTZ;
DROP INDEX IF EXISTS workspaces_lease_expires_at_idx;
"""
UNDO = """
ALTER TABLE workspaces DROP COLUMN IF EXISTS flapping_until;
CREATE INDEX IF NOT EXISTS workspaces_lease_expires_at_idx ON workspaces (lease_expires_at)
  WHERE status IN ('online', 'degraded', 'provisioning');
"""


class Migration(migrations.Migration):

    dependencies = [
        ('registry', '0003_secretaccess'),
    ]

    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.RunSQL(APPLY, UNDO)],
            state_operations=[
                migrations.AddField('workspace', 'flapping_until', models.DateTimeField(editable=False, null=True)),
            ],
        ),
    ]
